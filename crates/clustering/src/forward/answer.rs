//! What a queue's home answers to a question.
//!
//! Invariant: each question gets at most one answer; a queue that is not there answers `NotThere`.

use super::words::{Malformed, Words, put_text, put_u32, put_u64};
use broker::queue::QueueCounts;
use types::{AmqpError, ReplyCode};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The consumer is registered.
    Added,
    /// Another consumer is exclusive.
    InExclusiveUse,
    /// Whether the consumer was there, and whether the queue is gone with it.
    Removed { was_there: bool, gone: bool },
    /// What is in the queue.
    Counts(QueueCounts),
    /// How many messages there were.
    Count(u64),
    /// All is committed.
    Committed,
    /// Not done.
    Refused(AmqpError),
    /// There is no such queue.
    NotThere,
}

impl Answer {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Answer::Added => out.push(0),
            Answer::InExclusiveUse => out.push(1),
            Answer::Removed { was_there, gone } => {
                out.extend_from_slice(&[2, u8::from(*was_there), u8::from(*gone)]);
            }
            Answer::Counts(counts) => {
                out.push(3);
                for number in [counts.ready, counts.ready_bytes, counts.unacked, counts.unacked_bytes] {
                    put_u64(out, number);
                }
                put_u32(out, counts.consumers);
                put_u32(out, counts.consumers_with_credit);
            }
            Answer::Count(count) => {
                out.push(4);
                put_u64(out, *count);
            }
            Answer::Committed => out.push(5),
            Answer::Refused(error) => {
                out.push(6);
                put_u32(out, error.code.code().into());
                put_text(out, &error.explanation);
            }
            Answer::NotThere => out.push(7),
        }
    }

    pub(super) fn read(words: &mut Words<'_>) -> Result<Answer, Malformed> {
        Ok(match words.u8()? {
            0 => Answer::Added,
            1 => Answer::InExclusiveUse,
            2 => Answer::Removed { was_there: words.bool()?, gone: words.bool()? },
            3 => Answer::Counts(QueueCounts {
                ready: words.u64()?,
                ready_bytes: words.u64()?,
                unacked: words.u64()?,
                unacked_bytes: words.u64()?,
                consumers: words.u32()?,
                consumers_with_credit: words.u32()?,
            }),
            4 => Answer::Count(words.u64()?),
            5 => Answer::Committed,
            6 => {
                let code = u16::try_from(words.u32()?).ok().and_then(ReplyCode::from_code);
                let code = code.ok_or(Malformed("reply code"))?;
                Answer::Refused(AmqpError::new(code, words.text()?))
            }
            7 => Answer::NotThere,
            _ => return Err(Malformed("answer")),
        })
    }
}

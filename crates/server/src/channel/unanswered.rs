//! Bindings that a client does not wait for: on their way while the connection goes on with the next one.
//!
//! Invariant: they are those of one channel, in the order in which they came. Only further bindings and declares of queues
//! of that channel are taken up before they are through; what these answer is said after that, and nothing
//! if one of them failed.

use crate::fault::Fault;
use protocol::method::method_ids;
use std::collections::VecDeque;
use std::task::Poll;
use tokio::task::JoinHandle;
use types::AmqpError;
use types::limits::UNANSWERED_BINDS_MAX;

/// Type of method frames, and where the payload begins.
const METHOD_FRAME: u8 = 1;
const FRAME_HEAD_BYTES: usize = 7;
const QUEUE_DECLARE: (u16, u16) = (50, 10);
const QUEUE_BIND: (u16, u16) = (50, 20);

/// One of them.
enum Change {
    Done(Result<(), AmqpError>),
    Coming(JoinHandle<Result<(), AmqpError>>),
}

/// Bindings of a connection that are not through yet.
#[derive(Default)]
pub(crate) struct Unanswered {
    channel: u16,
    changes: VecDeque<Change>,
}

impl Unanswered {
    /// Whether there is nothing to wait for.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether what comes next need not wait for them.
    #[inline]
    pub(crate) fn lets_pass(&self, bytes: &[u8]) -> bool {
        self.is_empty() || (self.changes.len() < UNANSWERED_BINDS_MAX && self.is_of_theirs(bytes))
    }

    fn is_of_theirs(&self, bytes: &[u8]) -> bool {
        let [METHOD_FRAME, high, low, ..] = *bytes else { return false };
        let ids = bytes.get(FRAME_HEAD_BYTES..).and_then(method_ids);
        u16::from_be_bytes([high, low]) == self.channel
            && ids.is_some_and(|ids| ids == QUEUE_DECLARE || ids == QUEUE_BIND)
    }

    /// Begins one more. Whatever it can do at once is done when this comes back, so they are proposed in their order.
    pub(crate) async fn begin(
        &mut self,
        channel: u16,
        change: impl Future<Output = Result<(), AmqpError>> + Send + 'static,
    ) {
        self.channel = channel;
        let mut change = Box::pin(change);
        let first = std::future::poll_fn(|context| Poll::Ready(change.as_mut().poll(context))).await;
        self.changes.push_back(match first {
            Poll::Ready(outcome) => Change::Done(outcome),
            Poll::Pending => Change::Coming(tokio::spawn(change)),
        });
    }

    /// Waits until all are through; the first that failed.
    pub(crate) async fn settle(&mut self) -> Result<(), Fault> {
        let mut first = Ok(());
        while let Some(change) = self.changes.pop_front() {
            let outcome = match change {
                Change::Done(outcome) => outcome,
                Change::Coming(task) => {
                    task.await.unwrap_or_else(|_| Err(AmqpError::internal_error("the node is stopping")))
                }
            };
            first = first.and(outcome);
        }
        first.map_err(|error| Fault::new(error, self.channel, QUEUE_BIND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn frame(kind: u8, channel: u8, class: u8, method: u8) -> [u8; 13] {
        [kind, 0, channel, 0, 0, 0, 6, 0, class, 0, method, 0, 0]
    }

    #[tokio::test]
    async fn only_declares_and_bindings_of_their_channel_pass() {
        let mut unanswered = Unanswered::default();
        assert!(unanswered.lets_pass(&frame(1, 3, 60, 40)) && unanswered.lets_pass(&[]));
        unanswered.begin(3, std::future::ready(Ok(()))).await;
        assert!(unanswered.lets_pass(&frame(1, 3, 50, 10)) && unanswered.lets_pass(&frame(1, 3, 50, 20)));
        for other in [frame(1, 4, 50, 20), frame(1, 3, 60, 40), frame(1, 3, 50, 50), frame(8, 3, 50, 20)] {
            assert!(!unanswered.lets_pass(&other));
        }
        assert!(!unanswered.lets_pass(&frame(1, 3, 50, 20)[..9]) && !unanswered.lets_pass(&[]));
        for _ in 1..UNANSWERED_BINDS_MAX {
            unanswered.begin(3, std::future::ready(Ok(()))).await;
        }
        assert!(!unanswered.lets_pass(&frame(1, 3, 50, 20)));
        assert!(unanswered.settle().await.is_ok() && unanswered.lets_pass(&[]));
    }

    #[tokio::test]
    async fn the_first_failure_is_told_once_all_are_through() {
        let (mut unanswered, through) = (Unanswered::default(), Arc::new(AtomicBool::new(false)));
        let fails = |text: &'static str| async move {
            tokio::task::yield_now().await;
            Err(AmqpError::not_found(text))
        };
        unanswered.begin(7, std::future::ready(Ok(()))).await;
        unanswered.begin(7, fails("one")).await;
        unanswered.begin(7, std::future::ready(Err(AmqpError::not_found("two")))).await;
        let last = through.clone();
        unanswered
            .begin(7, async move {
                tokio::task::yield_now().await;
                last.store(true, Ordering::Relaxed);
                Ok(())
            })
            .await;
        let fault = unanswered.settle().await.unwrap_err();
        assert_eq!((fault.error.explanation.as_str(), fault.channel), ("one", 7));
        assert!(through.load(Ordering::Relaxed));
        assert!(unanswered.settle().await.is_ok(), "told once");
    }
}

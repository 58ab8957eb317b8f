//! Changes on their way into the log, and what they came to.
//!
//! An entry's payload is a version byte and groups, one after the other; a group is the changes that one
//! process proposed together. Commands stand in it as the catalog's own bytes.
//!
//! Invariant: a proposal is known by session (random for each start of a process) and number, and is applied
//! once however often it is proposed.

use broker::catalog::{Catalog, Command, Outcome};
use serde::{Deserialize, Serialize};
use types::{AmqpError, ReplyCode};

/// First byte of a payload.
const FORMAT: u8 = 1;

/// Changes that one process proposes together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group<'a> {
    /// Whose: the process.
    pub(crate) session: u64,
    /// Proposals with lower numbers are over: the process will not ask for them again.
    pub(crate) done_below: u64,
    /// Numbers and commands, in the order in which they are to be applied.
    #[serde(borrow)]
    pub(crate) proposals: Vec<(u64, &'a [u8])>,
}

impl Group<'_> {
    /// Its bytes, without the version.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        postcard::to_allocvec(self).map_err(|error| format!("proposals cannot be written: {error}"))
    }

    /// Reads one group, and nothing else; its commands must be ones that this node knows.
    pub(crate) fn check(bytes: &[u8]) -> Result<usize, String> {
        let (group, rest) = take_group(bytes)?;
        if !rest.is_empty() {
            return Err(format!("proposals: {} bytes are left over", rest.len()));
        }
        for (number, command) in &group.proposals {
            Command::decode(command).map_err(|error| format!("proposal {number}: {error}"))?;
        }
        Ok(group.proposals.len())
    }
}

fn take_group(bytes: &[u8]) -> Result<(Group<'_>, &[u8]), String> {
    postcard::take_from_bytes(bytes).map_err(|error| format!("proposals: {error}"))
}

/// A payload of encoded groups.
pub(crate) fn payload<'a>(groups: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    groups.for_each(|group| bytes.extend_from_slice(group));
    bytes
}

/// The groups of a payload.
pub(crate) fn groups(payload: &[u8]) -> Result<Vec<Group<'_>>, String> {
    let mut rest = match payload {
        [FORMAT, rest @ ..] => rest,
        [other, ..] => return Err(format!("changes of format {other}, known is format {FORMAT}")),
        [] => return Err("changes without a format".to_owned()),
    };
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let (group, left) = take_group(rest)?;
        groups.push(group);
        rest = left;
    }
    Ok(groups)
}

/// What one proposal came to, without the rows that every node has by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done; whether anything is different now.
    Done {
        /// Whether.
        changed: bool,
    },
    /// A queue was declared or found.
    Queue {
        /// Whether it is new.
        created: bool,
    },
    /// An exchange was declared or found.
    Exchange {
        /// Whether it is new.
        created: bool,
    },
    /// The catalog refused it.
    Refused {
        /// The reply code's number.
        code: u16,
        /// The explanation.
        explanation: String,
    },
    /// It was over already, and what it came to is not known any more.
    Forgotten,
}

/// The answers to an entry's proposals, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers(pub Vec<Answer>);

impl Answer {
    pub(crate) fn of(outcome: &Result<Outcome, AmqpError>) -> Answer {
        match outcome {
            Ok(Outcome::Done { changed }) => Answer::Done { changed: *changed },
            Ok(Outcome::Queue { created, .. }) => Answer::Queue { created: *created },
            Ok(Outcome::Exchange { created }) => Answer::Exchange { created: *created },
            Err(error) => Answer::Refused { code: error.code.code(), explanation: error.explanation.clone() },
        }
    }

    /// The outcome of a command that was applied before, with the row as `catalog` has it.
    pub(crate) fn outcome(&self, command: &[u8], catalog: &Catalog) -> Result<Outcome, AmqpError> {
        match self {
            Answer::Done { changed } => Ok(Outcome::Done { changed: *changed }),
            Answer::Exchange { created } => Ok(Outcome::Exchange { created: *created }),
            Answer::Queue { created } => declared_queue(command, *created, catalog),
            Answer::Refused { code, explanation } => {
                let code = ReplyCode::ALL.iter().copied().find(|known| known.code() == *code);
                Err(AmqpError::new(code.unwrap_or(ReplyCode::InternalError), explanation.clone()))
            }
            Answer::Forgotten => Err(AmqpError::internal_error(
                "it is not known what the change of the catalog came to; look before it is tried again",
            )),
        }
    }
}

fn declared_queue(command: &[u8], created: bool, catalog: &Catalog) -> Result<Outcome, AmqpError> {
    // Declaring once more is how the catalog itself finds a row; the clone is thrown away.
    let outcome = Command::decode(command)
        .map_err(|error| AmqpError::internal_error(error.to_string()))
        .and_then(|command| catalog.clone().apply(command, &mut Vec::new()))?;
    match outcome {
        Outcome::Queue { queue, .. } => Ok(Outcome::Queue { queue, created }),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_one_after_the_other() {
        let one = Group { session: 7, done_below: 3, proposals: vec![(3, &b"ab"[..]), (5, b"")] };
        let two = Group { session: u64::MAX, done_below: 0, proposals: vec![] };
        let (first, second) = (one.encode().unwrap(), two.encode().unwrap());
        let bytes = payload([&first[..], &second[..]].into_iter());
        assert_eq!(groups(&bytes).unwrap(), [one, two]);
        for end in 0..bytes.len() {
            let cut = groups(&bytes[..end]);
            assert!(cut.is_err() || cut.unwrap().len() < 2, "cut at {end}");
        }
        assert!(groups(&[9]).unwrap_err().contains("format 9"));
    }

    #[test]
    fn the_drawn_payload_has_the_drawn_bytes() {
        let mut restart = Vec::new();
        Command::Restart.encode(&mut restart);
        let group = Group { session: 300, done_below: 1, proposals: vec![(2, &restart)] };
        let bytes = payload([&group.encode().unwrap()[..]].into_iter());
        assert_eq!(bytes, [1, 0xac, 0x02, 1, 1, 2, 2, 1, 27]);
    }

    #[test]
    fn only_known_commands_are_proposed() {
        let bytes = |command: &[u8]| {
            Group { session: 1, done_below: 0, proposals: vec![(1, command)] }.encode().unwrap()
        };
        let mut restart = Vec::new();
        Command::Restart.encode(&mut restart);
        assert_eq!(Group::check(&bytes(&restart)), Ok(1));
        assert!(Group::check(&bytes(&[1, 250])).unwrap_err().contains("proposal 1"));
        let mut long = bytes(&restart);
        long.push(0);
        assert!(Group::check(&long).is_err());
    }
}

//! What a queue was asked to do, one after the other, and what may be left of that after a crash.
//!
//! Invariant of what is tested: a queue comes back as it was after some of these, not before the last one
//! that was promised to last, without what is transient.

use crate::client::Seen;
use crate::message::Message;
use std::collections::BTreeMap;

/// Something that a log keeps.
#[derive(Clone, Debug)]
pub enum Op {
    Publish(Message),
    Settle(Vec<u64>),
    Return(Vec<u64>),
    /// They were dropped, or are on the way to the dead-letter exchange.
    Leave(Vec<u64>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    message: Message,
    returns: u32,
}

type Contents = BTreeMap<u64, Kept>;

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    base: Contents,
    /// Messages up to this one were known to be seen.
    base_seen: Option<u64>,
    /// With the last message that was handed out before.
    ops: Vec<(Op, Option<u64>)>,
    /// So many of them will be there.
    promised: usize,
    now: Contents,
    handed: Option<u64>,
    pub priority_max: Option<u8>,
    pub length_max: Option<usize>,
}

fn apply(contents: &mut Contents, op: &Op) {
    match op {
        Op::Publish(message) => {
            contents.insert(message.id, Kept { message: *message, returns: 0 });
        }
        Op::Settle(ids) | Op::Leave(ids) => contents.retain(|id, _| !ids.contains(id)),
        Op::Return(ids) => {
            for id in ids {
                contents.entry(*id).and_modify(|kept| kept.returns += 1);
            }
        }
    }
}

impl Ledger {
    /// Notes an operation; gives its number, for `promise`.
    pub fn note(&mut self, op: Op) -> usize {
        apply(&mut self.now, &op);
        self.ops.push((op, self.handed));
        self.ops.len()
    }

    /// All up to the operation with this number will be there.
    pub fn promise(&mut self, number: usize) {
        self.promised = self.promised.max(number);
    }

    /// How many operations there were.
    pub fn count(&self) -> usize {
        self.ops.len()
    }

    /// A client has seen a message.
    pub fn hand(&mut self, id: u64) {
        self.handed = self.handed.max(Some(id));
    }

    /// Messages of which none are in `held`, in their order.
    pub fn ready(&self, held: &[Seen]) -> Vec<u64> {
        let is_held = |id: &u64| held.iter().any(|seen| seen.id == *id);
        self.now.keys().copied().filter(|id| !is_held(id)).collect()
    }

    /// Messages that were promised to be there unless something was asked since.
    pub fn is_promised(&self, id: u64) -> bool {
        let in_base = self.base.contains_key(&id);
        let made = |op: &Op| matches!(op, Op::Publish(message) if message.id == id);
        in_base || self.ops[..self.promised].iter().any(|(op, _)| made(op))
    }

    /// What a restart makes of contents: messages in the order they will be delivered.
    fn left(&self, contents: &Contents) -> Vec<Kept> {
        let mut left: Vec<Kept> = contents.values().filter(|kept| kept.message.persistent).cloned().collect();
        if let Some(max) = self.length_max {
            left.drain(..left.len().saturating_sub(max));
        }
        if let Some(max) = self.priority_max {
            left.sort_by_key(|kept| std::cmp::Reverse(kept.message.priority.min(max)));
        }
        left
    }

    /// Whether what was found is what may be left; the text says why not.
    pub fn check(&self, found: &[Seen]) -> Result<(), String> {
        let mut contents = self.base.clone();
        let mut seen_up_to = self.base_seen;
        let mut nearest = String::new();
        for number in 0..=self.ops.len() {
            if let Some((op, handed)) = number.checked_sub(1).map(|last| &self.ops[last]) {
                if self.is_logged(&contents, op) {
                    seen_up_to = seen_up_to.max(*handed);
                }
                apply(&mut contents, op);
            }
            if number < self.promised {
                continue;
            }
            match compare(&self.left(&contents), found, seen_up_to) {
                Ok(()) => return Ok(()),
                Err(why) => nearest = format!("{nearest}\n  after {number}: {why}"),
            }
        }
        let text = format!("{} operations, {} promised{nearest}", self.ops.len(), self.promised);
        Err(format!("{text}\n  operations: {:?}", self.ops))
    }

    /// Whether the operation's record says what was handed out before.
    fn is_logged(&self, contents: &Contents, op: &Op) -> bool {
        match op {
            Op::Publish(message) => message.persistent,
            Op::Settle(ids) => {
                ids.iter().any(|id| contents.get(id).is_some_and(|kept| kept.message.persistent))
            }
            Op::Return(_) | Op::Leave(_) => false,
        }
    }

    /// Goes on from what was found.
    pub fn begin_again(&mut self, found: &[Seen]) {
        let kept = |seen: &Seen| (seen.id, Kept { message: seen.message, returns: seen.returns });
        self.base = found.iter().map(kept).collect();
        let first_seen = found.iter().filter(|seen| seen.redelivered && seen.returns == 0);
        self.base_seen = first_seen.map(|seen| seen.id).max();
        self.now = self.base.clone();
        self.handed = None;
        self.ops.clear();
        self.promised = 0;
    }
}

fn compare(left: &[Kept], found: &[Seen], seen_up_to: Option<u64>) -> Result<(), String> {
    let (expected, got): (Vec<u64>, Vec<u64>) =
        (left.iter().map(|kept| kept.message.id).collect(), found.iter().map(|seen| seen.id).collect());
    if expected != got {
        let missing: Vec<_> = expected.iter().filter(|id| !got.contains(id)).collect();
        let extra: Vec<_> = got.iter().filter(|id| !expected.contains(id)).collect();
        return Err(match (missing.is_empty(), extra.is_empty()) {
            (true, true) => format!("order {got:?} instead of {expected:?}"),
            _ => format!("missing {missing:?}, too many {extra:?}"),
        });
    }
    for (kept, seen) in left.iter().zip(found) {
        let id = seen.id;
        if kept.message != seen.message {
            return Err(format!("{id} is {:?} instead of {:?}", seen.message, kept.message));
        }
        if kept.returns != seen.returns {
            return Err(format!("{id} came back {} times instead of {}", seen.returns, kept.returns));
        }
        let must_be_known = seen.returns > 0 || seen_up_to.is_some_and(|up_to| id <= up_to);
        if must_be_known && !seen.redelivered {
            return Err(format!("{id} was seen and is not marked"));
        }
    }
    Ok(())
}

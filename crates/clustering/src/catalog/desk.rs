//! The changes that this process has proposed and not answered yet.
//!
//! Invariant: each is answered once: when it is applied here and the leader says that all who serve clients
//! have it, or when it cannot be any more. Numbers are given in the order of proposing and never again.

use super::proposal::{Answer, Group};
use broker::catalog::{Catalog, Outcome};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use types::AmqpError;
use types::limits::{CATALOG_BATCH_COUNT_MAX, CATALOG_BATCH_MAX_BYTES};

/// Whom a proposal's outcome is told.
pub(crate) type Reply = oneshot::Sender<Result<Outcome, AmqpError>>;

/// The proposals of a process.
pub(crate) struct Desk {
    /// The process: random.
    session: u64,
    state: Mutex<DeskState>,
}

#[derive(Default)]
struct DeskState {
    next: u64,
    pending: BTreeMap<u64, Pending>,
    /// Those below are on their way.
    unsent: u64,
    /// Those that are to be sent again.
    again: Vec<u64>,
    /// Nothing is taken in any more.
    ended: bool,
}

struct Pending {
    command: Vec<u8>,
    reply: Reply,
    since: Duration,
    /// What it came to here, and when that was.
    outcome: Option<(Result<Outcome, AmqpError>, Duration)>,
    /// The leader's word that it is applied wherever clients may be served, and in which entry it was.
    confirmed: Option<(Answer, u64)>,
    _place: OwnedSemaphorePermit,
}

/// Proposals that are sent together.
pub(crate) struct Parcel {
    pub(crate) numbers: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// A proposal that is told something, outside of the lock.
type Telling = (Reply, Result<Outcome, AmqpError>);

fn tell(tellings: Vec<Telling>) {
    for (reply, outcome) in tellings {
        // Whoever asked may have gone.
        let _ = reply.send(outcome);
    }
}

impl Desk {
    pub(crate) fn new(session: u64) -> Desk {
        Desk { session, state: Mutex::new(DeskState { next: 1, unsent: 1, ..DeskState::default() }) }
    }

    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// Takes in a command; drops the reply when the node is stopping.
    pub(crate) fn add(&self, command: Vec<u8>, reply: Reply, since: Duration, place: OwnedSemaphorePermit) {
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        let number = state.next;
        state.next += 1;
        let pending = Pending { command, reply, since, outcome: None, confirmed: None, _place: place };
        state.pending.insert(number, pending);
    }

    /// Whether there is something to send.
    pub(crate) fn has_unsent(&self) -> bool {
        let state = self.state.lock();
        state.unsent < state.next || !state.again.is_empty()
    }

    /// The next ones to send.
    pub(crate) fn parcel(&self) -> Option<Parcel> {
        let mut state = self.state.lock();
        let DeskState { next, pending, unsent, again, .. } = &mut *state;
        let mut numbers = std::mem::take(again);
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| pending.contains_key(number));
        numbers.extend(pending.range(*unsent..).map(|(number, _)| *number));
        let mut bytes = 0;
        let mut fits = |(count, number): (usize, &u64)| {
            bytes += pending.get(number).map_or(0, |pending| pending.command.len() + 16);
            count == 0 || (count < CATALOG_BATCH_COUNT_MAX && bytes <= CATALOG_BATCH_MAX_BYTES)
        };
        let count = numbers.iter().enumerate().map_while(|at| fits(at).then_some(())).count();
        let rest = numbers.split_off(count);
        *unsent = rest.iter().copied().find(|number| *number >= *unsent).unwrap_or(*next);
        again.extend(rest.into_iter().filter(|number| *number < *unsent));
        let done_below = pending.first_key_value().map_or(*next, |(number, _)| *number);
        let proposals =
            numbers.iter().filter_map(|number| Some((*number, &pending.get(number)?.command[..]))).collect();
        let group = Group { session: self.session, done_below, proposals };
        match group.encode() {
            _ if numbers.is_empty() => None,
            Ok(bytes) => Some(Parcel { numbers, bytes }),
            Err(why) => {
                tracing::error!("{why}");
                None
            }
        }
    }

    /// These have to be sent once more.
    pub(crate) fn unsend(&self, numbers: &[u64]) {
        self.state.lock().again.extend_from_slice(numbers);
    }

    /// These cannot be proposed.
    pub(crate) fn refuse(&self, numbers: &[u64], why: &AmqpError) {
        let mut state = self.state.lock();
        let rows: Vec<Pending> = numbers.iter().filter_map(|number| state.pending.remove(number)).collect();
        drop(state);
        tell(rows.into_iter().map(|row| (row.reply, Err(why.clone()))).collect());
    }

    /// Nobody will answer any more: whoever waits is told that the node is stopping.
    pub(crate) fn end(&self) {
        let rows = {
            let mut state = self.state.lock();
            state.ended = true;
            std::mem::take(&mut state.pending)
        };
        drop(rows);
    }

    /// Proposals were applied here.
    pub(crate) fn applied(&self, outcomes: Vec<(u64, Result<Outcome, AmqpError>)>, now: Duration) {
        let mut tellings = Vec::new();
        {
            let mut state = self.state.lock();
            for (number, outcome) in outcomes {
                let Some(pending) = state.pending.get_mut(&number) else { continue };
                pending.outcome = Some((outcome, now));
                if pending.confirmed.is_some() {
                    tellings.extend(state.finish(number));
                }
            }
        }
        tell(tellings);
    }

    /// The leader's answers to a parcel that was applied with the entry at `index`.
    pub(crate) fn confirmed(&self, numbers: &[u64], answers: Vec<Answer>, index: u64) {
        let mut tellings = Vec::new();
        {
            let mut state = self.state.lock();
            for (number, answer) in numbers.iter().zip(answers) {
                let Some(pending) = state.pending.get_mut(number) else { continue };
                pending.confirmed = Some((answer, index));
                if pending.outcome.is_some() {
                    tellings.extend(state.finish(*number));
                }
            }
        }
        tell(tellings);
    }

    /// All up to the entry at `index` is applied here: what was confirmed and not seen came with a snapshot,
    /// or was a repeat.
    pub(crate) fn reached(&self, index: u64, catalog: impl FnOnce() -> Catalog) {
        let mut tellings = Vec::new();
        {
            let mut state = self.state.lock();
            let is_reached = |pending: &Pending| {
                pending.outcome.is_none() && pending.confirmed.as_ref().is_some_and(|(_, at)| *at <= index)
            };
            let numbers: Vec<u64> =
                state.pending.iter().filter(|(_, row)| is_reached(row)).map(|(number, _)| *number).collect();
            if numbers.is_empty() {
                return;
            }
            let catalog = catalog();
            for number in numbers {
                let Some(Pending { command, reply, confirmed: Some((answer, _)), .. }) =
                    state.pending.remove(&number)
                else {
                    continue;
                };
                tellings.push((reply, answer.outcome(&command, &catalog)));
            }
        }
        tell(tellings);
    }

    /// Answers what has waited long enough. `is_over` tells by the time since when it waits; `assumed`: what
    /// was applied here so long ago that no other node can be serving clients without it.
    pub(crate) fn expire(
        &self,
        is_over: impl Fn(Duration) -> Option<AmqpError>,
        assumed: impl Fn(Duration) -> bool,
    ) {
        let mut tellings = Vec::new();
        {
            let mut state = self.state.lock();
            let end = |pending: &Pending| match &pending.outcome {
                Some((_, at)) => assumed(*at).then_some(None),
                None => is_over(pending.since).map(Some),
            };
            let over: Vec<(u64, Option<AmqpError>)> =
                state.pending.iter().filter_map(|(number, row)| Some((*number, end(row)?))).collect();
            for (number, error) in over {
                match error {
                    None => tellings.extend(state.finish(number)),
                    Some(error) => {
                        tellings.extend(state.pending.remove(&number).map(|row| (row.reply, Err(error))));
                    }
                }
            }
        }
        tell(tellings);
    }
}

impl DeskState {
    fn finish(&mut self, number: u64) -> Option<Telling> {
        let Pending { reply, outcome, .. } = self.pending.remove(&number)?;
        outcome.map(|(outcome, _)| (reply, outcome))
    }
}

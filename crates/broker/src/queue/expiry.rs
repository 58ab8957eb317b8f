//! When messages and the queue itself expire.
//!
//! Invariant: a ready message leaves when its own time is over, wherever it stands; what is checked out
//! waits until it comes back. A queue-wide time to live needs no index, since it ends in log order;
//! only messages with a shorter one of their own are indexed.

use super::index_set::Range;
use super::machine::QueueMachine;
use crate::message::DeathReason;

/// Deadlines of messages that are no longer ready which may stand in the index before it is tidied.
const STALE_DEADLINES_MAX: u64 = 64;

impl QueueMachine {
    /// The earliest time something has to be done without being asked.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let own = self.deadlines.first().map(|(at, _)| *at);
        let common = self.state.config.message_ttl_ms.and_then(|ttl| {
            let oldest = self.ready.oldest()?;
            Some(self.tail.segment(oldest)?.arrived_ms(oldest).saturating_add(ttl))
        });
        let idle = self.idle_deadline_ms();
        [own, common, idle].into_iter().flatten().min()
    }

    fn idle_deadline_ms(&self) -> Option<u64> {
        let expires_ms = self.state.config.expires_ms?;
        (self.consumers.len() == 0).then(|| self.used_at_ms.saturating_add(expires_ms))
    }

    /// Whether the queue was not used for as long as `x-expires` says.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.idle_deadline_ms().is_some_and(|at| at <= now_ms)
    }

    /// The queue was declared again or read from.
    pub fn touch(&mut self, now_ms: u64) {
        self.used_at_ms = now_ms;
    }

    /// Indexes messages that live shorter than the queue lets them.
    pub(super) fn note_deadlines(&mut self, range: Range) {
        let common = self.state.config.message_ttl_ms;
        for index in range.0..range.1 {
            let Some(segment) = self.tail.segment(index) else { continue };
            let (Some(own), _) = segment.traits_of(index) else { continue };
            if common.is_none_or(|common| own < common) {
                self.deadlines.insert((segment.arrived_ms(index).saturating_add(own), index));
            }
        }
    }

    /// Drops deadlines of messages that left before their time, once these are the most.
    pub(super) fn tidy_deadlines(&mut self) {
        if self.deadlines.len() as u64 > 2 * self.ready.count() + STALE_DEADLINES_MAX {
            self.deadlines.retain(|(_, index)| self.ready.contains(*index));
        }
    }

    /// Lets everything go whose time is over.
    pub fn expire(&mut self, now_ms: u64) {
        let mut over: Vec<Range> = Vec::new();
        while let Some(&(at, index)) = self.deadlines.first()
            && at <= now_ms
        {
            self.deadlines.pop_first();
            // What is checked out is indexed again when it comes back.
            if self.ready.contains(index) {
                over.push((index, index + 1));
            }
        }
        over.sort_unstable();
        self.discard(over, DeathReason::Expired, now_ms);
        let Some(ttl) = self.state.config.message_ttl_ms else { return };
        let Some(until_ms) = now_ms.checked_sub(ttl) else { return };
        let over: Vec<Range> = self
            .tail
            .segments()
            .take_while(|segment| segment.added_at_ms <= until_ms)
            .flat_map(|segment| self.ready.within((segment.first, segment.arrived_until(until_ms))))
            .collect();
        self.discard(over, DeathReason::Expired, now_ms);
    }
}

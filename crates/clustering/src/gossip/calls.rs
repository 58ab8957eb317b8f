//! Calls to those who do not speak: seeds, and nodes that are down; and forgetting them.
//!
//! Invariant: whoever can be reached again is called again, for as long as it is not forgotten.

use super::effects::Effects;
use super::roster::Liveness;
use super::swim::{Due, Swim, detector};
use super::wire::{Signature, Speaker};
use foca::{Member, State};
use rand::RngExt;
use std::net::SocketAddr;
use std::time::Duration;
use types::limits;

/// Nodes that have been down for longer than this are called only at each `RARE`th round.
const RECENT: Duration = Duration::from_secs(60);
const RARE: u64 = 4;
/// A suspicion that has lasted for so many times the period for it has lost its deadline.
const SUSPICION_FACTOR: u32 = 3;

impl Swim {
    /// Another place where others may be found.
    pub fn add_seed(&mut self, addr: SocketAddr, now: Duration, out: &mut Effects) {
        if self.remember_seed(addr) && !self.has_left {
            self.call_seed(addr, now, out);
        }
    }

    pub(super) fn remember_seed(&mut self, addr: SocketAddr) -> bool {
        let is_new = !self.seeds.contains(&addr) && self.seeds.len() < limits::GOSSIP_SEED_COUNT_MAX;
        if is_new {
            self.seeds.push(addr);
        }
        is_new
    }

    fn call_seed(&mut self, addr: SocketAddr, now: Duration, out: &mut Effects) {
        let anybody = Speaker::anybody_at(addr, self.me());
        self.call(now, out, |detector, sink| detector.announce(anybody, sink));
    }

    pub(super) fn call_seeds(&mut self, now: Duration, out: &mut Effects) {
        let met: Vec<SocketAddr> =
            self.detector.iter_members().map(|member| member.id().identity.addr).collect();
        let own = self.me().addr;
        let unmet = self.seeds.iter().filter(|seed| **seed != own && !met.contains(seed));
        for seed in unmet.copied().collect::<Vec<_>>() {
            self.call_seed(seed, now, out);
        }
        let pause = if met.is_empty() { self.seed_pause } else { self.periods.seed_again };
        self.seed_pause = (self.seed_pause * 2).min(self.periods.seed_max);
        // Nodes that were started together do not call together for ever.
        let pause = pause.mul_f64(self.rng.random_range(0.8..1.0));
        self.timers.push(now + pause, Due::Seeds(self.seed_mark));
    }

    pub(super) fn restart_seeds(&mut self, now: Duration) {
        self.seed_mark += 1;
        self.seed_pause = self.periods.seed_first;
        self.timers.push(now, Due::Seeds(self.seed_mark));
    }

    /// Calls those who are down, in case they are not, and forgets those who have been for long.
    pub(super) fn retry(&mut self, now: Duration, out: &mut Effects) {
        self.rounds += 1;
        let (round, forget) = (self.rounds, self.periods.forget);
        let mut calls = Vec::new();
        let mut gone = Vec::new();
        for entry in self.roster.silent() {
            let for_long = now.saturating_sub(entry.since);
            if entry.state == Liveness::Down && for_long >= forget {
                gone.push(entry.speaker.identity.id);
            } else if for_long < RECENT || round.is_multiple_of(RARE) {
                calls.push(entry.speaker.clone());
            }
        }
        for speaker in calls {
            self.call(now, out, |detector, sink| detector.announce(speaker, sink));
        }
        if !gone.is_empty() {
            self.drop_members(|speaker| gone.contains(&speaker.identity.id), now, out);
        }
        self.settle_suspicions(now, out);
        self.timers.push(now + self.periods.retry, Due::Retry);
    }

    /// A suspicion ends by itself, unless this node was declared down meanwhile: then the failure detector drops
    /// its deadline, and a node that answers would be shown as suspected for ever. Declared down, it says that it
    /// is there.
    fn settle_suspicions(&mut self, now: Duration, out: &mut Effects) {
        let limit = SUSPICION_FACTOR * self.periods.suspect;
        let is_stuck = |member: &&Member<Speaker>| {
            let entry =
                self.roster.get(member.id().identity.id).filter(|entry| entry.speaker == *member.id());
            member.state() == State::Suspect
                && entry.is_some_and(|entry| {
                    entry.state == Liveness::Suspect && now.saturating_sub(entry.since) >= limit
                })
        };
        let stuck = self.detector.iter_membership_state().filter(is_stuck);
        let down: Vec<Member<Speaker>> =
            stuck.map(|member| Member::new(member.id().clone(), member.incarnation(), State::Down)).collect();
        if !down.is_empty() {
            self.call(now, out, |detector, sink| detector.apply_many(down.into_iter(), true, sink));
        }
    }

    /// Forgets a node. One that is alive is met again with its next packet.
    pub fn forget(&mut self, node: u64, now: Duration, out: &mut Effects) {
        if !self.has_left {
            self.drop_members(|speaker| speaker.identity.id == node, now, out);
        }
    }

    /// Goes on without some of the others. The failure detector cannot forget, so another one takes over.
    pub(super) fn drop_members(
        &mut self,
        is_gone: impl Fn(&Speaker) -> bool,
        now: Duration,
        out: &mut Effects,
    ) {
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.detector.iter_membership_state().cloned().partition(|member| is_gone(member.id()));
        let shown = self.roster.iter().map(|entry| &entry.speaker).filter(|speaker| is_gone(speaker));
        let mut ids: Vec<u64> = shown.map(|speaker| speaker.identity.id).collect();
        ids.extend(gone.iter().map(|member| member.id().identity.id));
        for node in ids {
            out.changed |= self.roster.forget(node);
            self.facts.forget(node);
        }
        if gone.is_empty() {
            return;
        }
        self.timers.retain(|due| !matches!(due, Due::Detector(_)));
        self.detector = detector(self.detector.identity().clone(), &self.periods, &mut self.rng);
        self.call(now, out, |detector, sink| detector.apply_many(kept.into_iter(), true, sink));
        self.settle(now, out);
    }

    /// A node said that it goes.
    pub(super) fn left(&mut self, from: Signature, now: Duration, out: &mut Effects) {
        // A leave that comes late must not end a later life of the same process.
        let is_it =
            |known: &&Speaker| known.identity.boot == from.boot && known.generation <= from.generation;
        let Some(speaker) = self.known(from.node).filter(is_it) else { return };
        let down = Member::new(speaker.clone(), 0, State::Down);
        self.call(now, out, |detector, sink| detector.apply_many(std::iter::once(down), true, sink));
        out.changed |= self.roster.leave(from.node, now);
    }
}

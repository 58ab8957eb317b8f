//! Who the home proposes to join and to leave those in sync, and when; and to be dropped, when its join has no end.
//!
//! Invariant: from before a join is proposed until the catalog shows a later row, commits wait for the joiner too: a
//! proposal without an answer may still be applied, but not to a later row. A leave counts once it is seen.

use super::home::HomeRole;
use super::reach::Phase;
use crate::catalog::copies::CopyStep;
use std::collections::BTreeMap;
use types::NodeId;
use types::limits::{MIRROR_AGAIN_MS, MIRROR_CATCH_UP_MS, MIRROR_REOPEN_MS, MIRROR_STALL_MS};

/// What is proposed for the row as it was last seen.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    joiner: Option<Joiner>,
    /// Who tried to join last, so that others have their turn.
    tried: Option<NodeId>,
    /// No other one tries before.
    tries_at: u64,
    left_at: Option<u64>,
    /// Who was in sync and is not any more, since when as far as it was noticed: who took it out may have more in mind.
    rests: BTreeMap<NodeId, Option<u64>>,
}

/// A node that is about to be in sync.
#[derive(Clone, Copy, Debug)]
struct Joiner {
    node: NodeId,
    /// Since when commits wait for it.
    since: u64,
    /// When it was proposed last.
    proposed_at: Option<u64>,
}

impl Proposals {
    /// Commits wait for it too.
    pub fn joiner(&self) -> Option<NodeId> {
        self.joiner.map(|joiner| joiner.node)
    }

    /// The catalog shows a later row: whatever was proposed for the old one is decided.
    pub fn seen(&mut self) {
        (self.joiner, self.left_at, self.tries_at) = (None, None, 0);
    }

    /// A node is not in sync any more: it does not join for a while.
    pub fn rest(&mut self, node: NodeId) {
        self.rests.insert(node, None);
    }

    /// Who was not proposed yet is not waited for without a stream.
    pub fn stream_ended(&mut self, node: NodeId) {
        if self.joiner.is_some_and(|joiner| joiner.node == node && joiner.proposed_at.is_none()) {
            self.joiner = None;
        }
    }
}

/// Whether a time has come, a while after the last one.
fn is_due(last: Option<u64>, now_ms: u64) -> bool {
    last.is_none_or(|last| now_ms.saturating_sub(last) >= MIRROR_AGAIN_MS)
}

impl HomeRole {
    /// Time passes: streams begin again, who does not go on is proposed to leave, who is level to join.
    pub fn tick(&mut self, now_ms: u64) {
        if self.has_stepped_down {
            return;
        }
        self.reopen(now_ms);
        self.measure(now_ms);
        self.propose_leave(now_ms);
        self.give_up_chase(now_ms);
        self.proposals.rests.retain(|_, since| !is_due(Some(*since.get_or_insert(now_ms)), now_ms));
        self.chase(now_ms);
        self.advance();
    }

    fn reopen(&mut self, now_ms: u64) {
        let mut due = Vec::new();
        for (node, reach) in self.reaches.iter_mut().filter(|(_, reach)| reach.link.is_some()) {
            let (since, pause) = match &mut reach.phase {
                Phase::Closed(since) => (since, MIRROR_REOPEN_MS),
                Phase::Opened { since, .. } => (since, MIRROR_AGAIN_MS),
                _ => continue,
            };
            if now_ms.saturating_sub(*since.get_or_insert(now_ms)) >= pause {
                due.push(*node);
            }
        }
        due.into_iter().for_each(|node| self.open(node));
    }

    /// Notes since when each copy is waited for.
    fn measure(&mut self, now_ms: u64) {
        let nodes: Vec<NodeId> = self.reaches.keys().copied().collect();
        for node in nodes {
            let lacks = self.lacks(node).is_some();
            if let Some(reach) = self.reaches.get_mut(&node) {
                reach.waited_since = lacks.then(|| reach.waited_since.unwrap_or(now_ms));
            }
        }
    }

    /// Whether a node in sync can be done without.
    pub(super) fn may_shrink(&self) -> bool {
        self.copies.in_sync.len() > usize::try_from(self.copies.min_in_sync.max(1)).unwrap_or(usize::MAX)
    }

    fn propose_leave(&mut self, now_ms: u64) {
        if !self.may_shrink() || !is_due(self.proposals.left_at, now_ms) {
            return;
        }
        let is_stalled = |node: &&NodeId| {
            let since = self.reaches.get(node).and_then(|reach| reach.waited_since);
            since.is_some_and(|since| now_ms.saturating_sub(since) >= MIRROR_STALL_MS)
        };
        if let Some(node) = self.copies.in_sync.iter().find(is_stalled).copied() {
            self.proposals.left_at = Some(now_ms);
            self.effects.push(super::HomeEffect::Propose(CopyStep::LeaveSync(node)));
        }
    }

    /// Who does not catch up while commits wait for it has to try again later.
    fn give_up_chase(&mut self, now_ms: u64) {
        let is_late = |joiner: &Joiner| {
            joiner.proposed_at.is_none() && now_ms.saturating_sub(joiner.since) >= MIRROR_CATCH_UP_MS
        };
        if self.proposals.joiner.as_ref().is_some_and(is_late) {
            self.proposals.joiner = None;
            self.proposals.tries_at = now_ms + MIRROR_AGAIN_MS;
        }
    }

    /// A mirror that is level joins: commits wait for it, and once it has all that is committed it is proposed.
    /// Nobody joins before the own disk knows of the epoch: a start that forgot it could take itself for alone.
    pub(super) fn chase(&mut self, now_ms: u64) {
        if self.has_stepped_down || self.has(self.me).is_none() {
            return;
        }
        if self.proposals.joiner.is_none() && now_ms >= self.proposals.tries_at {
            let node = self.next_joiner();
            self.proposals.tried = node.or(self.proposals.tried);
            self.proposals.joiner = node.map(|node| Joiner { node, since: now_ms, proposed_at: None });
        }
        let Some(joiner) = self.proposals.joiner else { return };
        // One that was proposed is proposed again whatever became of it: only a later row ends the waiting for it.
        let is_ready = self.has(joiner.node).is_some_and(|has| has >= self.committed);
        if is_due(joiner.proposed_at, now_ms) && (is_ready || joiner.proposed_at.is_some()) {
            self.proposals.joiner = Some(Joiner { proposed_at: Some(now_ms), ..joiner });
            self.effects.push(super::HomeEffect::Propose(CopyStep::JoinSync(joiner.node)));
            self.propose_drop(joiner, now_ms);
        }
    }

    /// A joiner that is down is not taken in, and commits would wait until it is back. Only a later row ends that:
    /// its copy goes, and begins anew when the node is up. If the join is taken after all, it is so before.
    fn propose_drop(&mut self, joiner: Joiner, now_ms: u64) {
        let stalls_since = self.reaches.get(&joiner.node).and_then(|reach| reach.waited_since);
        let is_stalled = |since: u64| now_ms.saturating_sub(since) >= MIRROR_STALL_MS;
        if joiner.proposed_at.is_some() && stalls_since.is_some_and(is_stalled) {
            self.effects.push(super::HomeEffect::Propose(CopyStep::DropMirror(joiner.node)));
        }
    }

    fn next_joiner(&self) -> Option<NodeId> {
        let can_join = |node: &NodeId| {
            let is_level = self.reaches.get(node).is_some_and(|reach| reach.is_level());
            is_level && !self.copies.in_sync.contains(node) && !self.proposals.rests.contains_key(node)
        };
        let mut able = self.copies.mirrors.iter().copied().filter(can_join);
        let later = able.clone().find(|node| self.proposals.tried.is_some_and(|tried| *node > tried));
        later.or_else(|| able.next())
    }
}

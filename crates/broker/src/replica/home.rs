//! What the home of a mirrored queue decides in one epoch: what is committed, who gets what, who is waited for.
//!
//! Invariant: `committed` never goes back and never passes what the own disk, a node in sync or a node that is
//! proposed to be has; it stays at 0 until every node in sync was level in this epoch.

use super::effect::{HomeEffect, Sent};
use super::reach::{Phase, Reach};
use super::sync::Proposals;
use super::waiting::{WaitReason, Waiting};
use crate::catalog::copies::Copies;
use std::collections::BTreeMap;
use types::NodeId;

/// A queue's home in one epoch. A new epoch has a new one.
#[derive(Debug)]
pub struct HomeRole {
    pub(super) me: NodeId,
    /// The row as it was last seen, in this epoch.
    pub(super) copies: Copies,
    /// Turns that were appended.
    pub(super) position: u64,
    own_durable: u64,
    pub(super) committed: u64,
    is_established: bool,
    /// A newer epoch is known elsewhere.
    pub(super) has_stepped_down: bool,
    pub(super) reaches: BTreeMap<NodeId, Reach>,
    /// Numbers of the last frames to nodes that are no mirrors any more: they go on if these are again.
    numbers: BTreeMap<NodeId, u64>,
    pub(super) proposals: Proposals,
    pub(super) effects: Vec<HomeEffect>,
}

impl HomeRole {
    /// The home of an epoch. Its first turn is the epoch's record; nothing passes to mirrors before that.
    pub fn new(me: NodeId, copies: &Copies) -> HomeRole {
        let reaches = copies.mirrors.iter().filter(|node| **node != me);
        HomeRole {
            me,
            copies: copies.clone(),
            position: 0,
            own_durable: 0,
            committed: 0,
            is_established: false,
            has_stepped_down: false,
            reaches: reaches.map(|node| (*node, Reach::default())).collect(),
            numbers: BTreeMap::new(),
            proposals: Proposals::default(),
            effects: Vec::new(),
        }
    }

    /// The epoch; it stands in every frame.
    pub fn epoch(&self) -> u64 {
        self.copies.epoch
    }

    /// The version of the row as it was last seen; it stands in Open and in what is proposed.
    pub fn version(&self) -> u64 {
        self.copies.version
    }

    /// The row as it was last seen.
    pub fn copies(&self) -> &Copies {
        &self.copies
    }

    /// Whether a newer epoch is known elsewhere: nothing more is to be appended.
    pub fn has_stepped_down(&self) -> bool {
        self.has_stepped_down
    }

    /// What is to be done, in order; to be asked for after every other call.
    pub fn take_effects(&mut self) -> Vec<HomeEffect> {
        std::mem::take(&mut self.effects)
    }

    /// Everything up to this position is committed.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether what the home has is committed, so that it may serve.
    pub fn is_established(&self) -> bool {
        self.is_established
    }

    /// How many turns were appended.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The catalog has a later row of this epoch; other epochs, and rows that were seen, change nothing. Links to new
    /// mirrors are told of again.
    pub fn set_copies(&mut self, copies: &Copies) {
        if copies.epoch != self.copies.epoch || copies.version <= self.copies.version {
            return;
        }
        let old = std::mem::replace(&mut self.copies, copies.clone());
        let is_next = copies.version == old.version + 1;
        // Who may have been dropped and added again in between has an empty copy.
        let is_same = |node: &NodeId| {
            copies.mirrors.contains(node)
                && (is_next || old.in_sync.contains(node) && copies.in_sync.contains(node))
        };
        let gone: Vec<NodeId> = self.reaches.keys().copied().filter(|node| !is_same(node)).collect();
        for node in gone {
            let Some(reach) = self.reaches.remove(&node) else { continue };
            if reach.is_running() {
                self.effects.push(HomeEffect::CloseStream(node));
            }
            self.numbers.insert(node, reach.number);
            if copies.mirrors.contains(&node) {
                self.reaches
                    .insert(node, Reach { link: reach.link, number: reach.number, ..Reach::default() });
            }
        }
        for node in copies.mirrors.iter().filter(|node| **node != self.me) {
            let number = self.numbers.get(node).copied().unwrap_or(0);
            self.reaches.entry(*node).or_insert(Reach { number, ..Reach::default() });
        }
        self.proposals.seen();
        let left = old.in_sync.iter().filter(|node| !copies.in_sync.contains(node));
        left.for_each(|node| self.proposals.rest(*node));
        self.advance();
    }

    /// A link to a node is there. Links have numbers, so that what came over an earlier one is not taken for its.
    pub fn link_up(&mut self, node: NodeId, link: u64) {
        let Some(reach) = self.reaches.get_mut(&node) else { return };
        (reach.link, reach.phase) = (Some(link), Phase::Closed(None));
        self.proposals.stream_ended(node);
        self.open(node);
    }

    /// A link to a node has ended.
    pub fn link_down(&mut self, node: NodeId, link: u64) {
        if let Some(reach) = self.reaches.get_mut(&node).filter(|reach| reach.link == Some(link)) {
            (reach.link, reach.phase) = (None, Phase::Closed(None));
            self.proposals.stream_ended(node);
        }
    }

    /// The home has ended the stream to a mirror, which took too little of it; it begins again after a while.
    pub fn end_stream(&mut self, node: NodeId) {
        if let Some(reach) = self.reaches.get_mut(&node) {
            if reach.is_running() {
                self.effects.push(HomeEffect::CloseStream(node));
            }
            reach.phase = Phase::Closed(None);
            self.proposals.stream_ended(node);
        }
    }

    /// Asks a mirror for its state if there is a link and something to tell it.
    pub(super) fn open(&mut self, node: NodeId) {
        let has_begun = self.position > 0 && !self.has_stepped_down;
        let Some(reach) = self.reaches.get_mut(&node).filter(|reach| has_begun && reach.link.is_some())
        else {
            return;
        };
        let number = reach.open();
        self.effects.push(HomeEffect::Open { node, number });
    }

    /// A mirror has told its state for our epoch, as the answer to the Open with a number.
    pub fn stated(&mut self, node: NodeId, link: u64, number: u64) {
        let Some(reach) = self.reaches.get_mut(&node) else { return };
        if reach.link == Some(link) && reach.is_awaited(number) && !self.has_stepped_down {
            reach.phase = Phase::Stated;
            self.effects.push(HomeEffect::Level(node));
        }
    }

    /// A turn was appended; its position. The first one is the epoch's record.
    pub fn appended(&mut self) -> u64 {
        self.position += 1;
        if self.position == 1 {
            let nodes: Vec<NodeId> = self.reaches.keys().copied().collect();
            nodes.into_iter().for_each(|node| self.open(node));
        }
        self.position
    }

    /// Mirrors that get each turn.
    pub fn streams(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.reaches.iter().filter(|(_, reach)| reach.is_running()).map(|(node, _)| *node)
    }

    /// A frame is about to go to a mirror: its number. None: it must not be sent, since there is no stream for it.
    pub fn sent(&mut self, node: NodeId, sent: Sent) -> Option<u64> {
        let reach = self.reaches.get_mut(&node)?;
        if reach.is_full() {
            self.end_stream(node);
            return None;
        }
        reach.sent(sent, self.position)
    }

    /// All that a mirror lacked was sent: it is level once it has acknowledged that.
    pub fn filled(&mut self, node: NodeId) {
        if let Some(reach) = self.reaches.get_mut(&node) {
            reach.filled();
        }
        self.advance();
    }

    /// The own disk has everything up to a position.
    pub fn own_durable(&mut self, position: u64) {
        self.own_durable = self.own_durable.max(position.min(self.position));
        self.advance();
    }

    /// A mirror has everything up to a frame on disk, or held.
    pub fn acked(&mut self, node: NodeId, link: u64, number: u64, now_ms: u64) {
        let Some(reach) = self.reaches.get_mut(&node).filter(|reach| reach.link == Some(link)) else {
            return;
        };
        if reach.acked(number) {
            reach.waited_since = reach.waited_since.map(|_| now_ms);
            self.chase(now_ms);
            self.advance();
        }
    }

    /// A mirror did not take something: it knows a newer epoch, or the stream to it has ended there.
    pub fn refused(&mut self, node: NodeId, link: u64, epoch: u64) {
        if epoch > self.copies.epoch {
            if !std::mem::replace(&mut self.has_stepped_down, true) {
                self.effects.push(HomeEffect::StepDown(epoch));
            }
        } else if self.reaches.get(&node).is_some_and(|reach| reach.link == Some(link) && reach.is_running())
        {
            self.end_stream(node);
        }
    }

    /// What a copy has for certain.
    pub(super) fn has(&self, node: NodeId) -> Option<u64> {
        if node == self.me {
            return Some(self.own_durable).filter(|durable| *durable > 0);
        }
        self.reaches.get(&node).and_then(|reach| reach.has)
    }

    /// What all copies have that a commit waits for; None while one of them was not level in this epoch.
    fn floor(&self) -> Option<u64> {
        let copies = &self.copies;
        let is_enough = copies.in_sync.contains(&self.me)
            && copies.in_sync.len() >= usize::try_from(copies.min_in_sync).unwrap_or(usize::MAX);
        let counted = copies.in_sync.iter().copied().chain(self.proposals.joiner());
        counted.map(|node| self.has(node)).min().flatten().filter(|_| is_enough)
    }

    /// Commits what can be.
    pub(super) fn advance(&mut self) {
        let Some(floor) = self.floor().filter(|_| !self.has_stepped_down) else { return };
        if !std::mem::replace(&mut self.is_established, true) {
            self.effects.push(HomeEffect::Established);
        }
        if floor > self.committed {
            self.committed = floor;
            self.effects.push(HomeEffect::Committed(floor));
        }
    }

    /// Whether nothing changes by time alone: everything is committed, and all mirrors are in sync.
    pub fn is_quiet(&self) -> bool {
        let is_done = |(node, reach): (&NodeId, &Reach)| {
            self.copies.in_sync.contains(node) && reach.is_level() && reach.has == Some(self.position)
        };
        self.is_established
            && self.committed == self.position
            && self.proposals.joiner().is_none()
            && self.reaches.iter().all(is_done)
    }

    /// Whether commits wait for a node.
    pub fn is_awaited(&self, node: NodeId) -> bool {
        self.copies.in_sync.contains(&node) || self.proposals.joiner() == Some(node)
    }

    /// Mirrors: what each is doing, and how many turns it does not have.
    pub fn mirrors(&self) -> impl Iterator<Item = (NodeId, &'static str, u64)> + '_ {
        self.reaches.iter().map(|(node, reach)| {
            let state = match &reach.phase {
                _ if reach.link.is_none() => "down",
                Phase::Closed(_) | Phase::Opened { .. } | Phase::Stated => "connecting",
                Phase::Running(_) if !reach.is_level() => "syncing",
                Phase::Running(_) if self.copies.in_sync.contains(node) => "in sync",
                Phase::Running(_) => "joining",
            };
            (*node, state, self.position.saturating_sub(reach.has.unwrap_or(0)))
        })
    }

    /// Whether something waits for this copy, and why it does not have it.
    pub(super) fn lacks(&self, node: NodeId) -> Option<WaitReason> {
        if self.has(node).is_some_and(|has| has >= self.position) || self.position == 0 {
            return None;
        }
        let Some(reach) = self.reaches.get(&node) else { return Some(WaitReason::OwnDisk) };
        Some(match &reach.phase {
            _ if reach.link.is_none() => WaitReason::NoLink,
            Phase::Closed(_) | Phase::Opened { .. } => WaitReason::NoState,
            _ if !reach.is_level() => WaitReason::Levelling,
            _ => WaitReason::Behind,
        })
    }

    /// The copies in sync that something waits for, and why.
    pub fn waits_for(&self) -> Vec<Waiting> {
        let is_needed = !self.may_shrink();
        let waiting = |node: &NodeId| {
            let reason = self.lacks(*node)?;
            Some(Waiting { node: *node, reason, is_needed })
        };
        self.copies.in_sync.iter().filter_map(waiting).collect()
    }
}

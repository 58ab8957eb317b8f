//! The home of a mirrored queue: who must have a turn before it is committed, and who has it.
//!
//! Invariant: a position is committed when this node's disk, every node in sync and everybody who may have joined
//! them has it, and these are as many as the row asks for; nothing is before all of them are level in this epoch.
//! Nobody leaves or joins but by a row that was seen.

use crate::catalog::copies::{Copies, CopyStep};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use types::NodeId;
use types::limits::MIRROR_STALL_MS;

/// What a frame that was sent stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// What the mirror has agrees with what the home had then.
    Reset,
    /// A turn.
    Turn(u64),
    /// Messages that the mirror did not have.
    Fill,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeEffect {
    /// Ask a mirror what it has.
    Open(NodeId),
    /// A mirror's stream is over; nothing more goes there before it is opened again.
    CloseStream(NodeId),
    /// Everything up to a position is committed.
    Committed(u64),
    /// All nodes in sync are level: everything that was here when the epoch began is committed.
    Established,
    /// Propose a step to the catalog.
    Propose(CopyStep),
}

/// How far a mirror's stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    /// There is no link.
    Down,
    /// It was asked what it has.
    Opened,
    /// Messages that it does not have are being sent.
    Filling,
    /// The last of them was sent under this number.
    Filled(u64),
    /// It has everything up to what it has acknowledged.
    Level,
}

#[derive(Clone, Debug)]
struct Follower {
    stream: Stream,
    /// The number of the last frame.
    number: u64,
    /// Frames that are not acknowledged: number, and the position that the mirror has with it.
    sent: VecDeque<(u64, u64)>,
    /// What it has, once it is level.
    acked: u64,
    /// When it last did anything, milliseconds.
    moved_ms: u64,
    /// When a step for it was last proposed.
    proposed_ms: Option<u64>,
}

impl Follower {
    fn new(now_ms: u64) -> Follower {
        Follower {
            stream: Stream::Down,
            number: 0,
            sent: VecDeque::new(),
            acked: 0,
            moved_ms: now_ms,
            proposed_ms: None,
        }
    }

    fn begin(&mut self, stream: Stream, now_ms: u64) {
        *self = Follower { stream, proposed_ms: self.proposed_ms, ..Follower::new(now_ms) };
    }

    fn has(&self) -> u64 {
        if self.stream == Stream::Level { self.acked } else { 0 }
    }
}

/// The role.
#[derive(Debug)]
pub struct HomeRole {
    me: NodeId,
    copies: Copies,
    followers: BTreeMap<NodeId, Follower>,
    /// Who may be in sync by now: proposed for that at a version, and the outcome was not seen.
    joining: BTreeMap<NodeId, u64>,
    appended: u64,
    own_durable: u64,
    committed: u64,
    established: bool,
}

impl HomeRole {
    /// The home `me` of an epoch that begins now; links that are up are to be told.
    pub fn new(me: NodeId, copies: &Copies, now_ms: u64) -> HomeRole {
        let followers = copies.mirrors.iter().map(|node| (*node, Follower::new(now_ms))).collect();
        HomeRole {
            me,
            copies: copies.clone(),
            followers,
            joining: BTreeMap::new(),
            appended: 0,
            own_durable: 0,
            committed: 0,
            established: false,
        }
    }

    /// A later row of the same epoch. Who is new has no link until that is told.
    pub fn set_copies(&mut self, copies: &Copies, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        if copies.epoch != self.copies.epoch || copies.version < self.copies.version {
            return;
        }
        self.copies = copies.clone();
        let gone = self.followers.keys().filter(|node| !copies.mirrors.contains(node));
        effects.extend(gone.map(|node| HomeEffect::CloseStream(*node)));
        self.followers.retain(|node, _| copies.mirrors.contains(node));
        for node in &copies.mirrors {
            self.followers.entry(*node).or_insert_with(|| Follower::new(now_ms));
        }
        // A change made for an earlier version cannot come true any more.
        self.joining.retain(|node, version| *version >= copies.version && !copies.in_sync.contains(node));
        self.look(now_ms, effects);
    }

    /// A link to a node is up; whatever went over another one is void.
    pub fn link_up(&mut self, node: NodeId, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        if let Some(follower) = self.followers.get_mut(&node) {
            follower.begin(Stream::Opened, now_ms);
            effects.extend([HomeEffect::CloseStream(node), HomeEffect::Open(node)]);
        }
    }

    /// The link to a node has ended.
    pub fn link_down(&mut self, node: NodeId, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        if let Some(follower) = self.followers.get_mut(&node) {
            follower.begin(Stream::Down, now_ms);
            effects.push(HomeEffect::CloseStream(node));
        }
    }

    /// A mirror takes too much memory of its link: its stream begins again.
    pub fn close(&mut self, node: NodeId, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        self.link_up(node, now_ms, effects);
    }

    /// A mirror has told what it has; true when it is to get a reset and fills now.
    pub fn stated(&mut self, node: NodeId, now_ms: u64, effects: &mut Vec<HomeEffect>) -> bool {
        let Some(follower) = self.followers.get_mut(&node) else { return false };
        match follower.stream {
            Stream::Down => return false,
            Stream::Opened => {}
            // It could not go on with the stream and begins again.
            Stream::Filling | Stream::Filled(_) | Stream::Level => effects.push(HomeEffect::CloseStream(node)),
        }
        follower.begin(Stream::Filling, now_ms);
        true
    }

    /// A frame goes to a mirror; gives its number.
    pub fn sent(&mut self, node: NodeId, what: Sent) -> u64 {
        let appended = self.appended;
        let Some(follower) = self.followers.get_mut(&node) else { return 0 };
        follower.number += 1;
        let position = match what {
            Sent::Reset => appended,
            Sent::Turn(position) => position,
            Sent::Fill => follower.sent.back().map_or(follower.acked, |(_, position)| *position),
        };
        follower.sent.push_back((follower.number, position));
        follower.number
    }

    /// A mirror was sent everything that it did not have.
    pub fn filled(&mut self, node: NodeId, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        let Some(follower) = self.followers.get_mut(&node) else { return };
        if follower.stream == Stream::Filling {
            follower.stream = Stream::Filled(follower.number);
            self.look(now_ms, effects);
        }
    }

    /// A mirror has everything up to a frame.
    pub fn acked(&mut self, node: NodeId, number: u64, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        let Some(follower) = self.followers.get_mut(&node) else { return };
        while follower.sent.front().is_some_and(|(sent, _)| *sent <= number)
            && let Some((_, position)) = follower.sent.pop_front()
        {
            follower.acked = follower.acked.max(position);
        }
        follower.moved_ms = now_ms;
        self.look(now_ms, effects);
    }

    /// A turn was appended; gives its position.
    pub fn appended(&mut self) -> u64 {
        self.appended += 1;
        self.appended
    }

    /// This node's disk has everything up to a position.
    pub fn own_durable(&mut self, position: u64, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        self.own_durable = self.own_durable.max(position);
        self.look(now_ms, effects);
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        self.look(now_ms, effects);
        self.propose(now_ms, effects);
    }

    /// Mirrors that get every turn.
    pub fn streams(&self) -> Vec<NodeId> {
        let is_open = |follower: &Follower| {
            matches!(follower.stream, Stream::Filling | Stream::Filled(_) | Stream::Level)
        };
        self.followers.iter().filter(|(_, follower)| is_open(follower)).map(|(node, _)| *node).collect()
    }

    /// Everything up to this position is committed.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether what was here when the epoch began is known to be committed.
    #[inline]
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether a node is one that commits wait for.
    pub fn is_awaited(&self, node: NodeId) -> bool {
        self.copies.in_sync.contains(&node) || self.joining.contains_key(&node)
    }

    /// Mirrors: what each is doing, and how many turns it does not have.
    pub fn mirrors(&self) -> impl Iterator<Item = (NodeId, &'static str, u64)> + '_ {
        self.followers.iter().map(|(node, follower)| {
            let state = match follower.stream {
                Stream::Down => "down",
                Stream::Opened => "connecting",
                Stream::Filling | Stream::Filled(_) => "syncing",
                Stream::Level if self.copies.in_sync.contains(node) => "in sync",
                Stream::Level => "joining",
            };
            (*node, state, self.appended.saturating_sub(follower.has()))
        })
    }

    /// Whom a commit waits for now, so far as that is somebody else.
    pub fn waits_for(&self) -> Vec<NodeId> {
        self.awaited().filter(|node| self.lags(*node)).collect()
    }

    fn awaited(&self) -> impl Iterator<Item = NodeId> + '_ {
        let in_sync = self.copies.in_sync.iter().filter(|node| **node != self.me);
        let all: BTreeSet<NodeId> = in_sync.chain(self.joining.keys()).copied().collect();
        all.into_iter()
    }

    fn lags(&self, node: NodeId) -> bool {
        let Some(follower) = self.followers.get(&node) else { return true };
        follower.stream != Stream::Level || follower.acked < self.appended
    }

    /// Who has become level, and what is committed by that.
    fn look(&mut self, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        let in_sync = &self.copies.in_sync;
        for (node, follower) in &mut self.followers {
            let unacked = follower.sent.front().map_or(u64::MAX, |(number, _)| *number);
            if let Stream::Filled(last) = follower.stream
                && last < unacked
            {
                follower.stream = Stream::Level;
                follower.moved_ms = now_ms;
                follower.proposed_ms = None;
                if !in_sync.contains(node) {
                    follower.proposed_ms = Some(now_ms);
                    self.joining.insert(*node, self.copies.version);
                    effects.push(HomeEffect::Propose(CopyStep::JoinSync(*node)));
                }
            }
        }
        let level = |node: NodeId| self.followers.get(&node).is_some_and(|f| f.stream == Stream::Level);
        let others = || self.copies.in_sync.iter().copied().filter(|node| *node != self.me);
        // The first turn says that the epoch begins: with it everything before is on this node's disk.
        if !self.established && self.own_durable > 0 && self.has_enough() && others().all(level) {
            self.established = true;
            effects.push(HomeEffect::Established);
        }
        self.commit(effects);
    }

    fn has_enough(&self) -> bool {
        self.copies.in_sync.len() as u64 >= u64::from(self.copies.min_in_sync)
    }

    fn commit(&mut self, effects: &mut Vec<HomeEffect>) {
        if !self.established || !self.has_enough() {
            return;
        }
        let has = |node: NodeId| self.followers.get(&node).map_or(0, Follower::has);
        let position = self.awaited().map(has).fold(self.own_durable, u64::min);
        if position > self.committed {
            self.committed = position;
            effects.push(HomeEffect::Committed(position));
        }
    }

    /// Steps for who is level and not in sync, and for who is in sync and does nothing, again after a while.
    fn propose(&mut self, now_ms: u64, effects: &mut Vec<HomeEffect>) {
        let over = |since: u64| now_ms.saturating_sub(since) >= MIRROR_STALL_MS;
        let spare = self.copies.in_sync.len() as u64 > u64::from(self.copies.min_in_sync.max(1));
        let waiting: Vec<NodeId> = self.waits_for();
        for (node, follower) in &mut self.followers {
            let in_sync = self.copies.in_sync.contains(node);
            let asked = follower.proposed_ms.is_some_and(|at| !over(at));
            let step = if asked {
                None
            } else if in_sync && spare && waiting.contains(node) && over(follower.moved_ms) {
                Some(CopyStep::LeaveSync(*node))
            } else if !in_sync && follower.stream == Stream::Level {
                self.joining.insert(*node, self.copies.version);
                Some(CopyStep::JoinSync(*node))
            } else if !in_sync && self.joining.contains_key(node) {
                // It may be in sync by now. Either this comes true or the row shows that it is.
                Some(CopyStep::DropMirror(*node))
            } else {
                None
            };
            if let Some(step) = step {
                follower.proposed_ms = Some(now_ms);
                effects.push(HomeEffect::Propose(step));
            }
        }
    }
}

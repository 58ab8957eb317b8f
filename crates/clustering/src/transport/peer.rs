//! What the mesh knows of one other node, and which of two links with it stays.
//!
//! Invariant: there is at most one control link for a peer, and at most one data link for each direction.
//! A process that was replaced by a newer one of the same node does not come back.

use super::control::ControlLink;
use super::data::DataLink;
use super::link::Link;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use types::NodeId;

/// Processes of a peer that are remembered as replaced.
const REPLACED_COUNT_MAX: usize = 16;

/// What becomes of a new control link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the first.
    Up,
    /// Both dialled at the same time, and it is the one that stays.
    Replace,
    /// It takes the place of one that the same process has given up.
    Redialled,
    /// It takes the place of one with an older process.
    Restarted,
    /// The one that is there stays.
    Keep,
    /// It is of a process that was replaced already: there are two with one id.
    SameId,
}

/// What decides about a control link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) boot: u64,
    pub(super) dialled: bool,
    /// It is up for a moment only.
    pub(super) is_fresh: bool,
}

/// What becomes of `new` next to `existing`; `is_lower`: this node's id is the lower one of the two.
pub(super) fn verdict(
    existing: Option<Candidate>,
    new: Candidate,
    is_lower: bool,
    replaced: &VecDeque<u64>,
) -> Verdict {
    if replaced.contains(&new.boot) {
        return Verdict::SameId;
    }
    let Some(existing) = existing else { return Verdict::Up };
    if existing.boot != new.boot {
        return Verdict::Restarted;
    }
    // Who dials again has seen its first link die. Otherwise the lower id's dial stays, on both sides.
    match (existing.dialled == new.dialled, new.dialled == is_lower) {
        (true, _) => Verdict::Redialled,
        (false, true) if existing.is_fresh => Verdict::Replace,
        (false, true) => Verdict::Redialled,
        (false, false) => Verdict::Keep,
    }
}

/// Another node of the cluster.
pub(super) struct Peer {
    pub(super) node: NodeId,
    state: Mutex<PeerState>,
    /// Moves with every change of the state.
    changed: watch::Sender<u64>,
    /// Held by who serves the data link of a direction, so that the next one begins after it.
    pub(super) data_turns: [Arc<tokio::sync::Mutex<()>>; 2],
    /// Which data threads serve it.
    pub(super) thread: usize,
}

/// What changes about a peer.
pub(super) struct PeerState {
    pub(super) addr: SocketAddr,
    /// The mesh is to keep no link with it any more.
    pub(super) forgotten: bool,
    pub(super) control: Option<Arc<ControlLink>>,
    /// The process last linked with.
    pub(super) boot: Option<u64>,
    pub(super) replaced: VecDeque<u64>,
    /// The data links: opened by the peer, opened by this node.
    pub(super) data: [Option<Arc<DataLink>>; 2],
    /// A data link that came before the control link.
    pub(super) early: Option<Link>,
}

impl Peer {
    pub(super) fn new(node: NodeId, addr: SocketAddr, thread: usize) -> Peer {
        let state = PeerState {
            addr,
            forgotten: false,
            control: None,
            boot: None,
            replaced: VecDeque::new(),
            data: [None, None],
            early: None,
        };
        Peer {
            node,
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            data_turns: Default::default(),
            thread,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, PeerState> {
        self.state.lock()
    }

    /// Tells those who watch that something is different.
    pub(super) fn note_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The control link, if it is up.
    pub(super) fn control(&self) -> Option<Arc<ControlLink>> {
        self.state().control.clone()
    }
}

impl PeerState {
    /// The process of the peer that is linked now.
    pub(super) fn linked_boot(&self) -> Option<u64> {
        self.control.as_ref().map(|link| link.peer.boot)
    }

    /// `boot` is the peer's process from now on.
    pub(super) fn note_boot(&mut self, boot: u64) {
        if let Some(old) = self.boot.replace(boot).filter(|old| *old != boot) {
            self.replaced.push_back(old);
            if self.replaced.len() > REPLACED_COUNT_MAX {
                self.replaced.pop_front();
            }
        }
    }

    /// Takes out what there is of data links, but for an early one of the process `boot`.
    pub(super) fn take_data(&mut self, boot: Option<u64>) -> Vec<Arc<DataLink>> {
        self.early.take_if(|early| Some(early.peer.boot) != boot);
        std::mem::take(&mut self.data).into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_keep_the_link_that_the_lower_id_dialled() {
        let none = VecDeque::new();
        // The link that the lower side dialled, and the other one, as each side sees them.
        let seen = |by_lower: bool, is_lower: bool| {
            let dialled = by_lower == is_lower;
            Candidate { boot: 5, dialled, is_fresh: true }
        };
        for is_lower in [true, false] {
            let (lowers, highers) = (seen(true, is_lower), seen(false, is_lower));
            assert_eq!(verdict(None, highers, is_lower, &none), Verdict::Up);
            assert_eq!(verdict(Some(highers), lowers, is_lower, &none), Verdict::Replace);
            assert_eq!(verdict(Some(lowers), highers, is_lower, &none), Verdict::Keep);
            assert_eq!(verdict(Some(highers), highers, is_lower, &none), Verdict::Redialled);
            assert_eq!(verdict(Some(lowers), lowers, is_lower, &none), Verdict::Redialled);
            let long_up = Candidate { is_fresh: false, ..highers };
            assert_eq!(verdict(Some(long_up), lowers, is_lower, &none), Verdict::Redialled);
        }
    }

    #[test]
    fn a_newer_process_replaces_an_older_one_and_never_the_other_way() {
        let mut state = Peer::new(NodeId(1), SocketAddr::from(([127, 0, 0, 1], 1)), 0);
        let state = state.state.get_mut();
        for boot in [5, 5, 6] {
            state.note_boot(boot);
        }
        let link = |boot| Candidate { boot, dialled: true, is_fresh: true };
        assert_eq!(verdict(Some(link(5)), link(6), false, &VecDeque::new()), Verdict::Restarted);
        assert_eq!(verdict(Some(link(6)), link(5), true, &state.replaced), Verdict::SameId);
        assert_eq!(verdict(None, link(5), true, &state.replaced), Verdict::SameId);
        assert_eq!(verdict(None, link(6), true, &state.replaced), Verdict::Up);
        for boot in 100..200 {
            state.note_boot(boot);
        }
        assert_eq!(state.replaced.len(), REPLACED_COUNT_MAX);
    }
}

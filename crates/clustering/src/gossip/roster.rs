//! Who is shown as up, suspected or down.
//!
//! The failure detector's word is shown at once, except "down": such a node is asked once more and shown as
//! suspected for a moment longer, because a node may be called down by somebody who has it from hearsay.
//!
//! Invariant: a node is in the roster only after it has been up.

use super::wire::Speaker;
use foca::State;
use std::collections::BTreeMap;
use std::time::Duration;
use types::limits::GOSSIP_MEMBER_COUNT_MAX;

/// What is thought of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It answers.
    Up,
    /// It has not answered lately, and may still say that it is there.
    Suspect,
    /// It did not, or it left.
    Down,
}

/// A node of the roster.
pub(crate) struct Entry {
    /// Who it is.
    pub speaker: Speaker,
    /// What is thought of it.
    pub state: Liveness,
    /// Since when.
    pub since: Duration,
    /// It was declared down and is asked once more; the number tells this time from others.
    doubt: Option<u64>,
}

/// What an observation brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Something that is shown changed.
    pub changed: bool,
    /// The node is there and was not, or is another process than before.
    pub met: bool,
    /// It came to be suspected.
    pub suspected: bool,
    /// It was declared down: to be asked once more and confirmed with this number.
    pub doubt: Option<u64>,
}

/// All nodes but this one.
#[derive(Default)]
pub(crate) struct Roster {
    entries: BTreeMap<u64, Entry>,
    doubts: u64,
}

impl Roster {
    /// Takes note of the failure detector's word on a node.
    pub fn observe(&mut self, speaker: &Speaker, state: State, now: Duration) -> Seen {
        let full = self.entries.len() >= GOSSIP_MEMBER_COUNT_MAX;
        let Some(entry) = self.entries.get_mut(&speaker.identity.id) else {
            if state == State::Down || full {
                return Seen::default();
            }
            let state = if state == State::Alive { Liveness::Up } else { Liveness::Suspect };
            let entry = Entry { speaker: speaker.clone(), state, since: now, doubt: None };
            self.entries.insert(speaker.identity.id, entry);
            return Seen { changed: true, met: true, ..Seen::default() };
        };
        let mut seen = Seen::default();
        if entry.speaker != *speaker {
            seen.changed = entry.speaker.identity != speaker.identity;
            seen.met = entry.speaker.identity.boot != speaker.identity.boot && state != State::Down;
            entry.speaker = speaker.clone();
            if seen.met {
                entry.since = now;
            }
        }
        let before = entry.state;
        entry.state = match state {
            State::Alive => Liveness::Up,
            State::Suspect => Liveness::Suspect,
            State::Down if before == Liveness::Down => Liveness::Down,
            State::Down => {
                if entry.doubt.is_none() {
                    self.doubts += 1;
                    entry.doubt = Some(self.doubts);
                    seen.doubt = entry.doubt;
                }
                Liveness::Suspect
            }
        };
        if state != State::Down {
            entry.doubt = None;
        }
        if entry.state != before {
            entry.since = now;
            seen.changed = true;
            seen.met |= before == Liveness::Down;
            seen.suspected = entry.state == Liveness::Suspect;
        }
        seen
    }

    /// A node that was asked once more has not answered.
    pub fn confirm_down(&mut self, node: u64, doubt: u64, now: Duration) -> bool {
        match self.entries.get_mut(&node) {
            Some(entry) if entry.doubt == Some(doubt) => {
                entry.doubt = None;
                entry.state = Liveness::Down;
                entry.since = now;
                true
            }
            _ => false,
        }
    }

    /// A node has gone on purpose.
    pub fn leave(&mut self, node: u64, now: Duration) -> bool {
        match self.entries.get_mut(&node) {
            Some(entry) if entry.state != Liveness::Down => {
                entry.doubt = None;
                entry.state = Liveness::Down;
                entry.since = now;
                true
            }
            _ => false,
        }
    }

    /// Drops a node.
    pub fn forget(&mut self, node: u64) -> bool {
        self.entries.remove(&node).is_some()
    }

    /// A node's entry.
    pub fn get(&self, node: u64) -> Option<&Entry> {
        self.entries.get(&node)
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Nodes that are down or about to be shown as down.
    pub fn silent(&self) -> impl Iterator<Item = &Entry> {
        self.iter().filter(|entry| entry.state == Liveness::Down || entry.doubt.is_some())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ClusterId, NodeIdentity, WIRE_VERSION};

    fn speaker(boot: u64, generation: u64) -> Speaker {
        let identity = NodeIdentity {
            id: 1,
            name: "rabbit@one".to_owned(),
            cluster: ClusterId(5),
            boot,
            wire: WIRE_VERSION,
            version: "0.1.0".to_owned(),
            addr: "127.0.0.1:25672".parse().unwrap(),
        };
        Speaker { identity, generation }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn shown(roster: &Roster) -> (Liveness, Duration) {
        roster.get(1).map(|entry| (entry.state, entry.since)).unwrap()
    }

    #[test]
    fn who_was_never_up_is_not_shown_as_down() {
        let mut roster = Roster::default();
        assert_eq!(roster.observe(&speaker(7, 100), State::Down, at(1)), Seen::default());
        assert!(roster.get(1).is_none());
        let seen = roster.observe(&speaker(7, 100), State::Alive, at(2));
        assert_eq!(seen, Seen { changed: true, met: true, ..Seen::default() });
        assert_eq!(roster.observe(&speaker(7, 100), State::Alive, at(3)), Seen::default());
        assert_eq!(shown(&roster), (Liveness::Up, at(2)));
    }

    #[test]
    fn down_is_shown_after_one_more_question() {
        let mut roster = Roster::default();
        roster.observe(&speaker(7, 100), State::Alive, at(1));
        let seen = roster.observe(&speaker(7, 100), State::Down, at(2));
        assert_eq!(seen, Seen { changed: true, suspected: true, doubt: Some(1), ..Seen::default() });
        assert_eq!(shown(&roster), (Liveness::Suspect, at(2)));
        assert_eq!(roster.observe(&speaker(7, 100), State::Down, at(3)), Seen::default());
        assert_eq!(roster.silent().count(), 1);

        // It answers, with a new generation, and is doubted again: the first question counts no more.
        let seen = roster.observe(&speaker(7, 101), State::Alive, at(4));
        assert_eq!(seen, Seen { changed: true, ..Seen::default() });
        assert_eq!(roster.observe(&speaker(7, 101), State::Down, at(5)).doubt, Some(2));
        assert!(!roster.confirm_down(1, 1, at(6)));
        assert_eq!(shown(&roster), (Liveness::Suspect, at(5)));
        assert!(roster.confirm_down(1, 2, at(7)));
        assert_eq!(shown(&roster), (Liveness::Down, at(7)));
        assert!(!roster.confirm_down(1, 2, at(8)) && !roster.leave(1, at(8)));

        let seen = roster.observe(&speaker(7, 102), State::Alive, at(9));
        assert_eq!(seen, Seen { changed: true, met: true, ..Seen::default() });
    }

    #[test]
    fn another_process_is_somebody_new_and_a_new_generation_is_not() {
        let mut roster = Roster::default();
        roster.observe(&speaker(7, 100), State::Alive, at(1));
        assert_eq!(roster.observe(&speaker(7, 101), State::Alive, at(2)), Seen::default());
        assert_eq!(shown(&roster), (Liveness::Up, at(1)));
        let seen = roster.observe(&speaker(8, 200), State::Alive, at(3));
        assert_eq!(seen, Seen { changed: true, met: true, ..Seen::default() });
        assert_eq!(shown(&roster), (Liveness::Up, at(3)));
        assert!(roster.leave(1, at(4)));
        assert_eq!(shown(&roster), (Liveness::Down, at(4)));
        assert!(roster.forget(1) && !roster.forget(1));
    }

    #[test]
    fn no_more_than_a_number_of_nodes_is_kept() {
        let mut roster = Roster::default();
        for id in 1..=GOSSIP_MEMBER_COUNT_MAX as u64 + 5 {
            let mut speaker = speaker(7, 100);
            speaker.identity.id = id;
            roster.observe(&speaker, State::Alive, at(1));
        }
        assert_eq!(roster.iter().count(), GOSSIP_MEMBER_COUNT_MAX);
    }
}

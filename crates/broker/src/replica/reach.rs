//! What the home knows of one mirror: its link, the stream to it, and how far it is for certain.
//!
//! Invariant: numbers ascend by one as long as the epoch lasts, over all Opens and streams; what is acknowledged or
//! told under the number of an earlier stream says nothing of the present one. `has` is a position up to which the mirror lacks
//! nothing; it never goes back.

use super::effect::Sent;
use std::collections::VecDeque;
use types::limits::MIRROR_UNACKED_COUNT_MAX;

/// One mirror, as the home sees it.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The link that is there, by its number.
    pub link: Option<u64>,
    /// Where the stream is.
    pub phase: Phase,
    /// The number of the last frame.
    pub number: u64,
    /// The mirror has everything up to this position; None: it was not level in this epoch yet.
    pub has: Option<u64>,
    /// Since when it is waited for without progress.
    pub waited_since: Option<u64>,
}

/// Where a stream is.
#[derive(Debug)]
pub(super) enum Phase {
    /// None; since when, as far as it was noticed.
    Closed(Option<u64>),
    /// The mirror was asked for its state.
    Opened {
        /// The number of the first Open since the last stream: an answer to an earlier one is of before that stream.
        first: u64,
        /// Since when, as far as it was noticed.
        since: Option<u64>,
    },
    /// It has told it.
    Stated,
    /// It gets every turn.
    Running(Run),
}

impl Default for Phase {
    fn default() -> Phase {
        Phase::Closed(None)
    }
}

/// A stream that goes on.
#[derive(Debug)]
pub(super) struct Run {
    /// Numbers with the positions that they carry, for what is not acknowledged.
    turns: VecDeque<(u64, u64)>,
    /// The position at which it began.
    began: u64,
    /// The largest position of what is acknowledged.
    reached: u64,
    /// The last number that is acknowledged.
    acked: u64,
    /// Once this number is acknowledged the mirror is level.
    level_at: Option<u64>,
}

impl Run {
    fn is_level(&self) -> bool {
        self.level_at.is_some_and(|at| at <= self.acked)
    }
}

impl Reach {
    /// The mirror is asked for its state, perhaps once more; the number of that.
    pub fn open(&mut self) -> u64 {
        self.number += 1;
        let first = match self.phase {
            Phase::Opened { first, .. } => first,
            _ => self.number,
        };
        self.phase = Phase::Opened { first, since: None };
        self.number
    }

    /// Whether a state can be the answer that is waited for.
    pub fn is_awaited(&self, number: u64) -> bool {
        matches!(self.phase, Phase::Opened { first, .. } if (first..=self.number).contains(&number))
    }

    /// A frame goes out, in a queue that has this many turns: its number, if there is a stream for it.
    pub fn sent(&mut self, sent: Sent, position: u64) -> Option<u64> {
        let number = self.number + 1;
        match (sent, &mut self.phase) {
            (Sent::Reset, phase @ Phase::Stated) => {
                let turns = VecDeque::new();
                *phase = Phase::Running(Run {
                    turns,
                    began: position,
                    reached: position,
                    acked: self.number,
                    level_at: None,
                });
            }
            // Turns that are repeated after Reset count for nothing by themselves: who is level has them.
            (Sent::Turn(at), Phase::Running(run)) if at > run.began => run.turns.push_back((number, at)),
            (Sent::Turn(_) | Sent::Fill, Phase::Running(_)) => {}
            _ => return None,
        }
        self.number = number;
        Some(number)
    }

    /// Whether no more turns may go out before some are acknowledged.
    pub fn is_full(&self) -> bool {
        matches!(&self.phase, Phase::Running(run) if run.turns.len() >= MIRROR_UNACKED_COUNT_MAX)
    }

    /// All that the mirror lacked was sent.
    pub fn filled(&mut self) {
        let number = self.number;
        if let Phase::Running(run) = &mut self.phase {
            run.level_at.get_or_insert(number);
        }
        self.note();
    }

    /// Everything up to a number is on the mirror's disk, or held; whether that is new.
    pub fn acked(&mut self, number: u64) -> bool {
        let last = self.number;
        let Phase::Running(run) = &mut self.phase else { return false };
        if number <= run.acked || number > last {
            return false;
        }
        run.acked = number;
        while let Some((_, position)) = run.turns.pop_front_if(|turn| turn.0 <= number) {
            run.reached = run.reached.max(position);
        }
        self.note();
        true
    }

    fn note(&mut self) {
        if let Phase::Running(run) = &self.phase
            && run.is_level()
        {
            self.has = self.has.max(Some(run.reached));
        }
    }

    /// It gets every turn.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running(_))
    }

    /// It is level in the stream that goes on.
    pub fn is_level(&self) -> bool {
        matches!(&self.phase, Phase::Running(run) if run.is_level())
    }
}

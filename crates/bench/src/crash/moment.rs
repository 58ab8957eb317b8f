//! Judges one delivery: may this copy come now, and does it carry the right flags?
//!
//! Invariant: nothing is changed but the copy's counters of this life and the counts of the run.

use std::collections::HashSet;

use super::checker::Queue;
use super::history::{Delivered, SessionId};
use super::message::{Copy, Gone, Place, Step};
use super::report::{Counts, Rule};
use crate::broker_process::Ending;

/// A delivery and what is known at its moment.
pub struct Moment<'a> {
    pub life: u32,
    pub endings: &'a [Ending],
    pub queue: &'a Queue,
    pub closed: &'a HashSet<SessionId>,
    pub sent_in: u32,
    pub delivered: Delivered,
}

impl Moment<'_> {
    pub fn check_place(&self, copy: &Copy, broken: &mut Vec<Rule>, counts: &mut Counts) {
        match copy.place_in(self.life, self.closed) {
            Place::Ready => {}
            Place::Out(..) | Place::AckedInTx(..) => broken.push(Rule::Duplicated),
            Place::Acked(life, _) if life == self.life => broken.push(Rule::Duplicated),
            Place::Acked(life, step) => {
                let ending = self.endings.get(life as usize - 1);
                let was_flushed = step != Step::Sent && ending == Some(&Ending::Stopped);
                if step == Step::Committed || self.queue.drained_in > life || was_flushed {
                    broken.push(Rule::Resurrected);
                } else {
                    counts.back_after_kill += 1;
                    counts.back_later += u64::from(self.life - life > 1);
                }
            }
        }
        match copy.gone {
            Some(Gone::Purged(life)) if life < self.life => {
                // A purge leaves what consumers hold, and they may hold what they have not read yet.
                if self.queue.rules.is_deleted {
                    broken.push(Rule::Resurrected);
                } else {
                    counts.purged_back += 1;
                }
            }
            _ => {}
        }
    }

    pub fn check_flags(&self, copy: &mut Copy, broken: &mut Vec<Rule>, counts: &mut Counts) {
        let had_deliveries = copy.deliveries > 0;
        let in_life = copy.in_life(self.life);
        let Delivered { redelivered, returns, .. } = self.delivered;
        let was_never_out = !had_deliveries && !self.queue.had_returns && self.sent_in == self.life;
        let is_wrong = if redelivered { was_never_out } else { in_life.deliveries > 0 };
        let is_count_wrong = self.queue.rules.is_quorum && returns.unwrap_or(0) < in_life.returns;
        if is_wrong || is_count_wrong {
            broken.push(Rule::Redelivered);
        } else if !redelivered && had_deliveries {
            counts.unmarked += 1;
        }
    }
}

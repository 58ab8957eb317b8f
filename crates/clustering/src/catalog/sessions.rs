//! What proposals came to, for those that are made again.
//!
//! Invariant: part of the replicated state, so each node keeps and forgets the same. A proposal that is
//! forgotten is never applied a second time: all below a session's floor are refused.

use super::proposal::{Answer, Group};
use broker::catalog::{Command, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::AmqpError;
use types::limits::{CATALOG_OUTCOMES_MAX, CATALOG_SESSIONS_MAX};

/// The sessions of all processes that proposed something of late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sessions {
    sessions: BTreeMap<u64, Session>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// Lower numbers are over.
    floor: u64,
    answers: BTreeMap<u64, Answer>,
    /// Index of the last entry that had something of this session.
    used_at: u64,
}

/// What is told of each proposal while a group is applied: its number, and what it came to now; None when
/// that was known before.
pub(crate) type Told<'a> = &'a mut dyn FnMut(u64, Option<Result<Outcome, AmqpError>>);

impl Sessions {
    /// Applies the proposals of a group that were not applied before; appends their answers.
    ///
    /// # Errors
    /// A command is of no form that this node knows: it cannot follow the others any more.
    pub(crate) fn apply(
        &mut self,
        group: &Group<'_>,
        index: u64,
        answers: &mut Vec<Answer>,
        apply: &mut dyn FnMut(Command) -> Result<Outcome, AmqpError>,
        told: Told<'_>,
    ) -> Result<(), String> {
        let session = self.sessions.entry(group.session).or_default();
        session.used_at = index;
        for (number, command) in &group.proposals {
            if let Some(answer) = session.known(*number) {
                answers.push(answer);
                told(*number, None);
                continue;
            }
            let command = Command::decode(command)
                .map_err(|error| format!("a change of the catalog is not understood: {error}"))?;
            let outcome = apply(command);
            let answer = Answer::of(&outcome);
            session.answers.insert(*number, answer.clone());
            answers.push(answer);
            told(*number, Some(outcome));
        }
        session.forget_below(group.done_below);
        self.forget_sessions();
        Ok(())
    }

    fn forget_sessions(&mut self) {
        while self.sessions.len() > CATALOG_SESSIONS_MAX {
            let oldest = self.sessions.iter().min_by_key(|(id, session)| (session.used_at, **id));
            let Some(id) = oldest.map(|(id, _)| *id) else { return };
            self.sessions.remove(&id);
        }
    }
}

impl Session {
    fn known(&self, number: u64) -> Option<Answer> {
        if number < self.floor { Some(Answer::Forgotten) } else { self.answers.get(&number).cloned() }
    }

    fn forget_below(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        if self.answers.first_key_value().is_some_and(|(number, _)| *number < self.floor) {
            self.answers = self.answers.split_off(&self.floor);
        }
        while self.answers.len() > CATALOG_OUTCOMES_MAX
            && let Some((number, _)) = self.answers.pop_first()
        {
            self.floor = self.floor.max(number + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Applied {
        sessions: Sessions,
        count: u64,
        index: u64,
    }

    impl Applied {
        fn new() -> Applied {
            Applied { sessions: Sessions::default(), count: 0, index: 0 }
        }

        fn propose(&mut self, session: u64, done_below: u64, numbers: &[u64]) -> Vec<Answer> {
            let mut restart = Vec::new();
            Command::Restart.encode(&mut restart);
            let proposals = numbers.iter().map(|number| (*number, &restart[..])).collect();
            let group = Group { session, done_below, proposals };
            let mut answers = Vec::new();
            let count = &mut self.count;
            let mut apply = |_| {
                *count += 1;
                Ok(Outcome::Exchange { created: *count % 2 == 1 })
            };
            self.index += 1;
            self.sessions.apply(&group, self.index, &mut answers, &mut apply, &mut |_, _| {}).unwrap();
            answers
        }
    }

    #[test]
    fn a_repeat_answers_with_the_first_outcome() {
        let mut applied = Applied::new();
        let first = applied.propose(1, 0, &[1, 2]);
        assert_eq!(applied.propose(1, 0, &[1, 2]), first);
        assert_eq!(applied.count, 2);
        assert_eq!(applied.propose(2, 0, &[1]), [Answer::Exchange { created: true }]);
        // Number 1 is over; 2 is still asked for.
        applied.propose(1, 2, &[3]);
        assert_eq!(applied.propose(1, 0, &[1, 2]), [Answer::Forgotten, first[1].clone()]);
        assert_eq!(applied.count, 4);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_forgotten_stays_refused() {
        let mut applied = Applied::new();
        let many: Vec<u64> = (0..CATALOG_OUTCOMES_MAX as u64 + 10).collect();
        applied.propose(1, 0, &many);
        let count = applied.count;
        assert_eq!(applied.propose(1, 0, &[9]), [Answer::Forgotten]);
        assert_ne!(applied.propose(1, 0, &[10]), [Answer::Forgotten]);
        assert_eq!(applied.count, count);
        for session in 2..CATALOG_SESSIONS_MAX as u64 + 20 {
            applied.propose(session, 0, &[1]);
        }
        assert_eq!(applied.sessions.sessions.len(), CATALOG_SESSIONS_MAX);
        assert!(!applied.sessions.sessions.contains_key(&1), "the one that was used longest ago goes");
    }
}

//! Changes of the catalog on their way to the leader, until there is an outcome or the node gives up.
//!
//! Invariant: a change is sent again until it is answered, and applied once. Who gives up does not know what it
//! comes to: it may be applied later, or never.

use crate::register::Answer;
use crate::schedule::Promise;
use crate::world::Node;
use broker::catalog::{Command, Outcome};
use std::time::Duration;
use types::NodeId;
use types::limits::CATALOG_NO_MAJORITY_MS;

/// How long an answer of the leader is waited for.
const PARCEL_MS: u64 = 4_000;
/// A change that was not answered for so long is given up.
const GIVEN_UP: Duration = Duration::from_millis(3 * CATALOG_NO_MAJORITY_MS);
/// Changes of a thousand that are held up on their way.
const HELD_UP: u32 = 20;
/// How long at most, milliseconds.
const HELD_UP_MS: u64 = 6_000;

impl Node {
    /// Proposes a change and comes back when this node has applied it. The outer None: the process has ended.
    pub async fn propose(&self, command: Command) -> Option<Result<Outcome, String>> {
        let (world, began) = (self.world.clone(), self.world.now());
        let number = world.number();
        let given_up = || Some(Err("most nodes of the cluster do not answer".to_owned()));
        let (at, outcome) = loop {
            let waited = world.now().saturating_sub(began);
            let (leader, heard) = self.with(|process, _| (process.leader, process.heard_at))?;
            let no_majority = Duration::from_millis(CATALOG_NO_MAJORITY_MS);
            if waited > GIVEN_UP || world.now().saturating_sub(heard.max(began)) > no_majority {
                return given_up();
            }
            if let Some(leader) = leader
                && let Some(Some(answer)) = self.send(leader, number, command.clone()).await
            {
                break answer;
            }
            self.sleep(20, 40).await;
        };
        // The outcome is told once it can be seen here.
        while self.with(|process, _| process.applied.is_none_or(|applied| applied < at))? {
            if world.now().saturating_sub(began) > 2 * GIVEN_UP {
                return given_up();
            }
            self.sleep(2, 10).await;
        }
        Some(outcome)
    }

    /// Sends it to the leader. None: no answer came; the inner None: the leader did not take it.
    async fn send(&self, leader: NodeId, number: u64, command: Command) -> Option<Option<Answer>> {
        let cluster = self.with(|_, disk| disk.cluster)??.0;
        let promise = Promise::default();
        let (world, from, answer) = (self.world.clone(), self.place, promise.clone());
        let limit = world.schedule.sleep(Duration::from_millis(PARCEL_MS));
        self.world.schedule.after(world.delay(), move || {
            let leads = world.registers.borrow().get(&cluster).is_some_and(|it| it.leader == Some(leader));
            let Some(at) = world.awake(leader).filter(|at| leads && world.is_linked(from, *at)) else {
                return answer.keep(None);
            };
            let held_up = world.dice.permille(HELD_UP);
            let pause = if held_up { world.dice.ms(1, HELD_UP_MS) } else { world.dice.ms(1, 10) };
            let inner = world.clone();
            world.schedule.after(pause, move || {
                let Some(done) = inner.commit(cluster, leader, number, command) else { return };
                let back = inner.clone();
                inner.schedule.after(inner.delay(), move || {
                    if back.is_linked(at, from) {
                        answer.keep(Some(done));
                    }
                });
            });
        });
        promise.within(limit).await
    }
}

//! A cluster's catalog as everybody agrees on it: one list of changes, applied in one order.
//!
//! Agreement itself is not played: there is one leader at a time, among those who vote, with a majority that it
//! reaches; what it takes is applied, perhaps much later, and once. Its answer may be lost.
//!
//! Invariant: nothing is applied while no leader has a majority.

use crate::bug::Bug;
use crate::invariants::Seen;
use crate::machine::Place;
use crate::world::World;
use broker::catalog::{Catalog, Command, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use types::NodeId;
use types::limits::{CATALOG_ELECTION_MAX_MS, CATALOG_ELECTION_MIN_MS, CATALOG_VOTERS_MAX, LEASE_MS};

/// How often it is looked who can lead, milliseconds.
const LOOK_MS: u64 = 50;
/// Who has not heard of a leader for so long knows of none.
const LEADERLESS: Duration = Duration::from_millis(1_000);

/// What a change came to: how many changes there were then, and the outcome.
pub type Answer = (usize, Result<Outcome, String>);

/// One cluster's agreed catalog.
pub struct Register {
    /// The cluster.
    pub cluster: u128,
    /// All changes since it began.
    pub log: Vec<Command>,
    /// What they made of it.
    pub catalog: Catalog,
    /// Nodes that get the changes.
    pub added: BTreeSet<NodeId>,
    /// Those of them that have had all of them once.
    pub ready: BTreeSet<NodeId>,
    /// Those that vote.
    pub voters: BTreeSet<NodeId>,
    /// Who leads.
    pub leader: Option<NodeId>,
    elects_at: Option<Duration>,
    answers: BTreeMap<u64, Answer>,
}

impl Register {
    /// A cluster of one node.
    pub fn new(cluster: u128, base: Catalog, founder: NodeId) -> Register {
        let only = BTreeSet::from([founder]);
        Register {
            cluster,
            catalog: base,
            log: Vec::new(),
            added: only.clone(),
            ready: only.clone(),
            voters: only,
            leader: None,
            elects_at: None,
            answers: BTreeMap::new(),
        }
    }

    /// As in the product: up to seven vote, an odd number of them.
    fn choose_voters(&mut self) {
        self.voters.retain(|node| self.added.contains(node));
        let available = self.voters.union(&self.ready).count().min(CATALOG_VOTERS_MAX);
        let count = if available.is_multiple_of(2) { available.saturating_sub(1) } else { available };
        for node in &self.ready {
            if self.voters.len() < count {
                self.voters.insert(*node);
            }
        }
        while self.voters.len() > count {
            let last = self.voters.iter().rev().find(|node| Some(**node) != self.leader).copied();
            let Some(last) = last else { return };
            self.voters.remove(&last);
        }
    }
}

/// Looks who leads for as long as the play goes.
pub async fn keep_leaders(world: Rc<World>) {
    loop {
        world.schedule.sleep(Duration::from_millis(LOOK_MS)).await;
        let clusters: Vec<u128> = world.registers.borrow().keys().copied().collect();
        for cluster in clusters {
            world.look_who_leads(cluster);
            world.tell_who_leads(cluster);
        }
    }
}

impl World {
    /// The machine on which a member of a cluster is awake.
    fn member_at(&self, cluster: u128, node: NodeId) -> Option<Place> {
        let place = self.awake(node)?;
        let of = self.machine(place, |machine| machine.disk.cluster)??;
        (of.0 == cluster).then_some(place)
    }

    fn has_majority(&self, register: &Register, node: NodeId) -> bool {
        let Some(place) = self.member_at(register.cluster, node) else { return false };
        let reached = |voter: &&NodeId| {
            self.member_at(register.cluster, **voter).is_some_and(|other| self.is_linked(place, other))
        };
        2 * register.voters.iter().filter(reached).count() > register.voters.len()
    }

    fn look_who_leads(&self, cluster: u128) {
        let mut registers = self.registers.borrow_mut();
        let Some(register) = registers.get_mut(&cluster) else { return };
        if register
            .leader
            .is_some_and(|leader| register.voters.contains(&leader) && self.has_majority(register, leader))
        {
            register.ready.retain(|node| register.added.contains(node));
            register.choose_voters();
            return;
        }
        let now = self.now();
        register.leader = None;
        let pause = self.dice.ms(CATALOG_ELECTION_MIN_MS, 2 * CATALOG_ELECTION_MAX_MS);
        if *register.elects_at.get_or_insert(now + pause) > now {
            return;
        }
        register.elects_at = None;
        let able: Vec<NodeId> =
            register.voters.iter().copied().filter(|node| self.has_majority(register, *node)).collect();
        register.leader = self.dice.one(&able).copied();
        self.say(|| format!("cluster {cluster}: leader {:?} of {:?}", register.leader, register.voters));
    }

    fn tell_who_leads(&self, cluster: u128) {
        let (leader, added, length) = {
            let registers = self.registers.borrow();
            let Some(register) = registers.get(&cluster) else { return };
            (register.leader, register.added.clone(), register.log.len())
        };
        let at = leader.and_then(|leader| self.member_at(cluster, leader));
        let now = self.now();
        let mut ready = Vec::new();
        for place in self.places() {
            let hears = at.is_some_and(|at| self.is_linked(at, place));
            self.machine(place, |machine| {
                let of_cluster = machine.disk.cluster.is_some_and(|of| of.0 == cluster);
                let Some(process) = machine.process.as_mut().filter(|p| of_cluster && !p.is_paused) else {
                    return;
                };
                if hears && added.contains(&machine.disk.node) {
                    process.leader = leader;
                    process.heard_at = now;
                    process.has_caught_up |= process.applied == Some(length);
                    if process.has_caught_up {
                        ready.push(machine.disk.node);
                    }
                    if process.applied == Some(length) {
                        process.lease_until = now + Duration::from_millis(LEASE_MS);
                    }
                } else if now.saturating_sub(process.heard_at) > LEADERLESS {
                    process.leader = None;
                }
            });
        }
        if let Some(register) = self.registers.borrow_mut().get_mut(&cluster) {
            register.ready.extend(ready);
        }
    }

    /// The leader has taken a change: it is applied, unless the leader is another one by then and nobody else
    /// has it. None when it is lost.
    pub fn commit(&self, cluster: u128, taken_by: NodeId, number: u64, command: Command) -> Option<Answer> {
        let mut registers = self.registers.borrow_mut();
        let register = registers.get_mut(&cluster)?;
        if let Some(answer) = register.answers.get(&number) {
            return Some(answer.clone());
        }
        let leader = register.leader?;
        if leader != taken_by && self.dice.permille(500) {
            return None;
        }
        let before = register.catalog.clone();
        let mut events = Vec::new();
        let outcome = self.apply(&mut register.catalog, command.clone(), &mut events);
        if outcome.as_ref().is_ok_and(Outcome::changed) {
            register.log.push(command.clone());
            self.say(|| format!("cluster {cluster}: {}: {command:?}", register.log.len()));
        }
        let answer = (register.log.len(), outcome);
        register.answers.insert(number, answer.clone());
        let after = register.catalog.clone();
        drop(registers);
        self.show(&Seen::Changed { command: &command, before: &before, after: &after, events: &events });
        Some(answer)
    }

    /// Applies a change as every node does, with the bug that is to be found.
    pub fn apply(
        &self,
        catalog: &mut Catalog,
        mut command: Command,
        events: &mut Vec<broker::catalog::Event>,
    ) -> Result<Outcome, String> {
        match &mut command {
            Command::NodeLost { id, boot } if self.has(Bug::LossOfAnyBoot) => {
                *boot = catalog.nodes.get(id).map_or(*boot, |node| node.boot);
            }
            Command::PutNode { node } if self.has(Bug::NewStartKeepsPassingQueues) => {
                if let Some(known) = catalog.nodes.get(&node.id) {
                    let known = broker::catalog::Node { boot: node.boot, up: false, ..(**known).clone() };
                    catalog.nodes.insert(node.id, known.into());
                }
            }
            _ => {}
        }
        catalog.apply(command, events).map_err(|error| error.explanation)
    }
}

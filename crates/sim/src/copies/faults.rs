//! What goes wrong during a play, chosen from its seed.
//!
//! Invariant: a disk is taken away only when the catalog knows that its node is lost, and each queue has another copy
//! in sync.

use super::bug::Bug;
use super::event::Event;
use super::machine::{Disk, Place};
use super::register;
use super::world::{Net, World};
use types::{NodeId, QueueId};

/// The kinds of faults, and how often each is chosen.
const KINDS: [(Kind, usize); 14] = [
    (Kind::Crash, 8),
    (Kind::Start, 16),
    (Kind::Pause, 5),
    (Kind::Resume, 6),
    (Kind::Cut, 7),
    (Kind::Heal, 8),
    (Kind::Wipe, 5),
    (Kind::Weather, 3),
    (Kind::SlowDisk, 3),
    (Kind::PowerCut, 1),
    (Kind::Consumers, 4),
    (Kind::Policy, 5),
    (Kind::Restart, 4),
    (Kind::Alone, 4),
];

#[derive(Clone, Copy)]
enum Kind {
    Crash,
    Start,
    Pause,
    Resume,
    Cut,
    Heal,
    Wipe,
    Weather,
    SlowDisk,
    PowerCut,
    Consumers,
    Policy,
    Restart,
    Alone,
}

impl World {
    /// Something goes wrong, or is put right, and will again.
    pub fn fault(&mut self) {
        if !self.is_troubled {
            return;
        }
        let most = if self.dice.permille(300) { 100 } else { 1_200 };
        let pause = self.pause(5, most);
        self.agenda.after(pause, Event::Fault);
        let total = KINDS.iter().map(|(_, share)| share).sum();
        let mut left = self.dice.below(total);
        let place = self.dice.below(self.machines.len());
        for (kind, share) in KINDS {
            if left < share {
                return self.commit_fault(kind, place);
            }
            left -= share;
        }
    }

    fn commit_fault(&mut self, kind: Kind, place: Place) {
        match kind {
            Kind::Crash => self.crash(place, "it is killed"),
            Kind::Start => self.start_some(place),
            Kind::Pause => self.stand_still(place),
            Kind::Resume => self.resume(place, None),
            Kind::Cut => self.cut(place),
            Kind::Heal => {
                self.say(|| "the network heals".to_owned());
                self.net.cut.clear();
            }
            Kind::Wipe => self.wipe_some(),
            Kind::Weather => {
                self.net.slow_ms = [0, 40, self.habits.slow_ms].get(self.dice.below(3)).copied().unwrap_or(0);
            }
            Kind::SlowDisk => {
                let slow_ms = [0, 30, 2_000].get(self.dice.below(3)).copied().unwrap_or(0);
                if let Some(machine) = self.machines.get_mut(place) {
                    machine.disk.slow_ms = slow_ms;
                }
            }
            Kind::PowerCut => self.places().for_each(|place| self.crash(place, "the power is cut")),
            Kind::Consumers => self.clients.are_consuming = !self.clients.are_consuming,
            Kind::Policy => self.change_policy(place),
            Kind::Restart => {
                self.crash(place, "it starts again");
                self.start(place);
            }
            Kind::Alone => self.leave_alone(),
        }
    }

    /// A queue's home is cut off for long enough that another one is given.
    fn leave_alone(&mut self) {
        let picture = self.register.latest();
        let homes: Vec<NodeId> = picture.queues.values().map(|row| row.home).collect();
        let Some(place) = self.dice.one(&homes).and_then(|home| self.place_of(*home)) else { return };
        self.say(|| format!("{place}: is cut off for a while"));
        let all = self.places().flat_map(|from| self.places().map(move |to| (from, to)));
        self.net.cut = all.filter(|(from, to)| (*from == place) != (*to == place)).collect();
        let pause = self.pause(2_000, 5_000);
        self.agenda.after(pause, Event::Reunion(place));
    }

    /// The network heals, just when other nodes start again.
    pub fn reunite(&mut self, place: Place) {
        if !self.is_troubled {
            return;
        }
        self.say(|| "the network heals".to_owned());
        self.net.cut.clear();
        for other in self.places().filter(|other| *other != place) {
            if self.dice.permille(500) {
                self.crash(other, "it starts again");
                self.start(other);
            }
        }
    }

    /// The policy asks for another number of copies, and often soon for the old one.
    fn change_policy(&mut self, place: Place) {
        let picture = self.register.latest();
        let queues: Vec<QueueId> = picture.queues.keys().copied().collect();
        let Some(queue) = self.dice.one(&queues).copied() else { return };
        let Some(row) = picture.queues.get(&queue) else { return };
        let old = row.wanted.0.len();
        let count = 1 + (old + self.dice.below(2)) % 3;
        let promotes_any = self.has(Bug::UnsyncedPromoted);
        let policy = |count| register::policy(row.name.as_str(), count, promotes_any);
        self.propose(place, policy(count));
        if self.dice.permille(700) {
            let pause = self.pause(300, 3_000);
            self.proposed += 1;
            self.agenda.after(pause, Event::Proposed(Box::new(policy(old.max(2)))));
        }
    }

    /// Starts the next machine that does not run.
    fn start_some(&mut self, place: Place) {
        let count = self.machines.len();
        let down = (0..count)
            .map(|step| (place + step) % count)
            .find(|place| self.machines.get(*place).is_some_and(|machine| machine.process.is_none()));
        if let Some(place) = down {
            self.start(place);
        }
    }

    /// A process ends.
    pub fn crash(&mut self, place: Place, why: &str) {
        if self.machines.get(place).is_some_and(|machine| machine.process.is_some()) {
            self.say(|| format!("{place}: ends: {why}"));
            self.tear(place);
            if let Some(machine) = self.machines.get_mut(place) {
                machine.process = None;
            }
        }
    }

    fn stand_still(&mut self, place: Place) {
        let most = if self.dice.permille(500) { 500 } else { 5_000 };
        let pause = self.pause(50, most);
        let Some(process) = self.machines.get_mut(place).and_then(|it| it.process.as_mut()) else { return };
        if !std::mem::replace(&mut process.is_paused, true) {
            let boot = process.boot;
            self.say(|| format!("{place}: stands still"));
            self.agenda.after(pause, Event::Resume(place, boot));
        }
    }

    /// A process goes on.
    pub fn resume(&mut self, place: Place, boot: Option<u64>) {
        let Some(process) = self.machines.get_mut(place).and_then(|it| it.process.as_mut()) else { return };
        if boot.is_some_and(|boot| boot != process.boot) || !std::mem::replace(&mut process.is_paused, false)
        {
            return;
        }
        let held = std::mem::take(&mut process.held);
        self.say(|| format!("{place}: goes on"));
        held.into_iter().for_each(|event| self.agenda.after(0, event));
    }

    /// Cuts one node off, or some from the others, or one direction between two.
    fn cut(&mut self, place: Place) {
        let one_way = self.dice.permille(250);
        let other = self.dice.below(self.machines.len());
        let group: Vec<bool> = self.places().map(|_| self.dice.permille(500)).collect();
        let alone = self.dice.permille(500);
        let parts = |from: Place, to: Place| match one_way {
            true => from == place && to == other,
            false if alone => (from == place) != (to == place),
            false => group.get(from) != group.get(to),
        };
        let all = self.places().flat_map(|from| self.places().map(move |to| (from, to)));
        self.net.cut = all.filter(|(from, to)| from != to && parts(*from, *to)).collect();
        let cut = self.net.cut.clone();
        self.say(|| format!("cut: {cut:?}"));
    }

    /// A machine that is lost for the catalog too is replaced by one with an empty disk.
    fn wipe_some(&mut self) {
        let picture = self.register.latest();
        let has_disk = |node: &NodeId| self.place_of(*node).is_some();
        let can_go = |place: &Place| {
            let node = self.node_at(*place);
            let has_others = |in_sync: &[NodeId]| in_sync.iter().any(|it| *it != node && has_disk(it));
            let mut queues = picture.queues.values();
            self.machines.get(*place).is_some_and(|machine| machine.process.is_none())
                && !picture.is_up(node)
                && queues.all(|row| has_others(&row.copies.in_sync))
        };
        let Some(place) = self.places().find(can_go).filter(|_| self.proposed == 0) else { return };
        let node = NodeId(1_000 + self.number());
        self.say(|| format!("{place}: its disk is lost; it is node {node} now"));
        if let Some(machine) = self.machines.get_mut(place) {
            (machine.node, machine.disk) = (node, Disk::default());
        }
        self.start(place);
    }

    /// All faults end: everything runs, everything is linked.
    pub fn heal_all(&mut self) {
        self.say(|| "all faults end".to_owned());
        self.is_troubled = false;
        self.net = Net::default();
        self.habits.far_ms = 0;
        for place in self.places() {
            if let Some(machine) = self.machines.get_mut(place) {
                machine.disk.slow_ms = 0;
            }
            self.resume(place, None);
            self.start(place);
        }
    }
}

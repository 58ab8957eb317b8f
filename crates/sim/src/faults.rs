//! What goes wrong during a play, chosen from its seed.
//!
//! Invariant: disks are taken away only as far as a cluster can bear it: a majority of those who vote keeps its
//! disks, and so few nodes are empty at a time that they could not form a second cluster by themselves.

use crate::machine::Place;
use crate::world::{Node, World};
use std::rc::Rc;

/// The kinds of faults, and how often each is chosen.
const KINDS: [(Kind, usize); 9] = [
    (Kind::Crash, 6),
    (Kind::Start, 12),
    (Kind::Pause, 5),
    (Kind::Resume, 6),
    (Kind::Cut, 5),
    (Kind::Heal, 6),
    (Kind::Wipe, 3),
    (Kind::Forget, 2),
    (Kind::Weather, 2),
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
    Forget,
    Weather,
}

impl World {
    /// Something goes wrong, or is put right.
    pub fn fault(self: &Rc<World>) {
        let total = KINDS.iter().map(|(_, share)| share).sum();
        let mut left = self.dice.below(total);
        let place = self.dice.below(self.places().len());
        for (kind, share) in KINDS {
            if left < share {
                return self.commit_fault(kind, place);
            }
            left -= share;
        }
    }

    fn commit_fault(self: &Rc<World>, kind: Kind, place: Place) {
        match kind {
            Kind::Crash => self.crash(place, "it is killed"),
            Kind::Start => self.start_somewhere(place),
            Kind::Pause => self.pause(place),
            Kind::Resume => self.resume(place),
            Kind::Cut => self.cut(place),
            Kind::Heal => {
                self.say(|| "the network heals".to_owned());
                self.net.borrow_mut().cut.clear();
            }
            Kind::Wipe => self.lose_disk(place),
            Kind::Forget => self.forget_some(place),
            Kind::Weather => self.make_weather(),
        }
    }

    /// The network becomes better or worse.
    pub fn make_weather(&self) {
        let (loss, slow_ms) = match self.dice.below(3) {
            0 => (0, 0),
            1 => (50, 100),
            _ => (300, 1_500),
        };
        self.say(|| format!("the network loses {loss} of 1000 and takes up to {slow_ms} ms"));
        let mut net = self.net.borrow_mut();
        (net.loss, net.slow_ms) = (loss, slow_ms);
    }

    /// Starts a node that does not run, perhaps at another address.
    fn start_somewhere(self: &Rc<World>, place: Place) {
        if self.dice.permille(200) {
            let addr = self.new_addr();
            self.machine(place, |machine| {
                if machine.process.is_none() {
                    machine.addr = addr;
                }
            });
        }
        self.revive(place);
    }

    /// Starts a node that does not run; one that was taken out of its cluster begins anew.
    pub fn revive(self: &Rc<World>, place: Place) {
        let must_begin_anew =
            self.machine(place, |machine| machine.disk.has_left && machine.process.is_none());
        if must_begin_anew == Some(true) {
            self.wipe(place);
        }
        self.start(place);
    }

    fn pause(self: &Rc<World>, place: Place) {
        let process = self.machine(place, |machine| {
            let process = machine.process.as_mut().filter(|process| !process.is_paused)?;
            process.is_paused = true;
            Some(process.id)
        });
        let Some(Some(process)) = process else { return };
        self.say(|| format!("{place}: stands still"));
        self.schedule.pause(process);
        // Most go on soon.
        let most = if self.dice.permille(500) { 500 } else { 5_000 };
        let (world, pause) = (self.clone(), self.dice.ms(50, most));
        self.schedule.after(pause, move || world.resume_process(place, Some(process)));
    }

    /// Has a node go on that stands still.
    pub fn resume(self: &Rc<World>, place: Place) {
        self.resume_process(place, None);
    }

    fn resume_process(self: &Rc<World>, place: Place, which: Option<u64>) {
        let process = self.machine(place, |machine| {
            let process = machine.process.as_ref().filter(|process| process.is_paused)?;
            which.is_none_or(|which| which == process.id).then_some(process.id)
        });
        let Some(Some(process)) = process else { return };
        self.say(|| format!("{place}: goes on"));
        Node { world: self.clone(), place, process }.resume();
    }

    /// Cuts one node off, or some from the others, or one direction between two.
    fn cut(&self, place: Place) {
        let count = self.places().len();
        let one_way = self.dice.permille(200);
        let other = self.dice.below(count);
        let group: Vec<bool> = self.places().map(|_| self.dice.permille(500)).collect();
        let alone = self.dice.permille(500);
        let parts = |from: Place, to: Place| match one_way {
            true => from == place && to == other,
            false if alone => (from == place) != (to == place),
            false => group.get(from) != group.get(to),
        };
        let all = self.places().flat_map(|from| self.places().map(move |to| (from, to)));
        let cut: Vec<(Place, Place)> = all.filter(|(from, to)| from != to && parts(*from, *to)).collect();
        self.say(|| format!("cut: {cut:?}"));
        self.net.borrow_mut().cut = cut.into_iter().collect();
    }

    /// Whether a cluster can bear the loss of a machine's disk.
    fn can_lose_disk(&self, place: Place) -> bool {
        let machines = self.machines.borrow();
        let Some(machine) = machines.get(place).filter(|machine| machine.process.is_none()) else {
            return false;
        };
        let Some(cluster) = machine.disk.cluster else { return false };
        let empty = machines.iter().filter(|machine| machine.disk.cluster.is_none()).count();
        if empty + 1 > machines.len() / 2 {
            return false;
        }
        let registers = self.registers.borrow();
        let Some(register) = registers.get(&cluster.0) else { return false };
        let has_disk = |node: &&types::NodeId| {
            machines.iter().any(|other| other.disk.node == **node && other.disk.node != machine.disk.node)
        };
        2 * register.voters.iter().filter(has_disk).count() > register.voters.len()
    }

    /// A machine near a place whose disk can be lost; its node is ended for that if need be.
    fn disk_to_lose(self: &Rc<World>, place: Place) -> Option<Place> {
        let count = self.places().len();
        let near = |step: Place| (place + step) % count;
        if let Some(place) = self.places().map(near).find(|place| self.can_lose_disk(*place)) {
            return Some(place);
        }
        self.crash(place, "its machine is lost");
        self.can_lose_disk(place).then_some(place)
    }

    fn lose_disk(self: &Rc<World>, place: Place) {
        if let Some(place) = self.disk_to_lose(place) {
            self.wipe(place);
        }
    }

    /// An operator has a node forgotten that does not run, and clears its disk.
    fn forget_some(self: &Rc<World>, place: Place) {
        let Some(place) = self.disk_to_lose(place) else { return };
        let Some(gone) = self.machine(place, |machine| machine.disk.node) else { return };
        let by = self.places().find(|by| {
            self.machine(*by, |machine| machine.process.as_ref().is_some_and(|p| p.is_serving)) == Some(true)
        });
        if let Some(by) = by {
            self.say(|| format!("{by}: is told to forget node {gone}"));
            self.forget(by, gone);
            self.wipe(place);
        }
    }

    /// All faults end: everything runs, everything is linked.
    pub fn heal_all(self: &Rc<World>) {
        self.say(|| "all faults end".to_owned());
        *self.net.borrow_mut() = crate::network::Net::default();
        for place in self.places() {
            self.resume(place);
            self.revive(place);
        }
    }
}

/// Faults for as long as `lasts` says, the longest pause between two being `calm_ms`.
pub async fn faults(world: Rc<World>, calm_ms: u64, lasts: impl Fn() -> bool) {
    let mut at_once = world.dice.below(4);
    while lasts() {
        world.fault();
        if at_once > 0 {
            at_once -= 1;
            continue;
        }
        let pause = world.dice.ms(10, calm_ms);
        world.schedule.sleep(pause).await;
    }
}

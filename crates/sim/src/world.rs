//! The play: machines, the network between them, the agreed catalogs, and who watches.
//!
//! Invariant: no two parts are borrowed across an await.

use crate::bug::Bug;
use crate::dice::Dice;
use crate::invariants::{Invariant, Seen};
use crate::machine::{Disk, Machine, Place, Process};
use crate::network::Net;
use crate::register::Register;
use crate::schedule::{ProcessId, Schedule};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use types::NodeId;

/// What a play is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where all chance comes from.
    pub seed: u64,
    /// A bug to be found.
    pub bug: Option<Bug>,
    /// Print what happens.
    pub is_told: bool,
}

/// All of it.
pub struct World {
    /// Time and tasks.
    pub schedule: Rc<Schedule>,
    /// Chance.
    pub dice: Dice,
    /// What it was made with.
    pub settings: Settings,
    /// The machines; their number is fixed.
    pub machines: RefCell<Vec<Machine>>,
    /// The network.
    pub net: RefCell<Net>,
    /// Clusters' catalogs, by the cluster's id.
    pub registers: RefCell<BTreeMap<u128, Register>>,
    /// The first thing that was wrong.
    pub failure: RefCell<Option<String>>,
    invariants: RefCell<Vec<Box<dyn Invariant>>>,
    trace: RefCell<DefaultHasher>,
    last: Cell<u64>,
}

impl World {
    /// An empty one, watched.
    pub fn new(settings: Settings, invariants: Vec<Box<dyn Invariant>>) -> Rc<World> {
        Rc::new(World {
            schedule: Rc::default(),
            dice: Dice::new(settings.seed),
            settings,
            machines: RefCell::default(),
            net: RefCell::default(),
            registers: RefCell::default(),
            failure: RefCell::default(),
            invariants: RefCell::new(invariants),
            trace: RefCell::default(),
            last: Cell::new(0),
        })
    }

    /// The time since the play began.
    pub fn now(&self) -> Duration {
        self.schedule.now()
    }

    /// A number that was not given before, from 1.
    pub fn number(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    /// Whether a bug was put back.
    pub fn has(&self, bug: Bug) -> bool {
        self.settings.bug == Some(bug)
    }

    /// Tells what happens, and makes it part of the trace.
    pub fn say(&self, what: impl FnOnce() -> String) {
        let what = what();
        (self.now(), &what).hash(&mut *self.trace.borrow_mut());
        if self.settings.is_told {
            println!("{:>9.3} s  {what}", self.now().as_secs_f64());
        }
    }

    /// One number for all that happened.
    pub fn trace(&self) -> u64 {
        self.trace.borrow().finish()
    }

    /// Shows something to whoever watches.
    pub fn show(&self, seen: &Seen<'_>) {
        for invariant in self.invariants.borrow_mut().iter_mut() {
            if let Err(why) = invariant.see(seen) {
                self.fail(why);
            }
        }
    }

    /// Something is wrong; the first such thing counts.
    pub fn fail(&self, why: String) {
        self.say(|| format!("WRONG: {why}"));
        let at = self.now();
        self.failure.borrow_mut().get_or_insert_with(|| format!("after {at:?}: {why}"));
    }

    /// Reads a machine.
    pub fn machine<R>(&self, place: Place, read: impl FnOnce(&mut Machine) -> R) -> Option<R> {
        self.machines.borrow_mut().get_mut(place).map(read)
    }

    /// The machine whose node runs, or stands still, at an address.
    pub fn place_at(&self, addr: SocketAddr) -> Option<Place> {
        let is_there = |machine: &Machine| machine.process.as_ref().is_some_and(|p| p.addr == addr);
        self.machines.borrow().iter().position(is_there)
    }

    /// The machine on which a node runs and does not stand still.
    pub fn awake(&self, node: NodeId) -> Option<Place> {
        let is_it = |machine: &Machine| {
            machine.disk.node == node && machine.process.as_ref().is_some_and(|p| !p.is_paused)
        };
        self.machines.borrow().iter().position(is_it)
    }

    /// All machines' numbers.
    pub fn places(&self) -> std::ops::Range<Place> {
        0..self.machines.borrow().len()
    }
}

/// One start of a node, as its tasks hold it.
#[derive(Clone)]
pub struct Node {
    /// Where all is.
    pub world: Rc<World>,
    /// Its machine.
    pub place: Place,
    /// This start.
    pub process: ProcessId,
}

impl Node {
    /// Reads or changes the process and its disk; None once the process has ended.
    pub fn with<R>(&self, act: impl FnOnce(&mut Process, &mut Disk) -> R) -> Option<R> {
        let mut machines = self.world.machines.borrow_mut();
        let Machine { disk, process, .. } = machines.get_mut(self.place)?;
        let process = process.as_mut().filter(|process| process.id == self.process)?;
        Some(act(process, disk))
    }

    /// What it says of itself.
    pub fn identity(&self) -> Option<clustering::identity::NodeIdentity> {
        let name = self.world.machine(self.place, |machine| machine.name.clone())?;
        self.with(|process, disk| process.identity(&name, disk))
    }

    /// Tells what it does.
    pub fn say(&self, what: impl FnOnce() -> String) {
        self.world.say(|| format!("{}: {}", self.place, what()));
    }

    /// Comes back after a pause between two times, milliseconds.
    pub async fn sleep(&self, from: u64, to: u64) {
        let pause = self.world.dice.ms(from, to);
        self.world.schedule.sleep(pause).await;
    }
}

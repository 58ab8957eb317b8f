//! The play: machines, links between them, the catalog, clients, and who watches.
//!
//! Invariant: everything that happens is an event of the agenda.

use super::bug::Bug;
use super::clients::Clients;
use super::event::{Agenda, Event, Micros};
use super::invariants::{Invariant, Seen};
use super::leader::Leader;
use super::machine::{Machine, Pipe, Place, Process};
use super::register::Register;
use crate::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
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

/// The state of the network.
#[derive(Debug, Default)]
pub struct Net {
    /// Directions in which nothing passes.
    pub cut: BTreeSet<(Place, Place)>,
    /// What a way takes at most, now and then, milliseconds.
    pub slow_ms: u64,
}

/// What differs from play to play.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Frames that a link takes before its stream is closed.
    pub link_frames_max: usize,
    /// Looks of a thousand after which a node hears nothing of the catalog for a while, and how long at most,
    /// milliseconds.
    pub deaf: (u32, u64),
    /// Changes of a thousand after which a node remembers on disk how far its catalog is.
    pub saves: u32,
    /// What every way takes at least while things go wrong, milliseconds.
    pub far_ms: u64,
    /// The longest way over a slow link, milliseconds.
    pub slow_ms: u64,
}

/// All of it.
pub struct World {
    /// What it was made with.
    pub settings: Settings,
    /// Chance.
    pub dice: Dice,
    /// Time, and what is to happen.
    pub agenda: Agenda,
    /// The machines; their number is fixed.
    pub machines: Vec<Machine>,
    /// The network.
    pub net: Net,
    /// What is under way.
    pub pipes: BTreeMap<(Place, Place), Pipe>,
    /// The catalog.
    pub register: Register,
    /// Who leads it.
    pub leader: Leader,
    /// Clients.
    pub clients: Clients,
    /// Faults go on.
    pub is_troubled: bool,
    /// How this play is made.
    pub habits: Habits,
    /// The first thing that was wrong.
    pub failure: Option<String>,
    /// Changes of the catalog under way.
    pub proposed: usize,
    watching: Vec<Box<dyn Invariant>>,
    trace: DefaultHasher,
    last: u64,
}

impl World {
    /// An empty one, watched.
    pub fn new(settings: Settings, register: Register, watching: Vec<Box<dyn Invariant>>) -> World {
        World {
            dice: Dice::new(settings.seed),
            settings,
            agenda: Agenda::default(),
            machines: Vec::new(),
            net: Net::default(),
            pipes: BTreeMap::new(),
            register,
            leader: Leader::default(),
            clients: Clients::default(),
            is_troubled: true,
            habits: Habits::default(),
            failure: None,
            proposed: 0,
            watching,
            trace: DefaultHasher::new(),
            last: 0,
        }
    }

    /// The time, microseconds.
    pub fn now(&self) -> Micros {
        self.agenda.now
    }

    /// The time, milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.agenda.now / 1_000
    }

    /// A time between two, given in milliseconds, in microseconds.
    pub fn pause(&self, from_ms: u64, to_ms: u64) -> Micros {
        let pause = self.dice.ms(from_ms, to_ms);
        u64::try_from(pause.as_micros()).unwrap_or(0)
    }

    /// A number that was not given before, from 1.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether a bug was put back.
    pub fn has(&self, bug: Bug) -> bool {
        self.settings.bug == Some(bug)
    }

    /// Tells what happens, and makes it part of the trace.
    pub fn say(&mut self, what: impl FnOnce() -> String) {
        self.agenda.now.hash(&mut self.trace);
        if self.settings.is_told {
            let at = std::time::Duration::from_micros(self.now());
            println!("{:>9.4} s  {}", at.as_secs_f64(), what());
        }
    }

    /// One number for all that happened.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Shows something to whoever watches.
    pub fn show(&mut self, seen: &Seen<'_>) {
        let mut watching = std::mem::take(&mut self.watching);
        for invariant in &mut watching {
            if let Err(why) = invariant.see(self, seen) {
                self.fail(why);
            }
        }
        self.watching = watching;
    }

    /// Something is wrong; the first such thing counts.
    pub fn fail(&mut self, why: String) {
        self.say(|| format!("WRONG: {why}"));
        let at = std::time::Duration::from_micros(self.now());
        self.failure.get_or_insert_with(|| format!("after {at:?}: {why}"));
    }

    /// A process, if it is this start of it.
    pub fn process(&mut self, place: Place, boot: u64) -> Option<&mut Process> {
        let process = self.machines.get_mut(place)?.process.as_mut()?;
        (process.boot == boot).then_some(process)
    }

    /// A process that runs and does not stand still.
    pub fn awake(&self, place: Place) -> Option<&Process> {
        self.machines.get(place)?.process.as_ref().filter(|process| !process.is_paused)
    }

    /// The machine of a node.
    pub fn place_of(&self, node: NodeId) -> Option<Place> {
        self.machines.iter().position(|machine| machine.node == node)
    }

    /// The node of a machine.
    pub fn node_at(&self, place: Place) -> NodeId {
        self.machines.get(place).map_or(NodeId::default(), |machine| machine.node)
    }

    /// All machines' numbers.
    pub fn places(&self) -> std::ops::Range<Place> {
        0..self.machines.len()
    }

    /// Something happens.
    pub fn happen(&mut self, event: Event) {
        match event {
            Event::Look(place, boot) => self.look(place, boot),
            Event::Synced(place, boot, number) => self.synced(place, boot, number),
            Event::Arrive(from, to) => self.arrive(from, to),
            Event::Proposed(change) => self.decide(&change),
            Event::Lead => self.lead(),
            Event::Links => self.look_at_links(),
            Event::Publish(place) => self.publish(place),
            Event::Worked(work) => self.worked(&work),
            Event::Fault => self.fault(),
            Event::Reunion(place) => self.reunite(place),
            Event::Resume(place, boot) => self.resume(place, Some(boot)),
        }
    }

    /// Keeps something for a process that stands still; whether it did.
    pub fn is_held(&mut self, place: Place, boot: u64, event: impl FnOnce() -> Event) -> bool {
        let Some(process) = self.process(place, boot).filter(|process| process.is_paused) else {
            return false;
        };
        process.held.push(event());
        true
    }
}

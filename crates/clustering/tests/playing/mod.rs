//! A cluster played from a seed: a network that loses, delays and reorders packets, and nodes that die, pause and
//! come back, all in virtual time.
#![allow(dead_code, reason = "each test file uses a part of it")]

use clustering::gossip::{Effects, GossipPeriods, Liveness, Oddity, Swim, SwimMember, SwimSettings};
use clustering::identity::{ClusterId, NodeIdentity, WIRE_VERSION};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;
use types::limits::GOSSIP_PACKET_MAX_BYTES;

pub const CLUSTER: ClusterId = ClusterId(77);
/// Packets a node may send in a second of any play: more is a storm.
const STORM: u64 = 400;

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A node's place in the play; its id is one more.
pub type Place = usize;

struct Flight {
    at: Duration,
    number: u64,
    to: Place,
    from: SocketAddr,
    body: Vec<u8>,
}

impl Flight {
    fn key(&self) -> (Duration, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Flight) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Flight) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Flight) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[derive(Default)]
struct Stage {
    swim: Option<Swim>,
    is_paused: bool,
    waiting: Vec<(SocketAddr, Vec<u8>)>,
    sent_in_second: (u64, u64),
}

pub struct Play {
    pub now: Duration,
    pub loss: f64,
    /// Share of packets of which a byte is changed on their way, as if the seal had let it pass.
    pub damage: f64,
    pub delay: (Duration, Duration),
    pub oddities: Vec<Oddity>,
    /// Who was shown as down by whom, each time.
    pub downs: Vec<(Place, Place, Duration)>,
    /// Bodies that were sent, when `keep_sent`.
    pub sent: Vec<(Place, SocketAddr, Vec<u8>)>,
    pub keep_sent: bool,
    stages: Vec<Stage>,
    flights: BinaryHeap<Reverse<Flight>>,
    cut: Vec<(Place, Place)>,
    rng: SmallRng,
    number: u64,
    trace: DefaultHasher,
    shown: Vec<Vec<SwimMember>>,
}

impl Play {
    /// `count` nodes on a quick network; the first is the seed of the others.
    pub fn new(seed: u64, count: usize) -> Play {
        let mut play = Play::empty(seed, count);
        for place in 0..count {
            play.start(place, 1_000, CLUSTER, &[0]);
        }
        play
    }

    /// Places for `count` nodes that are not started.
    pub fn empty(seed: u64, count: usize) -> Play {
        Play {
            now: Duration::ZERO,
            loss: 0.0,
            damage: 0.0,
            delay: (Duration::from_micros(100), ms(2)),
            oddities: Vec::new(),
            downs: Vec::new(),
            sent: Vec::new(),
            keep_sent: false,
            stages: (0..count).map(|_| Stage::default()).collect(),
            flights: BinaryHeap::new(),
            cut: Vec::new(),
            rng: SmallRng::seed_from_u64(seed),
            number: 0,
            trace: DefaultHasher::new(),
            shown: vec![Vec::new(); count],
        }
    }

    /// Starts a node's process; `generation` is its clock.
    pub fn start(&mut self, place: Place, generation: u64, cluster: ClusterId, seeds: &[Place]) {
        let boot = self.rng.random();
        let settings = SwimSettings {
            me: identity(place, boot, cluster),
            generation,
            seed: self.rng.random(),
            periods: GossipPeriods::default(),
            seeds: seeds.iter().map(|seed| addr(*seed)).collect(),
        };
        self.replace(place, settings);
    }

    /// Starts a process with settings of one's own.
    pub fn replace(&mut self, place: Place, settings: SwimSettings) {
        self.stages[place].swim = Some(Swim::new(settings, self.now).unwrap());
        self.stages[place].is_paused = false;
        self.shown[place].clear();
    }

    pub fn kill(&mut self, place: Place) {
        let stage = &mut self.stages[place];
        stage.swim = None;
        stage.waiting.clear();
    }

    pub fn pause(&mut self, place: Place) {
        self.stages[place].is_paused = true;
    }

    /// The node goes on: like the thread, it hears what has come before it looks at the time.
    pub fn resume(&mut self, place: Place) {
        self.stages[place].is_paused = false;
        for (from, body) in std::mem::take(&mut self.stages[place].waiting) {
            self.act(place, |swim, now, out| swim.packet(&body, from, now, out));
        }
        self.act(place, |swim, now, out| swim.time(now, out));
    }

    /// Cuts all links between two groups.
    pub fn cut(&mut self, one: &[Place], other: &[Place]) {
        for a in one {
            for b in other {
                self.cut.extend([(*a, *b), (*b, *a)]);
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn swim(&self, place: Place) -> &Swim {
        self.stages[place].swim.as_ref().unwrap()
    }

    pub fn boot(&self, place: Place) -> u64 {
        self.swim(place).me().boot
    }

    /// Lets a node do something.
    pub fn act(&mut self, place: Place, act: impl FnOnce(&mut Swim, Duration, &mut Effects)) {
        let Some(swim) = &mut self.stages[place].swim else { return };
        let mut out = Effects::default();
        act(swim, self.now, &mut out);
        if out.changed {
            let shown = swim.members();
            let is_changed = shown != self.shown[place];
            assert!(is_changed || self.damage > 0.0, "a change was told and nothing changed");
            self.note_downs(place, &shown);
            self.shown[place] = shown;
        }
        for (to, body) in out.send {
            self.send(place, to, body);
        }
        self.oddities.extend(out.oddities);
    }

    fn note_downs(&mut self, place: Place, shown: &[SwimMember]) {
        for member in shown.iter().filter(|member| member.state == Liveness::Down) {
            let was_down = self.shown[place]
                .iter()
                .any(|before| before.identity.id == member.identity.id && before.state == Liveness::Down);
            if !was_down {
                self.downs.push((place, member.identity.id as usize - 1, self.now));
            }
        }
    }

    fn send(&mut self, from: Place, to: SocketAddr, mut body: Vec<u8>) {
        assert!(body.len() + 33 <= GOSSIP_PACKET_MAX_BYTES, "{} bytes", body.len());
        let second = self.now.as_secs();
        let (counted, count) = &mut self.stages[from].sent_in_second;
        (*counted, *count) = if *counted == second { (second, *count + 1) } else { (second, 1) };
        assert!(*count < STORM, "node {from} sends {count} packets in second {second}");
        (self.now, from, to, &body).hash(&mut self.trace);
        if self.keep_sent {
            self.sent.push((from, to, body.clone()));
        }
        if self.damage > 0.0 && self.rng.random_bool(self.damage) {
            let place = self.rng.random_range(0..body.len());
            body[place] ^= 1 << self.rng.random_range(0..8);
        }
        let to = place_of(to);
        if to >= self.stages.len() || self.cut.contains(&(from, to)) || self.rng.random_bool(self.loss) {
            return;
        }
        self.deliver_later(to, addr(from), body);
    }

    /// Puts a packet on its way, also one that was sent long ago.
    pub fn deliver_later(&mut self, to: Place, from: SocketAddr, body: Vec<u8>) {
        self.number += 1;
        let at = self.now + self.rng.random_range(self.delay.0..self.delay.1);
        self.flights.push(Reverse(Flight { at, number: self.number, to, from, body }));
    }

    /// The next thing happens, unless it is later than `until`.
    fn step(&mut self, until: Duration) -> bool {
        let flight = self.flights.peek().map(|Reverse(flight)| flight.at);
        let awake = (0..self.stages.len()).filter(|place| !self.stages[*place].is_paused);
        let timers = awake.filter_map(|place| Some((self.stages[place].swim.as_ref()?.next_at()?, place)));
        let timer = timers.min();
        match (flight, timer) {
            (Some(at), _) if at <= until && timer.is_none_or(|(timer, _)| at <= timer) => {
                let Some(Reverse(flight)) = self.flights.pop() else { return false };
                self.now = self.now.max(at);
                if self.stages[flight.to].is_paused {
                    self.stages[flight.to].waiting.push((flight.from, flight.body));
                } else {
                    self.act(flight.to, |swim, now, out| swim.packet(&flight.body, flight.from, now, out));
                }
                true
            }
            (_, Some((at, place))) if at <= until => {
                self.now = self.now.max(at);
                self.act(place, |swim, now, out| swim.time(now, out));
                true
            }
            _ => {
                self.now = until;
                false
            }
        }
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Plays until something holds, and tells how long it took; at most `limit`.
    pub fn until(&mut self, limit: Duration, holds: impl Fn(&Play) -> bool) -> Result<Duration, String> {
        let (start, end) = (self.now, self.now + limit);
        while !holds(self) {
            if !self.step(end) && !holds(self) {
                return Err(format!("not within {limit:?}:\n{}", self.picture()));
            }
        }
        Ok(self.now - start)
    }

    /// How `place` shows `other`.
    pub fn sees(&self, place: Place, other: Place) -> Option<&SwimMember> {
        self.shown[place].iter().find(|member| member.identity.id == other as u64 + 1)
    }

    /// All of a list see each other as up.
    pub fn all_up(&self, places: &[Place]) -> bool {
        self.each(places, places, |member| member.is_some_and(|member| member.state == Liveness::Up))
    }

    /// All of one list show all of another, themselves excepted, in a way.
    pub fn each(&self, from: &[Place], to: &[Place], is: impl Fn(Option<&SwimMember>) -> bool) -> bool {
        from.iter().all(|a| to.iter().filter(|b| a != *b).all(|b| is(self.sees(*a, *b))))
    }

    /// One number for all that was sent.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    fn picture(&self) -> String {
        let line = |place: usize| {
            let shown: Vec<String> = self.shown[place]
                .iter()
                .map(|member| format!("{}:{:?}", member.identity.id - 1, member.state))
                .collect();
            let alive = self.stages[place].swim.is_some();
            format!("{place} ({}): {}", if alive { "alive" } else { "dead" }, shown.join(" "))
        };
        (0..self.stages.len()).map(line).collect::<Vec<_>>().join("\n")
    }
}

pub fn addr(place: Place) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1_000 + place as u16))
}

fn place_of(addr: SocketAddr) -> Place {
    usize::from(addr.port()).wrapping_sub(1_000)
}

pub fn identity(place: Place, boot: u64, cluster: ClusterId) -> NodeIdentity {
    NodeIdentity {
        id: place as u64 + 1,
        name: format!("rabbit@host{place}"),
        cluster,
        boot,
        wire: WIRE_VERSION,
        version: "0.1.0".to_owned(),
        addr: addr(place),
    }
}

//! The decision part of gossip: packets and time go in, packets and a picture of the others come out.
//!
//! No clock, no socket and no chance of its own: times are counted from an origin of the caller's choice, chance
//! comes from a seed, so that whole clusters can be played from one number.
//!
//! Invariant: what is shown (`members`) changes only together with `Effects::changed`.

use super::effects::{Effects, Oddity, SwimStats};
use super::facts::{FactStore, NodeFacts};
use super::gate::{Gate, Verdict};
use super::periods::GossipPeriods;
use super::presence::check_identity;
use super::roster::{Liveness, Roster};
use super::sealed::OVERHEAD_BYTES;
use super::timers::Timers;
use super::wire::{self, Body, Packet, Speaker};
use crate::identity::NodeIdentity;
use foca::{Foca, Member, NoCustomBroadcast, Notification, PostcardCodec, Timer};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::net::SocketAddr;
use std::time::Duration;
use types::limits;

/// Longest packet of the failure detector: a datagram without its seal and kind.
const PACKET_BYTES: usize = limits::GOSSIP_PACKET_MAX_BYTES - OVERHEAD_BYTES - 1;
pub(super) type Detector = Foca<Speaker, PostcardCodec, SmallRng, NoCustomBroadcast>;

/// What begins a `Swim`.
pub struct SwimSettings {
    /// This node.
    pub me: NodeIdentity,
    /// Must be higher than that of the process before, if possible: the wall clock's milliseconds.
    pub generation: u64,
    /// Seed of its chance.
    pub seed: u64,
    /// Its times.
    pub periods: GossipPeriods,
    /// Where others may be found.
    pub seeds: Vec<SocketAddr>,
}

/// Another node, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwimMember {
    /// Who it is.
    pub identity: NodeIdentity,
    /// What is thought of it.
    pub state: Liveness,
    /// What it tells of itself, if that has come.
    pub facts: Option<NodeFacts>,
    /// When its state changed, or its process.
    pub since: Duration,
}

/// What is to be done at a time.
pub(super) enum Due {
    /// The failure detector's.
    Detector(Timer<Speaker>),
    /// A node that was asked once more has not answered.
    Confirm { node: u64, doubt: u64 },
    /// Nodes that are down are called.
    Retry,
    /// Facts are compared.
    Digest,
    /// Changed facts are pushed.
    Push,
    /// Seeds are called; only the latest such entry counts.
    Seeds(u64),
    /// The leave is said again.
    Leave(u32),
}

/// One node's gossip.
pub struct Swim {
    pub(super) detector: Detector,
    pub(super) roster: Roster,
    pub(super) facts: FactStore,
    pub(super) timers: Timers<Due>,
    pub(super) rng: SmallRng,
    pub(super) periods: GossipPeriods,
    pub(super) stats: SwimStats,
    pub(super) born: u64,
    pub(super) told: Telling,
    pub(super) seeds: Vec<SocketAddr>,
    pub(super) seed_pause: Duration,
    pub(super) seed_mark: u64,
    pub(super) rounds: u64,
    pub(super) raises: (Duration, u32),
    has_rejoined: bool,
    pub(super) has_left: bool,
}

/// What this node tells of itself.
#[derive(Default)]
pub(super) struct Telling {
    /// The facts, as bytes.
    pub bytes: Vec<u8>,
    /// How often they changed.
    pub count: u64,
    /// When they were pushed last.
    pub pushed_at: Option<Duration>,
    /// A push is due.
    pub is_due: bool,
}

/// Takes what the failure detector wants done.
pub(super) struct Sink<'a> {
    now: Duration,
    out: &'a mut Effects,
    timers: &'a mut Timers<Due>,
    has_rejoined: &'a mut bool,
}

impl foca::Runtime<Speaker> for Sink<'_> {
    fn notify(&mut self, notification: Notification<'_, Speaker>) {
        *self.has_rejoined |= matches!(notification, Notification::Rejoin(_));
    }

    fn send_to(&mut self, to: Speaker, data: &[u8]) {
        self.out.send.push((to.identity.addr, wire::swim_body(data)));
    }

    fn submit_after(&mut self, event: Timer<Speaker>, after: Duration) {
        self.timers.push(self.now + after, Due::Detector(event));
    }
}

impl Swim {
    /// Begins; the first calls to seeds are due at `now`.
    ///
    /// # Errors
    /// When the identity or the periods cannot be used; the text names what and why.
    pub fn new(settings: SwimSettings, now: Duration) -> Result<Swim, String> {
        settings.periods.check()?;
        check_identity(&settings.me)?;
        let mut rng = SmallRng::seed_from_u64(settings.seed);
        let me = Speaker { identity: settings.me, generation: settings.generation };
        let detector = detector(me, &settings.periods, &mut rng);
        let mut swim = Swim {
            detector,
            roster: Roster::default(),
            facts: FactStore::default(),
            timers: Timers::new(),
            rng,
            stats: SwimStats::default(),
            born: settings.generation,
            told: Telling::default(),
            seeds: Vec::new(),
            seed_pause: settings.periods.seed_first,
            seed_mark: 0,
            rounds: 0,
            raises: (now, 0),
            has_rejoined: false,
            has_left: false,
            periods: settings.periods,
        };
        for seed in settings.seeds {
            swim.remember_seed(seed);
        }
        swim.timers.push(now, Due::Seeds(0));
        swim.timers.push(now + swim.periods.retry, Due::Retry);
        swim.timers.push(now + swim.periods.digest, Due::Digest);
        Ok(swim)
    }

    /// This node's present identity.
    pub fn me(&self) -> &NodeIdentity {
        &self.detector.identity().identity
    }

    /// When `time` is to be called next.
    pub fn next_at(&self) -> Option<Duration> {
        self.timers.next_at()
    }

    /// What was heard and dropped.
    pub fn stats(&self) -> SwimStats {
        self.stats
    }

    /// All other nodes, by id.
    pub fn members(&self) -> Vec<SwimMember> {
        let member = |entry: &super::roster::Entry| SwimMember {
            identity: entry.speaker.identity.clone(),
            state: entry.state,
            facts: self.facts.of(entry.speaker.identity.id, entry.speaker.identity.boot).cloned(),
            since: entry.since,
        };
        self.roster.iter().map(member).collect()
    }

    /// A datagram's body has come.
    pub fn packet(&mut self, body: &[u8], from: SocketAddr, now: Duration, out: &mut Effects) {
        if self.has_left {
            return;
        }
        self.stats.heard += 1;
        match wire::open(body) {
            Some(Body::Swim(bytes)) => match Packet::read(bytes) {
                Some(packet) => self.judge(packet, from, now, out),
                None => self.malformed(from, out),
            },
            Some(Body::Note(note)) => self.note(note, now, out),
            None => self.malformed(from, out),
        }
        self.settle(now, out);
    }

    fn malformed(&mut self, from: SocketAddr, out: &mut Effects) {
        self.stats.malformed += 1;
        out.oddities.push(Oddity::Malformed { from });
    }

    fn judge(&mut self, mut packet: Packet, from: SocketAddr, now: Duration, out: &mut Effects) {
        let room = self.detector.iter_membership_state().len() < limits::GOSSIP_MEMBER_COUNT_MAX;
        let known = |id| self.known(id);
        let (verdict, exceed) = Gate { own: self.detector.identity(), known, room }.judge(&mut packet);
        match verdict {
            Verdict::Hear => match packet.write() {
                Some(bytes) => self.call(now, out, |detector, sink| detector.handle_data(&bytes, sink)),
                None => self.malformed(from, out),
            },
            Verdict::Outdated(sender) => {
                self.stats.outdated += 1;
                self.call(now, out, |detector, sink| detector.announce(sender, sink));
            }
            Verdict::Outranked(sender, generation) => self.tell_outranked(&sender, generation, out),
            Verdict::OtherCluster(identity) => {
                self.stats.other_cluster += 1;
                let node = identity.id;
                let sought = &packet.header.dst.identity;
                if (sought.id, sought.boot) == (self.me().id, self.me().boot)
                    && sought.cluster != self.me().cluster
                {
                    // It knew this node before it had a cluster, and sees from an answer that it has one.
                    let sender = packet.header.src;
                    self.call(now, out, |detector, sink| detector.announce(sender, sink));
                }
                out.oddities.push(Oddity::OtherCluster { from, identity });
                if self.roster.get(node).is_some() {
                    self.drop_members(|speaker| speaker.identity.id == node, now, out);
                }
            }
            Verdict::OtherWire(identity) => {
                self.stats.other_wire += 1;
                out.oddities.push(Oddity::OtherWire { from, identity });
            }
            Verdict::Ignore => self.stats.ignored += 1,
        }
        if let Some(generation) = exceed {
            self.raise(generation, now, out);
        }
    }

    /// Who uses an id, as far as the failure detector knows.
    pub(super) fn known(&self, node: u64) -> Option<&Speaker> {
        self.detector.iter_membership_state().map(Member::id).find(|speaker| speaker.identity.id == node)
    }

    /// Calls the failure detector; the caller settles afterwards.
    pub(super) fn call(
        &mut self,
        now: Duration,
        out: &mut Effects,
        act: impl FnOnce(&mut Detector, &mut Sink<'_>) -> Result<(), foca::Error>,
    ) {
        let has_rejoined = &mut self.has_rejoined;
        let mut sink = Sink { now, out, timers: &mut self.timers, has_rejoined };
        if let Err(error) = act(&mut self.detector, &mut sink) {
            self.stats.errors += 1;
            tracing::debug!(%error, "gossip: the failure detector refused a step");
        }
    }

    /// Brings the picture up to what the failure detector thinks now, and does what follows from changes.
    pub(super) fn settle(&mut self, now: Duration, out: &mut Effects) {
        if self.has_left {
            return;
        }
        // What is done may change the picture again; it comes to rest after a round or two.
        for _ in 0..4 {
            if std::mem::take(&mut self.has_rejoined) {
                self.reappear(now, out);
            }
            if !self.look(now, out) && !self.has_rejoined {
                return;
            }
        }
    }

    fn look(&mut self, now: Duration, out: &mut Effects) -> bool {
        let was_alone = !self.is_anybody_there();
        let own = self.me().id;
        let mut observed = Vec::new();
        for member in self.detector.iter_membership_state().filter(|member| member.id().identity.id != own) {
            let seen = self.roster.observe(member.id(), member.state(), now);
            if seen != super::roster::Seen::default() {
                observed.push((member.id().clone(), seen));
            }
        }
        for (speaker, seen) in &observed {
            out.changed |= seen.changed;
            if let Some(doubt) = seen.doubt {
                let node = speaker.identity.id;
                self.timers.push(now + self.periods.debounce, Due::Confirm { node, doubt });
                self.call(now, out, |detector, sink| detector.announce(speaker.clone(), sink));
            }
            if seen.met {
                self.greet(speaker, now, out);
            }
        }
        if observed.iter().any(|(_, seen)| seen.suspected || seen.doubt.is_some()) {
            self.call(now, out, |detector, sink| detector.gossip(sink));
            if !was_alone && self.detector.num_members() == 0 {
                self.restart_seeds(now);
            }
        }
        !observed.is_empty()
    }

    fn is_anybody_there(&self) -> bool {
        self.roster.iter().any(|entry| entry.state != Liveness::Down)
    }

    /// Does what is due.
    pub fn time(&mut self, now: Duration, out: &mut Effects) {
        let late = self.next_at().map_or(Duration::ZERO, |at| now.saturating_sub(at));
        if late >= self.periods.stall && !self.has_left {
            // This node was held up. Others may have been too, together with it: they get the time back, and a
            // moment for what is on its way.
            self.stats.stalls += 1;
            self.timers.shift(late + self.periods.rtt);
        }
        while let Some(due) = self.timers.pop_due(now) {
            self.due(due, now, out);
        }
        self.settle(now, out);
    }

    fn due(&mut self, due: Due, now: Duration, out: &mut Effects) {
        match due {
            Due::Detector(timer) => self.call(now, out, |detector, sink| detector.handle_timer(timer, sink)),
            Due::Confirm { node, doubt } => {
                // An answer may have come after the picture was last brought up to date.
                self.look(now, out);
                out.changed |= self.roster.confirm_down(node, doubt, now);
            }
            Due::Retry => self.retry(now, out),
            Due::Digest => {
                self.compare_facts(out);
                self.timers.push(now + self.periods.digest, Due::Digest);
            }
            Due::Push => self.push_facts(now, out),
            Due::Seeds(mark) if mark == self.seed_mark => self.call_seeds(now, out),
            Due::Seeds(_) => {}
            Due::Leave(count) => self.say_leave(count, now, out),
        }
    }
}

pub(super) fn detector(me: Speaker, periods: &GossipPeriods, rng: &mut SmallRng) -> Detector {
    let chance = SmallRng::seed_from_u64(rng.random());
    Foca::with_custom_broadcast(me, periods.detector(PACKET_BYTES), chance, PostcardCodec, NoCustomBroadcast)
}

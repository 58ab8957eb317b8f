//! The thread "leveret-gossip": it drives the decision part with a socket, the clock and chance.
//!
//! Invariant: packets that have come are heard before a time limit is judged, so that a thread that was held up
//! blames nobody for it.

use super::effects::{Effects, SwimStats};
use super::facts::NodeFacts;
use super::periods::GossipPeriods;
use super::roster::Liveness;
use super::sealed::Seal;
use super::swim::{Swim, SwimSettings};
use super::warnings::Warnings;
use crate::identity::NodeIdentity;
use crate::secret::ClusterSecret;
use parking_lot::Mutex;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};
use types::NodeId;
use types::limits::{GOSSIP_PACKET_MAX_BYTES, GOSSIP_SEED_COUNT_MAX};

/// What a node says of itself, read anew each time: its cluster may be learnt later.
pub type Me = Arc<dyn Fn() -> NodeIdentity + Send + Sync>;

/// The thread looks so often whether this node's identity changed.
const LOOK_AT_ME: Duration = Duration::from_millis(100);
/// Packets heard in one go before timers have their turn.
const TURN_PACKETS: usize = 256;
/// Pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// How long a caller waits for its leave to be said.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);
/// Niceness of the thread, if the system allows it.
const NICENESS: i32 = -10;

/// What gossip needs to start.
pub struct GossipConfig {
    /// The cluster's secret.
    pub secret: ClusterSecret,
    /// The socket, bound.
    pub socket: UdpSocket,
    /// This node.
    pub me: Me,
    /// The times.
    pub periods: GossipPeriods,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is. Another `boot` than before: its process was started again.
    pub identity: NodeIdentity,
    /// What is thought of it.
    pub state: Liveness,
    /// What it tells of itself, if that has come from its present process.
    pub facts: Option<NodeFacts>,
    /// When its state changed last, or its process.
    pub since: Instant,
}

/// Counters of gossip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GossipStats {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Datagrams that were not sealed with this cluster's secret.
    pub not_opened: u64,
    /// Datagrams that could not be sent.
    pub send_errors: u64,
    /// Errors of receiving.
    pub receive_errors: u64,
    /// What was heard and dropped.
    pub swim: SwimStats,
}

/// What callers want of the thread.
#[derive(Default)]
struct Orders {
    seeds: Vec<SocketAddr>,
    facts: Option<NodeFacts>,
    forget: Vec<NodeId>,
    leave: Option<mpsc::SyncSender<()>>,
    stop: bool,
}

struct Shared {
    orders: Mutex<Orders>,
    wake: Notify,
    members: Mutex<Arc<Vec<Member>>>,
    changes: watch::Sender<u64>,
    stats: Mutex<GossipStats>,
}

/// Gossip that is running.
pub struct Gossip {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Gossip {
    /// Starts the thread; it calls the seeds until it has met somebody.
    ///
    /// # Errors
    /// When the identity or the periods cannot be used, or the system gives no socket, thread or random bytes.
    pub fn start(config: GossipConfig, seeds: Vec<SocketAddr>) -> Result<Arc<Gossip>, String> {
        let seal = Seal::new(&config.secret)?;
        let origin = Instant::now();
        let settings = SwimSettings {
            me: (config.me)(),
            generation: unix_ms(),
            seed: random_number()?,
            periods: config.periods,
            seeds,
        };
        let swim = Swim::new(settings, Duration::ZERO)?;
        config.socket.set_nonblocking(true).map_err(|error| format!("gossip's socket: {error}"))?;
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            wake: Notify::new(),
            members: Mutex::default(),
            changes: watch::Sender::new(0),
            stats: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| format!("gossip's runtime: {error}"))?;
        let socket = {
            let _inside = runtime.enter();
            tokio::net::UdpSocket::from_std(config.socket)
                .map_err(|error| format!("gossip's socket: {error}"))?
        };
        let driver = Driver {
            swim,
            seal,
            socket,
            me: config.me,
            shared: Arc::clone(&shared),
            origin,
            looked_at_me: origin,
            warnings: Warnings::new(origin),
            stats: GossipStats::default(),
        };
        let thread = std::thread::Builder::new()
            .name("leveret-gossip".to_owned())
            .spawn(move || runtime.block_on(driver.run()))
            .map_err(|error| format!("gossip's thread: {error}"))?;
        Ok(Arc::new(Gossip { shared, thread: Mutex::new(Some(thread)) }))
    }

    fn order(&self, give: impl FnOnce(&mut Orders)) {
        give(&mut self.shared.orders.lock());
        self.shared.wake.notify_one();
    }

    /// Another place where others may be found.
    pub fn add_seed(&self, addr: SocketAddr) {
        self.order(|orders| {
            if orders.seeds.len() < GOSSIP_SEED_COUNT_MAX && !orders.seeds.contains(&addr) {
                orders.seeds.push(addr);
            }
        });
    }

    /// All other nodes, by id.
    pub fn members(&self) -> Vec<Member> {
        Arc::unwrap_or_clone(Arc::clone(&self.shared.members.lock()))
    }

    /// One other node.
    pub fn member(&self, node: NodeId) -> Option<Member> {
        self.shared.members.lock().iter().find(|member| member.identity.id == node.0).cloned()
    }

    /// Counts the changes of members, their states and facts.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Counters.
    pub fn stats(&self) -> GossipStats {
        *self.shared.stats.lock()
    }

    /// What this node tells of itself from now on; spread when it changed.
    pub fn set_facts(&self, facts: NodeFacts) {
        self.order(|orders| orders.facts = Some(facts));
    }

    /// Forgets a node and what it told. One that is alive is met again with its next packet.
    pub fn forget(&self, node: NodeId) {
        self.order(|orders| {
            if !orders.forget.contains(&node) {
                orders.forget.push(node);
            }
        });
    }

    /// Tells the others that this node goes, and is silent from then on. Comes back when it is said.
    pub fn leave(&self) {
        let (done, said) = mpsc::sync_channel(1);
        self.order(|orders| orders.leave = Some(done));
        // An error means that the thread has ended: then there is nothing left to say.
        let _ = said.recv_timeout(LEAVE_TIMEOUT);
    }

    /// Ends the thread without a word to the others.
    pub fn stop(&self) {
        self.order(|orders| orders.stop = true);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("gossip: the thread had panicked");
        }
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread holds.
struct Driver {
    swim: Swim,
    seal: Seal,
    socket: tokio::net::UdpSocket,
    me: Me,
    shared: Arc<Shared>,
    origin: Instant,
    looked_at_me: Instant,
    warnings: Warnings,
    stats: GossipStats,
}

impl Driver {
    async fn run(mut self) {
        be_nicer();
        let mut buffer = [0; 2 * GOSSIP_PACKET_MAX_BYTES];
        let shared = Arc::clone(&self.shared);
        loop {
            let next = self.swim.next_at().map(|at| self.origin + at);
            let next = next.into_iter().chain([self.looked_at_me + LOOK_AT_ME]).min();
            let wake_at = next.unwrap_or_else(Instant::now).into();
            tokio::select! {
                _ = self.socket.readable() => {}
                () = shared.wake.notified() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
            let mut out = Effects::default();
            let had_error = self.hear(&mut buffer, &mut out);
            let orders = std::mem::take(&mut *shared.orders.lock());
            if orders.stop {
                return;
            }
            let left = self.follow(orders, &mut out);
            self.swim.time(self.origin.elapsed(), &mut out);
            self.act(out);
            if let Some(left) = left {
                // Who asked may have stopped waiting.
                let _ = left.try_send(());
            }
            if had_error {
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }

    /// Hears what has come. True after an error of the socket.
    fn hear(&mut self, buffer: &mut [u8], out: &mut Effects) -> bool {
        for _ in 0..TURN_PACKETS {
            let (length, from) = match self.socket.try_recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    self.stats.receive_errors += 1;
                    tracing::debug!(%error, "gossip: receiving failed");
                    return true;
                }
            };
            self.stats.received += 1;
            let datagram = buffer.get_mut(..length).unwrap_or_default();
            match self.seal.open(datagram) {
                Some(body) => self.swim.packet(body, from, self.origin.elapsed(), out),
                None => self.not_opened(from),
            }
        }
        false
    }

    fn not_opened(&mut self, from: SocketAddr) {
        self.stats.not_opened += 1;
        if self.warnings.is_due(from.ip(), 0, Instant::now()) {
            tracing::warn!(
                "gossip: a packet from {from} was not sealed with this cluster's secret and is dropped: if a node of \
                 this cluster runs there, its cluster-secret-file differs"
            );
        }
    }

    fn follow(&mut self, orders: Orders, out: &mut Effects) -> Option<mpsc::SyncSender<()>> {
        let now = self.origin.elapsed();
        if self.looked_at_me.elapsed() >= LOOK_AT_ME || orders.facts.is_some() {
            self.looked_at_me = Instant::now();
            if let Err(why) = self.swim.set_me((self.me)(), now, out) {
                tracing::error!("gossip: this node's identity cannot be spread: {why}");
            }
        }
        for addr in orders.seeds {
            self.swim.add_seed(addr, now, out);
        }
        if let Some(facts) = orders.facts
            && let Err(why) = self.swim.set_facts(&facts, now, out)
        {
            tracing::error!("gossip: {why}");
        }
        for node in orders.forget {
            self.swim.forget(node.0, now, out);
        }
        if orders.leave.is_some() {
            self.swim.leave(now, out);
        }
        orders.leave
    }

    fn act(&mut self, out: Effects) {
        for (addr, body) in out.send {
            self.send(addr, &body);
        }
        for oddity in out.oddities {
            let kind = match oddity {
                super::Oddity::Malformed { .. } => 1,
                super::Oddity::OtherCluster { .. } => 2,
                super::Oddity::OtherWire { .. } => 3,
                super::Oddity::SameId { .. } => 4,
            };
            if self.warnings.is_due(oddity.from().ip(), kind, Instant::now()) {
                tracing::warn!("gossip: {oddity}");
            }
        }
        self.stats.swim = self.swim.stats();
        *self.shared.stats.lock() = self.stats;
        if out.changed {
            let member = |member: super::SwimMember| Member {
                identity: member.identity,
                state: member.state,
                facts: member.facts,
                since: self.origin + member.since,
            };
            *self.shared.members.lock() = Arc::new(self.swim.members().into_iter().map(member).collect());
            self.shared.changes.send_modify(|count| *count += 1);
        }
    }

    fn send(&mut self, addr: SocketAddr, body: &[u8]) {
        let sent = self.seal.seal(body).and_then(|datagram| {
            self.socket.try_send_to(&datagram, addr).map_err(|error| format!("to {addr}: {error}"))
        });
        match sent {
            Ok(bytes) => {
                self.stats.sent += 1;
                self.stats.sent_bytes += bytes as u64;
            }
            Err(why) => {
                // Like a packet that is lost on its way: it is said again.
                self.stats.send_errors += 1;
                tracing::debug!("gossip: a packet was not sent: {why}");
            }
        }
    }
}

/// Lets this thread go before others, where that is allowed: a busy machine must not look like a dead one.
fn be_nicer() {
    match rustix::process::setpriority_process(None, NICENESS) {
        Ok(()) => tracing::debug!("gossip: the thread runs with niceness {NICENESS}"),
        Err(error) => tracing::debug!(%error, "gossip: the thread keeps its niceness"),
    }
}

/// The wall clock, milliseconds: orders the starts of a process. A clock that was set back is made up for by what
/// the others remember.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn random_number() -> Result<u64, String> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the machine gives no random bytes".to_owned())?;
    Ok(u64::from_le_bytes(bytes))
}

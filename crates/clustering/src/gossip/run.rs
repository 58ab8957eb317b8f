//! Gossip as the rest of the node uses it: a handle to the thread "leveret-gossip".
//!
//! Invariant: no call waits for the network; all but `leave` and `stop` only leave an order or read a copy.

use super::driver::Driver;
use super::effects::SwimStats;
use super::facts::NodeFacts;
use super::periods::GossipPeriods;
use super::roster::Liveness;
use super::sealed::Seal;
use super::swim::{Swim, SwimSettings};
use crate::identity::NodeIdentity;
use crate::secret::ClusterSecret;
use parking_lot::Mutex;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};
use types::NodeId;
use types::limits::GOSSIP_SEED_COUNT_MAX;

/// What a node says of itself, read anew each time: its cluster may be learnt later.
pub type Me = Arc<dyn Fn() -> NodeIdentity + Send + Sync>;

/// How long a caller waits for its leave to be said.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);
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
pub(super) struct Orders {
    pub seeds: Vec<SocketAddr>,
    pub facts: Option<NodeFacts>,
    pub forget: Vec<NodeId>,
    pub leave: Option<mpsc::SyncSender<()>>,
    pub stop: bool,
}

/// What the thread and its callers share.
pub(super) struct Shared {
    pub orders: Mutex<Orders>,
    pub wake: Notify,
    pub members: Mutex<Arc<Vec<Member>>>,
    pub changes: watch::Sender<u64>,
    pub stats: Mutex<GossipStats>,
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
        let driver = Driver::new(swim, seal, socket, config.me, Arc::clone(&shared), origin);
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
        if self.thread.lock().is_none() {
            return;
        }
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

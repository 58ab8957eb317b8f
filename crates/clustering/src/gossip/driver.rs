//! The thread "leveret-gossip": it drives the decision part with a socket and the clock.
//!
//! Invariant: packets that have come are heard before a time limit is judged, so that a thread that was held up
//! blames nobody for it.

use super::effects::{Effects, Oddity};
use super::roster::Liveness;
use super::run::{GossipStats, Me, Member, Orders, Shared};
use super::sealed::Seal;
use super::swim::{Swim, SwimMember};
use super::warnings::Warnings;
use crate::identity::NodeIdentity;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use types::limits::GOSSIP_PACKET_MAX_BYTES;

/// The thread looks so often whether this node's identity changed.
const LOOK_AT_ME: Duration = Duration::from_millis(100);
/// Packets heard in one go before timers have their turn.
const TURN_PACKETS: usize = 256;
/// Pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// Niceness of the thread, if the system allows it.
const NICENESS: i32 = -10;

/// What the thread holds.
pub(super) struct Driver {
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
    /// All that the thread needs; `origin` is the time from which the decision part counts.
    pub fn new(
        swim: Swim,
        seal: Seal,
        socket: tokio::net::UdpSocket,
        me: Me,
        shared: Arc<Shared>,
        origin: Instant,
    ) -> Driver {
        let warnings = Warnings::new(origin);
        let (looked_at_me, stats) = (origin, GossipStats::default());
        Driver { swim, seal, socket, me, shared, origin, looked_at_me, warnings, stats }
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self) {
        be_nicer();
        // Until it has been asked once, the socket passes for one that has no room.
        if let Err(error) = self.socket.writable().await {
            tracing::warn!(%error, "gossip: the socket cannot be written to yet");
        }
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
                Oddity::Malformed { .. } => 1,
                Oddity::OtherCluster { .. } => 2,
                Oddity::OtherWire { .. } => 3,
                Oddity::SameId { .. } => 4,
            };
            if self.warnings.is_due(oddity.from().ip(), kind, Instant::now()) {
                tracing::warn!("gossip: {oddity}");
            }
        }
        self.stats.swim = self.swim.stats();
        *self.shared.stats.lock() = self.stats;
        if out.changed {
            let member = |member: SwimMember| Member {
                identity: member.identity,
                state: member.state,
                facts: member.facts,
                since: self.origin + member.since,
            };
            let members: Vec<Member> = self.swim.members().into_iter().map(member).collect();
            let before = std::mem::replace(&mut *self.shared.members.lock(), Arc::new(members.clone()));
            log_changes(&before, &members);
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

/// Tells operators who came and went.
fn log_changes(before: &[Member], now: &[Member]) {
    for member in now {
        let NodeIdentity { name, id, addr, .. } = &member.identity;
        let known = before.iter().find(|known| known.identity.id == *id);
        let is_next = known.is_some_and(|known| known.identity.boot != member.identity.boot);
        match (known.map(|known| known.state), member.state) {
            (_, Liveness::Up | Liveness::Suspect) if is_next => {
                tracing::info!("gossip: node '{name}' ({id}) at {addr} was started again");
            }
            (None | Some(Liveness::Down), Liveness::Up | Liveness::Suspect) => {
                tracing::info!("gossip: node '{name}' ({id}) at {addr} is up");
            }
            (Some(Liveness::Up), Liveness::Suspect) => {
                tracing::debug!("gossip: node '{name}' ({id}) at {addr} does not answer");
            }
            (Some(Liveness::Up | Liveness::Suspect), Liveness::Down) => {
                tracing::warn!("gossip: node '{name}' ({id}) at {addr} is down");
            }
            _ => {}
        }
    }
}

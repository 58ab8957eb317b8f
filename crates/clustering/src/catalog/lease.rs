//! Leases: how long a node may count on what the catalog's leader told it, and how long the leader has to
//! count on that node.
//!
//! Invariant: at any moment, on one clock, a node that holds a lease is one that the leader, or a later one,
//! still waits for. The holder counts from before it asked, and from when the leader last knew itself to be
//! the leader; the leader counts from its answer and adds what clocks may differ by.

use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use types::limits::{LEASE_DRIFT_MS, LEASE_MS};

/// How long a lease lasts for its holder.
pub const LEASE: Duration = Duration::from_millis(LEASE_MS);
/// How long the leader has to count on one that it granted.
pub const LEASE_AND_DRIFT: Duration = Duration::from_millis(LEASE_MS + LEASE_DRIFT_MS);

/// A clock that goes on while the machine is suspended.
pub trait Clock: Send + Sync {
    /// Time since some moment in the past.
    fn now(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The lease of this node.
#[derive(Default)]
pub(crate) struct Holder {
    /// In nanoseconds, for whoever asks often.
    until: AtomicU64,
    /// When the request was sent that was last granted, whether or not the lease holds yet.
    heard: AtomicU64,
    state: Mutex<HolderState>,
}

#[derive(Default)]
struct HolderState {
    /// What has to be applied here before a lease holds, and until when it does.
    waiting: VecDeque<(u64, Duration)>,
    applied: u64,
}

/// Leases that wait for something to be applied; older ones make way.
const WAITING_MAX: usize = 16;

impl Holder {
    /// Whether this node has a lease.
    pub(crate) fn is_held(&self, now: Duration) -> bool {
        nanos(now) < self.until.load(Ordering::Acquire)
    }

    /// When the cluster was last known to have a leader with a majority.
    pub(crate) fn heard(&self) -> Duration {
        Duration::from_nanos(self.heard.load(Ordering::Acquire))
    }

    /// A request that was sent at `sent` was granted by a leader that had known itself to be the leader
    /// `age` before its answer. The lease holds once the entry at `needs` is applied here.
    pub(crate) fn granted(&self, sent: Duration, age: Duration, needs: u64) {
        let Some(from) = sent.checked_sub(age) else { return };
        self.heard.fetch_max(nanos(from), Ordering::AcqRel);
        let mut state = self.state.lock();
        if state.waiting.len() == WAITING_MAX {
            state.waiting.pop_front();
        }
        state.waiting.push_back((needs, from + LEASE));
        self.settle(&mut state);
    }

    /// All up to the entry at `index` is applied here.
    pub(crate) fn applied(&self, index: u64) {
        let mut state = self.state.lock();
        state.applied = state.applied.max(index);
        self.settle(&mut state);
    }

    fn settle(&self, state: &mut HolderState) {
        let applied = state.applied;
        state.waiting.retain(|(needs, until)| {
            if *needs <= applied {
                self.until.fetch_max(nanos(*until), Ordering::AcqRel);
            }
            *needs > applied
        });
    }
}

/// What the leader knows of the other nodes' leases.
#[derive(Default)]
pub(crate) struct Book {
    state: Mutex<BookState>,
    /// Notified when a node has applied more, or a lease was granted.
    pub(crate) moved: Notify,
}

#[derive(Default)]
struct BookState {
    /// The term in which this node leads, and since when.
    term: u64,
    since: Duration,
    nodes: HashMap<u64, Tenant>,
}

#[derive(Clone, Copy, Default)]
struct Tenant {
    until: Duration,
    applied: u64,
}

impl Book {
    /// This node leads in `term`; unless that is known, every node may have a lease of the leader before.
    pub(crate) fn lead(&self, term: u64, now: Duration) {
        let mut state = self.state.lock();
        if term > state.term {
            *state = BookState { term, since: now, nodes: HashMap::new() };
        }
    }

    /// Grants a lease to a node that has applied entries up to the one at `applied`.
    pub(crate) fn grant(&self, node: u64, applied: u64, now: Duration) {
        let mut state = self.state.lock();
        let tenant = state.nodes.entry(node).or_default();
        tenant.until = tenant.until.max(now + LEASE_AND_DRIFT);
        tenant.applied = tenant.applied.max(applied);
        drop(state);
        self.moved.notify_waiters();
    }

    /// A node has applied entries up to the one at `index`.
    pub(crate) fn applied(&self, node: u64, index: u64) {
        let mut state = self.state.lock();
        let tenant = state.nodes.entry(node).or_default();
        tenant.applied = tenant.applied.max(index);
        drop(state);
        self.moved.notify_waiters();
    }

    /// What a node is known to have applied.
    pub(crate) fn known_applied(&self, node: u64) -> Option<u64> {
        self.state.lock().nodes.get(&node).map(|tenant| tenant.applied)
    }

    /// Until when a node may have a lease.
    pub(crate) fn leased_until(&self, node: u64) -> Duration {
        let state = self.state.lock();
        let until = state.nodes.get(&node).map_or(Duration::ZERO, |tenant| tenant.until);
        // Grants of the leader before are not known.
        until.max(state.since + LEASE_AND_DRIFT)
    }

    /// Until when at the latest the first of `nodes` may be serving clients without having applied the
    /// entry at `index`; None when none of them may now.
    pub(crate) fn blocked_until(&self, nodes: &BTreeSet<u64>, index: u64, now: Duration) -> Option<Duration> {
        let behind = |node: &&u64| self.known_applied(**node).is_none_or(|applied| applied < index);
        let leased = nodes.iter().filter(behind).map(|node| self.leased_until(*node));
        leased.filter(|until| *until > now).min()
    }
}

/// When the other nodes last took this one for the leader: the time of sending what they agreed to.
#[derive(Default)]
pub(crate) struct Acks {
    state: Mutex<(u64, HashMap<u64, Duration>)>,
}

impl Acks {
    /// A node agreed to what was sent at `sent` in `term`.
    pub(crate) fn agreed(&self, node: u64, term: u64, sent: Duration) {
        let mut state = self.state.lock();
        if term > state.0 {
            *state = (term, HashMap::new());
        }
        if term == state.0 {
            let last = state.1.entry(node).or_default();
            *last = (*last).max(sent);
        }
    }

    /// When a node last agreed to something of this one's.
    pub(crate) fn last(&self, node: u64) -> Option<Duration> {
        self.state.lock().1.get(&node).copied()
    }

    /// When this node, `me`, was last surely the leader in `term`: most nodes of each of `configs` agreed to
    /// something that was sent then or later.
    pub(crate) fn majority(
        &self,
        configs: &[BTreeSet<u64>],
        me: u64,
        term: u64,
        now: Duration,
    ) -> Option<Duration> {
        let state = self.state.lock();
        let last = |node: &u64| {
            if *node == me {
                return Some(now);
            }
            (state.0 == term).then(|| state.1.get(node).copied()).flatten()
        };
        let of = |config: &BTreeSet<u64>| {
            let mut times: Vec<Option<Duration>> = config.iter().map(last).collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times.get(config.len() / 2).copied().flatten()
        };
        configs.iter().map(of).min().flatten()
    }
}

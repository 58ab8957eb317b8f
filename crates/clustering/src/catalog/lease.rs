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
    state: Mutex<AckState>,
}

#[derive(Default)]
struct AckState {
    /// The term in which the nodes agreed.
    term: u64,
    agreed: HashMap<u64, Duration>,
    /// When anything at all was heard of a node.
    heard: HashMap<u64, Duration>,
}

impl Acks {
    /// A node agreed to what was sent at `sent` in `term`.
    pub(crate) fn agreed(&self, node: u64, term: u64, sent: Duration) {
        let mut state = self.state.lock();
        if term > state.term {
            (state.term, state.agreed) = (term, HashMap::new());
        }
        if term == state.term {
            let last = state.agreed.entry(node).or_default();
            *last = (*last).max(sent);
        }
    }

    /// A node asked or answered something.
    pub(crate) fn heard(&self, node: u64, now: Duration) {
        let mut state = self.state.lock();
        let last = state.heard.entry(node).or_default();
        *last = (*last).max(now);
    }

    /// Whether nothing was heard of a node for a time.
    pub(crate) fn is_silent(&self, node: u64, now: Duration, time: Duration) -> bool {
        self.state.lock().heard.get(&node).is_none_or(|at| now.saturating_sub(*at) >= time)
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
            (state.term == term).then(|| state.agreed.get(node).copied()).flatten()
        };
        let of = |config: &BTreeSet<u64>| {
            let mut times: Vec<Option<Duration>> = config.iter().map(last).collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times.get(config.len() / 2).copied().flatten()
        };
        configs.iter().map(of).min().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    #[test]
    fn a_lease_counts_from_the_request_and_from_what_the_leader_knew() {
        let holder = Holder::default();
        holder.applied(5);
        assert!(!holder.is_held(ms(10_000)));
        holder.granted(ms(10_000), ms(100), 5);
        assert_eq!(holder.heard(), ms(9_900));
        assert!(holder.is_held(ms(11_399)) && !holder.is_held(ms(11_400)));
        // An answer to an older request does not make it shorter.
        holder.granted(ms(9_000), ms(0), 5);
        assert!(holder.is_held(ms(11_399)));
        // An age beyond all time is no lease at all.
        holder.granted(ms(1), ms(50_000), 0);
        assert!(!holder.is_held(ms(11_400)));
    }

    #[test]
    fn a_lease_holds_once_what_it_needs_is_applied() {
        let holder = Holder::default();
        holder.granted(ms(10_000), ms(0), 7);
        holder.applied(6);
        assert!(!holder.is_held(ms(10_001)));
        holder.granted(ms(10_300), ms(0), 9);
        holder.applied(7);
        assert!(holder.is_held(ms(11_499)) && !holder.is_held(ms(11_500)));
        holder.applied(9);
        assert!(holder.is_held(ms(11_799)) && !holder.is_held(ms(11_800)));
        // However many wait: the newest are kept.
        for number in 0..100 {
            holder.granted(ms(12_000 + number), ms(0), 50);
        }
        holder.applied(50);
        assert!(holder.is_held(ms(13_598)) && !holder.is_held(ms(13_599)));
    }

    #[test]
    fn a_holder_never_counts_longer_than_the_leader() {
        // Whatever time messages take, and however long ago the leader was sure.
        for (way, age, drift) in [(0, 0, 0), (1, 0, 200), (700, 0, 199), (5, 1_400, 200), (2_000, 3, 100)] {
            let (holder, book) = (Holder::default(), Book::default());
            let (sent, answered) = (ms(10_000), ms(10_000 + way));
            book.grant(2, 0, answered);
            holder.granted(sent, ms(age), 0);
            let end = (10_000..20_000).find(|at| !holder.is_held(ms(*at))).unwrap();
            assert!(ms(end + drift) <= book.leased_until(2), "{way} {age}");
        }
    }

    #[test]
    fn a_new_leader_waits_for_leases_that_it_does_not_know() {
        let book = Book::default();
        book.lead(3, ms(10_000));
        let others = set(&[2, 3]);
        assert_eq!(book.blocked_until(&others, 5, ms(10_001)), Some(ms(11_700)));
        book.applied(2, 5);
        book.applied(3, 4);
        assert_eq!(book.blocked_until(&others, 5, ms(10_001)), Some(ms(11_700)));
        book.applied(3, 5);
        assert_eq!(book.blocked_until(&others, 5, ms(10_001)), None);
        // Later only for those it has granted itself.
        assert_eq!(book.blocked_until(&others, 6, ms(11_700)), None);
        book.grant(2, 5, ms(11_800));
        assert_eq!(book.blocked_until(&others, 6, ms(11_801)), Some(ms(13_500)));
        // The same term is no new leader, a later one is.
        book.lead(3, ms(20_000));
        assert_eq!(book.blocked_until(&others, 6, ms(20_000)), None);
        book.lead(4, ms(20_000));
        assert_eq!(book.known_applied(2), None);
        assert_eq!(book.blocked_until(&others, 1, ms(20_000)), Some(ms(21_700)));
    }

    #[test]
    fn a_majority_is_as_old_as_the_oldest_answer_it_needs() {
        let acks = Acks::default();
        let now = ms(1_000);
        let majority = |nodes: &[&[u64]]| {
            acks.majority(&nodes.iter().map(|nodes| set(nodes)).collect::<Vec<_>>(), 1, 7, now)
        };
        assert_eq!(majority(&[&[1]]), Some(now));
        assert_eq!(majority(&[&[1, 2, 3]]), None);
        acks.agreed(2, 7, ms(500));
        acks.agreed(3, 6, ms(900));
        assert_eq!(majority(&[&[1, 2, 3]]), Some(ms(500)));
        assert_eq!(majority(&[&[1, 2]]), Some(ms(500)));
        assert_eq!(majority(&[&[2, 3]]), None);
        assert_eq!(majority(&[&[1, 2, 3, 4, 5]]), None);
        acks.agreed(3, 7, ms(700));
        assert_eq!(majority(&[&[1, 2, 3]]), Some(ms(700)));
        assert_eq!(majority(&[&[1, 2, 3, 4, 5]]), Some(ms(500)));
        assert_eq!(majority(&[&[1], &[1, 2, 3, 4, 5]]), Some(ms(500)));
        assert_eq!(majority(&[&[1], &[2, 4]]), None);
        // What was agreed to in an earlier term means nothing in a later one.
        acks.agreed(2, 8, ms(800));
        assert_eq!(majority(&[&[1, 2, 3]]), None);
    }

    #[test]
    fn the_machines_clock_goes_on() {
        let before = BootClock.now();
        assert!(before > Duration::ZERO && BootClock.now() >= before);
    }
}

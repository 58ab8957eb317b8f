//! The log on a disk: openraft's own tests of it, what is read back, and what is refused.

use super::desk::Desk;
use super::lease::BootClock;
use super::log::LogStore;
use super::log_state::LogState;
use super::machine::{CatalogTarget, Machine};
use super::member::{Beginning, Member};
use super::proposal::{Group, payload};
use super::raft::{LogEntry, LogId, Meta, Payload, StorageError, Types, Vote};
use super::record::{Ballot, Membership, Record};
use super::snapshot::State;
use broker::catalog::{Catalog, Command, Outcome};
use bytes::Bytes;
use engine::storage::{ClusterLog, LogHandle};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EmptyNode, EntryPayload, StoredMembership};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::RealDisk;
use storage::wal::{EntryKind, Replay, ReplayedEntry, Wal, WalConfig, WalSink};
use tokio::sync::watch;
use types::{AmqpError, NodeId};

struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("leveret-cluster-log-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct NoSink;

impl WalSink for NoSink {
    fn committed(&self, _up_to: u64, _logs: &[u64]) {}
    fn checkpoint(&self, _up_to: u64, _logs: Vec<u64>) {}
    fn failed(&self, _why: &str) {}
    fn stalled(&self, _why: Option<&str>) {}
}

/// What was found, and a member who has read it.
struct Reader {
    member: Member,
    found: Vec<(EntryKind, Vec<u8>)>,
}

impl Replay for Reader {
    fn entry(&mut self, entry: ReplayedEntry<'_>) -> Result<(), String> {
        self.found.push((entry.kind, entry.head.to_vec()));
        self.member.replay(entry.kind, entry.head, entry.sequence)
    }
}

fn open(dir: &Path) -> (Reader, Arc<Wal>) {
    let mut reader = Reader { member: Member::new(NodeId(1)), found: Vec::new() };
    let mut config = WalConfig::new(dir.join("wal"));
    config.file_bytes = 4 * 1024 * 1024;
    let wal = Wal::open(Arc::new(RealDisk), config, &mut reader).unwrap();
    (reader, wal.start(Arc::new(NoSink)).unwrap())
}

fn replayed(records: &[(EntryKind, Vec<u8>)]) -> Result<Member, String> {
    let mut member = Member::new(NodeId(1));
    for (sequence, (kind, head)) in records.iter().enumerate() {
        member.replay(*kind, head, sequence as u64 + 1)?;
    }
    member.catalog(&[]).map(|_| member)
}

#[derive(Default)]
struct Plain(Mutex<Catalog>);

impl CatalogTarget for Plain {
    fn apply(&self, command: Command) -> Result<Outcome, AmqpError> {
        self.0.lock().apply(command, &mut Vec::new())
    }
    fn install(&self, catalog: Catalog) {
        *self.0.lock() = catalog;
    }
    fn snapshot(&self) -> Catalog {
        self.0.lock().clone()
    }
}

struct Builder;

struct Guard {
    wal: Arc<Wal>,
    _dir: Dir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.wal.stop();
    }
}

impl StoreBuilder<Types, LogStore, Machine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, Machine), StorageError> {
        let dir = Dir::new();
        let (_, wal) = open(&dir.0);
        let log = LogStore::new(LogState::default(), LogHandle::new(wal.clone()));
        let machine = Machine::new(
            Beginning::default(),
            Arc::<Plain>::default(),
            log.clone(),
            Arc::new(Desk::new(1)),
            Arc::new(BootClock),
            watch::Sender::new(None),
        );
        Ok((Guard { wal, _dir: dir }, log, machine))
    }
}

#[test]
fn the_log_and_the_machine_are_as_openraft_wants_them() {
    Suite::test_all(Builder).unwrap();
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn entry(term: u64, index: u64, count: u64) -> LogEntry {
    let payload = match index % 3 {
        0 => EntryPayload::Blank,
        1 => {
            let proposals = (0..count).map(|number| (number, &[1, 27][..])).collect();
            let group = Group { session: index, done_below: 0, proposals }.encode().unwrap();
            EntryPayload::Normal(Payload(payload([&group[..]].into_iter()).into()))
        }
        _ => EntryPayload::Membership(openraft::Membership::new(
            vec![BTreeSet::from([1, index])],
            BTreeMap::from([(1, EmptyNode {}), (index, EmptyNode {})]),
        )),
    };
    LogEntry { log_id: id(term, index), payload }
}

fn meta(last: LogId) -> Meta {
    let nodes = openraft::Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, EmptyNode {})]));
    let last_membership = StoredMembership::new(Some(last), nodes);
    Meta { last_log_id: Some(last), last_membership, snapshot_id: last.to_string() }
}

fn state_bytes() -> Bytes {
    State::default().encode().unwrap().into()
}

/// Something that openraft asks of a log.
#[derive(Clone, Debug)]
enum Step {
    Append {
        count: u64,
        each: u64,
    },
    Vote {
        term: u64,
    },
    Commit,
    /// Everything behind the committed entries goes, and the term is a new one.
    Truncate,
    Purge,
    Snapshot,
    Checkpoint,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..8u64, 0..60u64).prop_map(|(count, each)| Step::Append { count, each }),
        2 => (1..5u64).prop_map(|term| Step::Vote { term }),
        3 => Just(Step::Commit),
        1 => Just(Step::Truncate),
        1 => Just(Step::Purge),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Checkpoint),
    ]
}

/// Steps done on a log that forms a cluster first.
struct Story {
    log: LogStore,
    term: u64,
    next: u64,
    committed: LogId,
}

impl Story {
    async fn begin(wal: Arc<Wal>) -> Story {
        let log = LogStore::new(LogState::default(), LogHandle::new(wal));
        log.cast(Ballot { founder: 1, cluster: 7 }).await.unwrap();
        let first = id(0, 0);
        log.begin(Membership { cluster: 7, node: 1 }, Some((meta(first), state_bytes()))).await.unwrap();
        Story { log, term: 1, next: 1, committed: first }
    }

    async fn go(&mut self, step: &Step) {
        match step {
            Step::Append { count, each } => {
                let entries: Vec<LogEntry> =
                    (0..*count).map(|number| entry(self.term, self.next + number, *each)).collect();
                self.log.blocking_append(entries).await.unwrap();
                self.next += count;
            }
            Step::Vote { term } => {
                self.term += term;
                self.log.save_vote(&Vote::new(self.term, 1)).await.unwrap();
            }
            Step::Commit => {
                if let Some(last) = self.log.state().ends().last_log_id {
                    self.committed = last;
                }
                self.log.save_committed(Some(self.committed)).await.unwrap();
            }
            Step::Truncate => {
                self.next = self.committed.index + 1;
                self.term += 1;
                self.log.truncate(id(self.term, self.next)).await.unwrap();
            }
            Step::Purge => {
                let covered = self.log.state().snapshot().and_then(|(meta, _)| meta.last_log_id).unwrap();
                self.log.purge(covered).await.unwrap();
            }
            Step::Snapshot => self.log.keep_snapshot(meta(self.committed), state_bytes()).await.unwrap(),
            Step::Checkpoint => self.log.checkpoint().unwrap(),
        }
    }
}

async fn told(steps: Vec<Step>, dir: &Path) -> Vec<LogState> {
    let (_, wal) = open(dir);
    let mut story = Story::begin(wal.clone()).await;
    let mut states = vec![story.log.state().clone()];
    for step in &steps {
        story.go(step).await;
        states.push(story.log.state().clone());
    }
    wal.stop().unwrap();
    states
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_back_is_what_was_written(steps in prop::collection::vec(step(), 1..40)) {
        let dir = Dir::new();
        let states = run(told(steps, &dir.0));
        let (reader, wal) = open(&dir.0);
        wal.stop().unwrap();
        prop_assert!(reader.found.len() >= 3);
        // Each state along the way is there after some prefix of the records, in the same order.
        let mut wanted = states.iter().peekable();
        for count in 1..=reader.found.len() {
            let log = replayed(&reader.found[..count]).unwrap().log;
            prop_assert_eq!(&log, &read_log(&reader.found[..count]));
            while wanted.peek().is_some_and(|state| **state == log) {
                wanted.next();
            }
        }
        prop_assert!(wanted.next().is_none(), "a state is not read back");
        prop_assert_eq!(&read_log(&reader.found), states.last().unwrap());
    }
}

/// The log alone, record by record, as strictly as a start reads it.
fn read_log(records: &[(EntryKind, Vec<u8>)]) -> LogState {
    let mut log = LogState::default();
    for (_, head) in records {
        log.apply(Record::decode(head).unwrap()).unwrap();
    }
    log
}

#[test]
fn damaged_records_are_refused_or_said_to_be_what_they_are_not() {
    let dir = Dir::new();
    let steps = vec![
        Step::Append { count: 6, each: 10 },
        Step::Vote { term: 3 },
        Step::Commit,
        Step::Append { count: 3, each: 5 },
        Step::Truncate,
        Step::Purge,
    ];
    run(told(steps, &dir.0));
    let (reader, wal) = open(&dir.0);
    wal.stop().unwrap();
    for (_, head) in &reader.found {
        for end in 0..head.len() {
            assert!(Record::decode(&head[..end]).is_err(), "{head:?} cut at {end}");
        }
        let mut long = head.clone();
        long.push(0);
        assert!(Record::decode(&long).is_err());
        for at in 0..2 {
            let mut flipped = head.clone();
            flipped[at] ^= 0x40;
            let why = Record::decode(&flipped).unwrap_err();
            assert!(why.contains("format") || why.contains("kind"), "{why}");
        }
        // Whatever a flipped bit makes of it, nothing panics.
        for at in 2..head.len() {
            for bit in 0..8 {
                let mut flipped = head.clone();
                flipped[at] ^= 1 << bit;
                if let Ok(record) = Record::decode(&flipped) {
                    let _ = LogState::default().apply(record);
                }
            }
        }
    }
    // A record that is missing is noticed by those that follow it.
    let mut found = reader.found;
    let is_entry = |row: &(EntryKind, Vec<u8>)| matches!(Record::decode(&row.1), Ok(Record::Entry(_)));
    let at = found.iter().position(is_entry).unwrap();
    found.remove(at);
    let why = replayed(&found).unwrap_err();
    assert!(why.contains("is missing"), "{why}");
}

#[test]
fn a_log_that_was_ended_or_is_no_whole_is_refused() {
    let mut member = Member::new(NodeId(1));
    assert!(member.replay(EntryKind::End, &[], 1).unwrap_err().contains("ended"));
    let vote = Record::Vote(Vote::new(1, 1)).encode().unwrap();
    let snapshot = EntryKind::Snapshot { covers: 0, needs_from: None };
    assert!(member.replay(snapshot, &vote, 1).unwrap_err().contains("does not say all"));
    assert!(member.replay(EntryKind::Record, &[7, 1], 1).unwrap_err().contains("format 7"));
    // Nothing but a ballot: no member yet.
    let ballot = Record::Ballot(Ballot { founder: 3, cluster: 4 }).encode().unwrap();
    let mut member = replayed(&[(EntryKind::Record, ballot)]).unwrap();
    assert!(member.catalog(&[]).unwrap().is_none());
    assert_eq!(member.cluster(), None);
}

/// Records of format 1 as they are on disk for good.
#[test]
fn records_have_the_bytes_they_always_had() {
    let restart = vec![1, 0xac, 0x02, 1, 1, 2, 2, 1, 27];
    let normal = LogEntry { log_id: id(2, 5), payload: EntryPayload::Normal(Payload(restart.into())) };
    let blank = LogEntry { log_id: id(2, 4), payload: EntryPayload::Blank };
    for (record, bytes) in [
        (Record::Member(Membership { cluster: 300, node: 1 }), &[1, 1, 0xac, 0x02, 1][..]),
        (Record::Ballot(Ballot { founder: 9, cluster: 1 }), &[1, 2, 9, 1]),
        (Record::Vote(Vote::new(3, 200)), &[1, 3, 3, 0xc8, 0x01, 0]),
        (Record::Entry(blank), &[1, 4, 2, 1, 4, 0]),
        (Record::Entry(normal), &[1, 4, 2, 1, 5, 1, 9, 1, 0xac, 0x02, 1, 1, 2, 2, 1, 27]),
        (Record::Truncate(id(2, 7)), &[1, 5, 2, 1, 7]),
        (Record::Purge(id(2, 8)), &[1, 6, 2, 1, 8]),
        (Record::Committed(Some(id(1, 2))), &[1, 7, 1, 1, 1, 2]),
        (Record::Committed(None), &[1, 7, 0]),
        (Record::Whole(Box::default()), &[1, 8, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(record.encode().unwrap(), bytes, "{record:?}");
        assert_eq!(Record::decode(bytes).unwrap(), record);
    }
}

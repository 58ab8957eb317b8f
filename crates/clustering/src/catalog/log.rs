//! The log that openraft keeps, in the node's write-ahead log.
//!
//! Invariant: what is in memory and the order of records on the way to disk agree, both under one lock. A vote
//! counts, and entries are told to be stored, once the sync that covers them came back.

use super::log_state::LogState;
use super::raft::{LogEntry, LogId, Meta, StorageError, Types, Vote, entry_bytes};
use super::record::{Ballot, Membership, Record};
use bytes::Bytes;
use engine::storage::LogHandle;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState as Ends, OptionalSend, RaftLogReader, StorageIOError};
use parking_lot::{Mutex, MutexGuard};
use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::Arc;
use storage::wal::{EntryKind, Sequence};
use tokio::sync::oneshot;
use types::limits::CATALOG_BATCH_MAX_BYTES;

/// The log; clones are the same one.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<LogState>,
    disk: LogHandle,
}

impl LogStore {
    /// The log as it was found, on its way on.
    pub(crate) fn new(state: LogState, disk: LogHandle) -> LogStore {
        LogStore { shared: Arc::new(Shared { state: Mutex::new(state), disk }) }
    }

    /// A look at it; nothing is changed through this.
    pub(crate) fn state(&self) -> impl std::ops::Deref<Target = LogState> {
        self.shared.state.lock()
    }

    /// Writes records and does what they say.
    fn write(
        &self,
        state: &mut MutexGuard<'_, LogState>,
        records: Vec<Record>,
        urgent: bool,
    ) -> Result<Sequence, String> {
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            entries.push((EntryKind::Record, record.encode()?));
            state.apply(record)?;
        }
        Ok(self.shared.disk.append(entries, urgent))
    }

    fn write_one(&self, record: Record, urgent: bool) -> Result<Sequence, String> {
        self.write(&mut self.shared.state.lock(), vec![record], urgent)
    }

    /// Comes back when everything up to `sequence` is on disk.
    async fn synced(&self, sequence: Sequence) -> Result<(), String> {
        let (done, synced) = oneshot::channel();
        let tell = move || {
            let _ = done.send(());
        };
        self.shared.disk.after_sync(sequence, Box::new(tell));
        synced.await.map_err(|_| "the write-ahead log has failed or was stopped".to_owned())
    }

    /// The node becomes a member of a cluster, with what the catalog is there; comes back when that is kept.
    pub(crate) async fn begin(
        &self,
        membership: Membership,
        snapshot: Option<(Meta, Bytes)>,
    ) -> Result<(), String> {
        let sequence = {
            let mut state = self.shared.state.lock();
            self.write(&mut state, vec![Record::Member(membership)], false)?;
            if let Some((meta, data)) = snapshot {
                let purged = meta.last_log_id.map(Record::Purge);
                self.write(&mut state, purged.into_iter().collect(), false)?;
                state.keep_snapshot(meta, data);
            }
            self.write_whole(&state)?
        };
        self.synced(sequence).await
    }

    /// Casts the node's one vote on who forms a cluster; gives for whom it was cast, now or before.
    pub(crate) async fn cast(&self, ballot: Ballot) -> Result<Ballot, String> {
        let (cast, sequence) = {
            let mut state = self.shared.state.lock();
            match state.ballot() {
                Some(cast) => (cast, self.shared.disk.last_sequence()),
                None => (ballot, self.write(&mut state, vec![Record::Ballot(ballot)], true)?),
            }
        };
        self.synced(sequence).await?;
        Ok(cast)
    }

    /// Writes all of it as one record, so that the files of the earlier ones can go.
    pub(crate) fn checkpoint(&self) -> Result<(), String> {
        let state = self.shared.state.lock();
        if state.is_empty() {
            return Ok(());
        }
        self.write_whole(&state).map(drop)
    }

    fn write_whole(&self, state: &MutexGuard<'_, LogState>) -> Result<Sequence, String> {
        let bytes = state.whole().encode()?;
        // Nothing else is appended to this log meanwhile: all that was is in `state`.
        let covers = self.shared.disk.last_sequence();
        let kind = EntryKind::Snapshot { covers, needs_from: None };
        Ok(self.shared.disk.append(vec![(kind, bytes)], true))
    }

    /// Keeps a catalog; comes back when it is on disk.
    pub(crate) async fn keep_snapshot(&self, meta: Meta, data: Bytes) -> Result<(), String> {
        let sequence = {
            let mut state = self.shared.state.lock();
            state.keep_snapshot(meta, data);
            self.write_whole(&state)?
        };
        self.synced(sequence).await
    }
}

fn writing(why: String) -> StorageError {
    StorageIOError::write_logs(AnyError::error(why)).into()
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<LogEntry>, StorageError> {
        Ok(self.shared.state.lock().entries(&range).cloned().collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<LogEntry>, StorageError> {
        let (mut bytes, state) = (0, self.shared.state.lock());
        let fits = |entry: &&LogEntry| {
            let is_first = bytes == 0;
            bytes += entry_bytes(entry);
            is_first || bytes <= CATALOG_BATCH_MAX_BYTES
        };
        Ok(state.entries(&(start..end)).take_while(fits).cloned().collect())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<Ends<Types>, StorageError> {
        Ok(self.shared.state.lock().ends())
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let failed = |why| StorageError::from(StorageIOError::write_vote(AnyError::error(why)));
        let sequence = self.write_one(Record::Vote(*vote), true).map_err(failed)?;
        self.synced(sequence).await.map_err(failed)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.shared.state.lock().vote())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        // Only a hint for the next start: nobody waits for it.
        self.write_one(Record::Committed(committed), false).map(drop).map_err(writing)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.shared.state.lock().committed())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(Record::Entry).collect();
        let sequence = self.write(&mut self.shared.state.lock(), records, true).map_err(writing)?;
        // If the log fails the callback is dropped, which openraft takes for an error.
        self.shared.disk.after_sync(sequence, Box::new(move || callback.log_io_completed(Ok(()))));
        Ok(())
    }

    async fn truncate(&mut self, id: LogId) -> Result<(), StorageError> {
        let sequence = self.write_one(Record::Truncate(id), true).map_err(writing)?;
        self.synced(sequence).await.map_err(writing)
    }

    async fn purge(&mut self, id: LogId) -> Result<(), StorageError> {
        self.write_one(Record::Purge(id), false).map(drop).map_err(writing)
    }
}

//! The state machine: committed entries on their way into the catalog of this node.
//!
//! Invariant: entries are applied once and in order; a snapshot is a picture of one moment between two of
//! them, encoded and written while others are applied.

use super::desk::Desk;
use super::lease::Clock;
use super::log::LogStore;
use super::member::Beginning;
use super::proposal::{self, Answer, Answers};
use super::raft::{LogEntry, LogId, Membership, Meta, StorageError, Types};
use super::sessions::Sessions;
use super::snapshot::State;
use broker::catalog::{Catalog, Command, Outcome};
use bytes::Bytes;
use engine::catalog::CatalogStore;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder, Snapshot,
    StorageIOError, StoredMembership,
};
use parking_lot::Mutex;
use std::io::Cursor;
use std::sync::Arc;
use tokio::sync::watch;
use types::AmqpError;

/// The catalog of this node, as the cluster changes it.
pub trait CatalogTarget: Send + Sync + 'static {
    /// Applies a committed change. It need not show before `publish`.
    ///
    /// # Errors
    /// What the catalog refuses, the same on every node.
    fn apply(&self, command: Command) -> Result<Outcome, AmqpError>;

    /// Shows everybody what was applied.
    fn publish(&self) {}

    /// Whether applying a change may take so long that heartbeats would have to wait for it.
    fn is_heavy(&self, _command: &Command) -> bool {
        false
    }

    /// Takes another catalog in place of the one that is there.
    fn install(&self, catalog: Catalog);

    /// The catalog as it is.
    fn snapshot(&self) -> Catalog;

    /// Changes go to `store` from now on.
    fn take_over(&self, _store: Arc<dyn CatalogStore>) {}

    /// Ends changes that this node makes alone; gives the catalog they came to.
    fn hand_over(&self) -> Catalog {
        self.snapshot()
    }

    /// All that the cluster had agreed on when it was asked, after this node had started, is applied here.
    fn caught_up(&self) {}
}

/// The state machine.
pub(crate) struct Machine {
    shared: Arc<Shared>,
}

struct Shared {
    target: Arc<dyn CatalogTarget>,
    log: LogStore,
    desk: Arc<Desk>,
    clock: Arc<dyn Clock>,
    applied: watch::Sender<Option<LogId>>,
    position: Mutex<Position>,
}

/// Where in the log the catalog stands, and what comes with it.
#[derive(Clone)]
struct Position {
    sessions: Sessions,
    applied: Option<LogId>,
    membership: Membership,
}

impl Machine {
    /// A machine at the state that a member begins with; `target` has its catalog already. What is applied
    /// is told through `applied`.
    pub(crate) fn new(
        beginning: Beginning,
        target: Arc<dyn CatalogTarget>,
        log: LogStore,
        desk: Arc<Desk>,
        clock: Arc<dyn Clock>,
        applied: watch::Sender<Option<LogId>>,
    ) -> Machine {
        let Beginning { state, applied: at, membership } = beginning;
        applied.send_replace(at);
        let position = Mutex::new(Position { sessions: state.sessions, applied: at, membership });
        Machine { shared: Arc::new(Shared { target, log, desk, clock, applied, position }) }
    }
}

impl Shared {
    fn apply(&self, entry: &LogEntry) -> Result<Answers, String> {
        let mut position = self.position.lock();
        let mut answers = Vec::new();
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(nodes) => {
                position.membership = StoredMembership::new(Some(entry.log_id), nodes.clone());
            }
            EntryPayload::Normal(payload) => {
                let index = entry.log_id.index;
                self.apply_payload(&mut position.sessions, index, &payload.0, &mut answers)?;
            }
        }
        position.applied = Some(entry.log_id);
        Ok(Answers(answers))
    }

    fn apply_payload(
        &self,
        sessions: &mut Sessions,
        index: u64,
        payload: &[u8],
        answers: &mut Vec<Answer>,
    ) -> Result<(), String> {
        let mut outcomes = Vec::new();
        for group in proposal::groups(payload)? {
            let own = group.session == self.desk.session();
            let mut apply = |command| self.target.apply(command);
            let mut told = |number, outcome: Option<_>| {
                outcomes.extend(outcome.filter(|_| own).map(|outcome| (number, outcome)));
            };
            sessions.apply(&group, index, answers, &mut apply, &mut told)?;
        }
        // Whoever is told of a change finds it done.
        self.target.publish();
        self.desk.applied(outcomes, self.clock.now());
        Ok(())
    }

    /// Whether applying an entry may take long.
    fn is_heavy(&self, entry: &LogEntry) -> bool {
        /// More than this is not a few declarations.
        const LIGHT_MAX_BYTES: usize = 64 * 1024;
        let EntryPayload::Normal(payload) = &entry.payload else { return false };
        if payload.0.len() > LIGHT_MAX_BYTES {
            return true;
        }
        let is_heavy =
            |bytes: &[u8]| Command::decode(bytes).is_ok_and(|command| self.target.is_heavy(&command));
        let groups = proposal::groups(&payload.0).unwrap_or_default();
        groups.iter().flat_map(|group| &group.proposals).any(|(_, command)| is_heavy(command))
    }

    /// Tells that all up to `id` is applied.
    fn tell_applied(&self, id: Option<LogId>) {
        if let Some(id) = id {
            self.desk.reached(id.index, || self.target.snapshot());
        }
        self.applied.send_replace(id);
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let position = self.shared.position.lock();
        Ok((position.applied, position.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answers>, StorageError>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        let mut last = None;
        for entry in entries {
            let id = entry.log_id;
            let applied = if self.shared.is_heavy(&entry) {
                let shared = self.shared.clone();
                tokio::task::spawn_blocking(move || shared.apply(&entry)).await.map_err(stopped)?
            } else {
                self.shared.apply(&entry)
            };
            answers.push(applied.map_err(|why| StorageIOError::apply(id, AnyError::error(why)))?);
            last = Some(id);
        }
        self.shared.tell_applied(last);
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let position = self.shared.position.lock().clone();
        let (log, session) = (self.shared.log.clone(), self.shared.desk.session());
        Builder { catalog: self.shared.target.snapshot(), position, log, session }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let data = Bytes::from(snapshot.into_inner());
        let (shared, bytes, at) = (self.shared.clone(), data.clone(), meta.clone());
        let install = move || {
            let state = State::decode(&bytes)?;
            let mut position = shared.position.lock();
            shared.target.install(state.catalog);
            *position = Position {
                sessions: state.sessions,
                applied: at.last_log_id,
                membership: at.last_membership,
            };
            Ok::<(), String>(())
        };
        tokio::task::spawn_blocking(install).await.map_err(stopped)?.map_err(|why| reading(meta, why))?;
        self.shared.log.keep_snapshot(meta.clone(), data).await.map_err(|why| keeping(meta, why))?;
        self.shared.tell_applied(meta.last_log_id);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let kept = self.shared.log.state().snapshot().map(|(meta, data)| (meta.clone(), data.clone()));
        Ok(kept.map(|(meta, data)| Snapshot { meta, snapshot: Box::new(Cursor::new(data.to_vec())) }))
    }
}

/// Makes a snapshot of one moment.
pub(crate) struct Builder {
    catalog: Catalog,
    position: Position,
    log: LogStore,
    /// Whose snapshot it is: pieces of two nodes' are never put together.
    session: u64,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let Position { sessions, applied, membership } = self.position.clone();
        let at = applied.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let snapshot_id = format!("{at} of {:016x}", self.session);
        let meta = Meta { last_log_id: applied, last_membership: membership, snapshot_id };
        let state = State { sessions, catalog: self.catalog.clone() };
        let encoded = tokio::task::spawn_blocking(move || state.encode()).await.map_err(stopped)?;
        let data = Bytes::from(encoded.map_err(|why| keeping(&meta, why))?);
        self.log.keep_snapshot(meta.clone(), data.clone()).await.map_err(|why| keeping(&meta, why))?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(data.to_vec())) })
    }
}

fn stopped(_: tokio::task::JoinError) -> StorageError {
    let why = AnyError::error("the node is stopping");
    StorageIOError::new(ErrorSubject::StateMachine, ErrorVerb::Write, why).into()
}

fn reading(meta: &Meta, why: String) -> StorageError {
    StorageIOError::read_snapshot(Some(meta.signature()), AnyError::error(why)).into()
}

fn keeping(meta: &Meta, why: String) -> StorageError {
    StorageIOError::write_snapshot(Some(meta.signature()), AnyError::error(why)).into()
}

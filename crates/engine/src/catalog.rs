//! The catalog in this node: the machine, its published picture, and the store it is changed through.
//!
//! Invariant: the picture that connections read is replaced as a whole after each change, or after what a cluster has
//! committed together; a queue exists before a route can name it and refuses messages before its row is gone from the picture.

use crate::node::Broker;
use crate::storage::CatalogLog;
use arc_swap::{ArcSwap, Guard};
use broker::catalog::{Catalog, Command, Event, Outcome};
use parking_lot::{Mutex, MutexGuard};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use types::AmqpError;

/// The future of a change.
pub type Change<'a> = Pin<Box<dyn Future<Output = Result<Outcome, AmqpError>> + Send + 'a>>;

/// How the catalog is changed: here, or by agreement of a cluster.
///
/// To ensure correctness an implementation applies commands in one order on every node and answers
/// only once the change is applied on the node that answers.
pub trait CatalogStore: Send + Sync {
    /// Changes the catalog.
    fn propose(&self, command: Command) -> Change<'_>;
}

/// The catalog's state on this node.
pub struct CatalogMachine {
    state: Mutex<Catalog>,
    published: ArcSwap<Catalog>,
    /// What follows from committed changes that are in the state and not in the picture yet.
    unpublished: Mutex<Vec<Event>>,
    log: Option<CatalogLog>,
    /// The catalog is a cluster's: this node changes nothing by itself. Set under the lock of the state.
    shared: AtomicBool,
}

impl CatalogMachine {
    /// Starts with a catalog, whose changes go to a log if there is one.
    pub(crate) fn new(catalog: Catalog, log: Option<CatalogLog>) -> CatalogMachine {
        let published = ArcSwap::from_pointee(catalog.clone());
        CatalogMachine {
            published,
            state: Mutex::new(catalog),
            unpublished: Mutex::default(),
            log,
            shared: AtomicBool::new(false),
        }
    }

    pub(crate) fn log(&self) -> Option<&CatalogLog> {
        self.log.as_ref()
    }

    /// Puts the catalog as a whole into its log, so that earlier changes can be forgotten.
    pub(crate) fn checkpoint(&self) {
        let Some(log) = &self.log else { return };
        if self.shared.load(Ordering::Acquire) {
            return;
        }
        let (catalog, covers) = {
            let state = self.state.lock();
            (state.clone(), log.position())
        };
        log.checkpoint(catalog.encode(), covers);
    }

    /// The current picture.
    #[inline]
    pub fn current(&self) -> Guard<Arc<Catalog>> {
        self.published.load()
    }

    /// The state, unless somebody else holds it for longer than a serving thread may wait.
    fn try_lock(&self) -> Option<MutexGuard<'_, Catalog>> {
        self.state.try_lock_for(CONTENTION_MAX)
    }

    /// Ends changes by this node alone; gives the catalog that they came to.
    pub(crate) fn hand_over(&self) -> Catalog {
        let state = self.state.lock();
        self.shared.store(true, Ordering::Release);
        state.clone()
    }

    /// Applies a command that a cluster has committed. It is published with those after it, see `publish`, unless what
    /// follows from it must not come later than what follows from them.
    pub(crate) fn apply_committed(&self, broker: &Broker, command: Command) -> Result<Outcome, AmqpError> {
        let only_adds = only_adds(&command);
        if !only_adds {
            self.publish(broker);
        }
        let outcome = self.state.lock().apply(command, &mut self.unpublished.lock());
        if !only_adds {
            self.publish(broker);
        }
        outcome
    }

    /// Publishes what was applied since the last picture.
    pub(crate) fn publish(&self, broker: &Broker) {
        let state = self.state.lock();
        let events = std::mem::take(&mut *self.unpublished.lock());
        if state.version != self.published.load().version {
            broker.before_publication(&events);
            self.published.store(Arc::new(state.clone()));
        }
        drop(state);
        broker.after_publication(events);
    }

    /// Takes another catalog in place of this one and publishes it.
    pub(crate) fn install(&self, broker: &Broker, catalog: Catalog) {
        self.publish(broker);
        let mut state = self.state.lock();
        let events = state.difference(&catalog);
        broker.before_publication(&events);
        self.published.store(Arc::new(catalog.clone()));
        *state = catalog;
        drop(state);
        broker.after_publication(events);
    }

    /// Applies a command, appends it to the log and publishes the new picture.
    fn apply(&self, mut state: MutexGuard<'_, Catalog>, broker: &Broker, command: Command) -> Applied {
        if self.shared.load(Ordering::Acquire) {
            return Applied { outcome: Err(handed_over()), events: Vec::new(), committed: None };
        }
        let record = self.log.as_ref().map(|_| {
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            (bytes, command.is_durable(&state))
        });
        let mut events = Vec::new();
        let outcome = state.apply(command, &mut events);
        let mut committed = None;
        if let Ok(outcome) = &outcome {
            if let (Some(log), Some((bytes, durable))) = (&self.log, record) {
                committed = if outcome.changed() { log.append(bytes, durable) } else { log.settled() };
            }
            broker.before_publication(&events);
            self.published.store(Arc::new(state.clone()));
        }
        Applied { outcome, events, committed }
    }
}

/// What a command came to.
struct Applied {
    outcome: Result<Outcome, AmqpError>,
    /// What follows from it.
    events: Vec<Event>,
    /// What its answer waits for.
    committed: Option<oneshot::Receiver<()>>,
}

/// How long a thread that serves clients waits for the catalog's lock.
const CONTENTION_MAX: Duration = Duration::from_micros(200);
/// Changes that touch more bindings than this are made off the threads that serve clients.
const BINDINGS_INLINE_MAX: usize = 500;

/// The store of a single node: changes are applied at once.
pub struct LocalCatalogStore {
    broker: Weak<Broker>,
}

impl LocalCatalogStore {
    /// A store for the broker that owns it.
    pub fn new(broker: Weak<Broker>) -> LocalCatalogStore {
        LocalCatalogStore { broker }
    }
}

fn stopped() -> AmqpError {
    AmqpError::internal_error("the node is stopping")
}

fn handed_over() -> AmqpError {
    AmqpError::internal_error("the catalog is being handed over to the cluster; try again")
}

impl CatalogStore for LocalCatalogStore {
    fn propose(&self, command: Command) -> Change<'_> {
        let Some(broker) = self.broker.upgrade() else {
            return Box::pin(std::future::ready(Err(stopped())));
        };
        if !is_heavy(&broker.catalog(), &command)
            && let Some(state) = broker.catalog_machine().try_lock()
        {
            let applied = broker.catalog_machine().apply(state, &broker, command);
            broker.after_publication(applied.events);
            return Box::pin(answer(applied.outcome, applied.committed));
        }
        Box::pin(async move {
            let apply = move || {
                let machine = broker.catalog_machine();
                let applied = machine.apply(machine.state.lock(), &broker, command);
                broker.after_publication(applied.events);
                broker.flush();
                (applied.outcome, applied.committed)
            };
            let (outcome, committed) = tokio::task::spawn_blocking(apply).await.map_err(|_| stopped())?;
            answer(outcome, committed).await
        })
    }
}

/// The answer to a change leaves when the change is durable.
async fn answer(
    outcome: Result<Outcome, AmqpError>,
    committed: Option<oneshot::Receiver<()>>,
) -> Result<Outcome, AmqpError> {
    if let Some(committed) = committed {
        committed.await.map_err(|_| stopped())?;
    }
    outcome
}

/// Whether all that follows from a change is that something is there that was not.
fn only_adds(command: &Command) -> bool {
    match command {
        Command::DeclareQueue { .. } | Command::DeclareExchange { .. } | Command::Bind { .. } => true,
        Command::DeclareAt { command, .. } => only_adds(command),
        _ => false,
    }
}

/// Whether a change takes longer than a thread that serves clients may be away.
pub(crate) fn is_heavy(catalog: &Catalog, command: &Command) -> bool {
    match command {
        Command::DeleteQueue { vhost, name, .. } => catalog
            .vhost(vhost.as_str())
            .is_some_and(|vhost| vhost.bindings_of_queue(name.as_str()).nth(BINDINGS_INLINE_MAX).is_some()),
        Command::DeleteExchange { vhost, name, .. } => catalog
            .vhost(vhost.as_str())
            .is_some_and(|vhost| vhost.bindings_from(name.as_str()).nth(BINDINGS_INLINE_MAX).is_some()),
        Command::DeleteVhost { .. }
        | Command::SetPolicy { .. }
        | Command::ClearPolicy { .. }
        | Command::Restart => true,
        _ => false,
    }
}

//! The catalog in this node: the machine, its published picture, and the store it is changed through.
//!
//! Invariant: the picture that connections read is replaced as a whole after each change; a queue
//! exists before a route can name it and refuses messages before its row is gone from the picture.

use crate::node::Broker;
use arc_swap::{ArcSwap, Guard};
use broker::catalog::{Catalog, Command, Event, Outcome};
use parking_lot::{Mutex, MutexGuard};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
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
}

impl CatalogMachine {
    /// Starts with a catalog.
    pub fn new(catalog: Catalog) -> CatalogMachine {
        CatalogMachine { published: ArcSwap::from_pointee(catalog.clone()), state: Mutex::new(catalog) }
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

    /// Applies a command and publishes the new picture.
    fn apply(&self, mut state: MutexGuard<'_, Catalog>, broker: &Broker, command: Command) -> Applied {
        let mut events = Vec::new();
        let outcome = state.apply(command, &mut events);
        if outcome.is_ok() {
            broker.before_publication(&events);
            self.published.store(Arc::new(state.clone()));
        }
        (outcome, events)
    }
}

/// What a command came to, and what follows from it.
type Applied = (Result<Outcome, AmqpError>, Vec<Event>);

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

impl CatalogStore for LocalCatalogStore {
    fn propose(&self, command: Command) -> Change<'_> {
        let Some(broker) = self.broker.upgrade() else {
            return Box::pin(std::future::ready(Err(stopped())));
        };
        if !is_heavy(&broker.catalog(), &command)
            && let Some(state) = broker.catalog_machine().try_lock()
        {
            let (outcome, events) = broker.catalog_machine().apply(state, &broker, command);
            broker.after_publication(events);
            return Box::pin(std::future::ready(outcome));
        }
        Box::pin(async move {
            let apply = move || {
                let machine = broker.catalog_machine();
                let (outcome, events) = machine.apply(machine.state.lock(), &broker, command);
                broker.after_publication(events);
                broker.flush();
                outcome
            };
            tokio::task::spawn_blocking(apply).await.unwrap_or_else(|_| Err(stopped()))
        })
    }
}

fn is_heavy(catalog: &Catalog, command: &Command) -> bool {
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

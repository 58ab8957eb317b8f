//! The catalog in this node: the machine, its published picture, and the store it is changed through.
//!
//! Invariant: the picture that connections read is replaced as a whole after each change; a queue
//! exists before a route can name it and refuses messages before its row is gone from the picture.

use crate::node::Broker;
use arc_swap::{ArcSwap, Guard};
use broker::catalog::{Catalog, Command, Event, Outcome};
use parking_lot::Mutex;
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

    /// Applies a command here; None when somebody else holds the catalog for long.
    fn apply(&self, broker: &Broker, command: Command, patient: bool) -> Result<Applied, Command> {
        let mut state = if patient {
            self.state.lock()
        } else {
            match self.state.try_lock_for(CONTENTION_MAX) {
                Some(state) => state,
                None => return Err(command),
            }
        };
        let mut events = Vec::new();
        let outcome = state.apply(command, &mut events);
        if outcome.is_ok() && !events.is_empty() {
            broker.before_publication(&events);
        }
        if outcome.is_ok() {
            self.published.store(Arc::new(state.clone()));
        }
        Ok((outcome, events))
    }
}

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
        let command = if is_heavy(&broker.catalog(), &command) {
            command
        } else {
            match broker.catalog_machine().apply(&broker, command, false) {
                Ok((outcome, events)) => {
                    broker.after_publication(events);
                    return Box::pin(std::future::ready(outcome));
                }
                Err(command) => command,
            }
        };
        Box::pin(async move {
            let apply = move || match broker.catalog_machine().apply(&broker, command, true) {
                Ok((outcome, events)) => {
                    broker.after_publication(events);
                    broker.flush();
                    outcome
                }
                Err(_) => Err(stopped()),
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
        Command::DeleteVhost { .. } | Command::SetPolicy { .. } | Command::ClearPolicy { .. } => true,
        _ => false,
    }
}

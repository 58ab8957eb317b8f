//! Changes of the catalog that a cluster has agreed on, as they reach this node's picture.
//!
//! Invariant: once the catalog is a cluster's, nothing else changes the picture; what is applied here was
//! committed there, in the same order on every node.

use crate::catalog::{CatalogStore, is_heavy};
use crate::node::Broker;
use crate::storage::Checkpoint;
use broker::catalog::{Catalog, Command, Outcome};
use std::sync::Arc;
use types::AmqpError;

impl Broker {
    /// Applies a committed change: like a change of a single node's own, but kept by the cluster's log. Everybody sees
    /// it at the latest when it is published.
    ///
    /// # Errors
    /// What the catalog refuses, the same on every node.
    pub fn apply_committed(&self, command: Command) -> Result<Outcome, AmqpError> {
        self.catalog_machine().apply_committed(self, command)
    }

    /// Lets everybody see what was applied.
    pub fn publish_committed(&self) {
        self.catalog_machine().publish(self);
        self.wake_claimed();
        self.flush();
    }

    /// Whether a change is so large that a thread with other duties should not apply it.
    pub fn is_heavy_change(&self, command: &Command) -> bool {
        is_heavy(&self.catalog(), command)
    }

    /// Takes over a newer catalog as a whole, and does what follows from the difference.
    pub fn install_catalog(&self, catalog: Catalog) {
        self.catalog_machine().install(self, catalog);
        self.wake_claimed();
        self.flush();
    }

    /// Gives the catalog of a single node to the cluster that begins with it. From now on this node makes
    /// no changes of its own; they fail until `set_catalog_store`.
    pub fn hand_over_catalog(&self) -> Catalog {
        self.catalog_machine().hand_over()
    }

    /// Changes go to this store from now on; the log of the node's own catalog ends.
    pub fn set_catalog_store(&self, store: Arc<dyn CatalogStore>) {
        self.catalog_machine().hand_over();
        *self.store.write() = store;
        if self.catalog_machine().log().is_some()
            && let Some(storage) = self.storage()
        {
            storage.end_catalog_log();
        }
    }

    /// Has `checkpoint` called when the cluster's log should append a snapshot of itself.
    pub fn set_cluster_checkpoint(&self, checkpoint: Checkpoint) {
        self.cluster_checkpoint.set(checkpoint);
    }
}

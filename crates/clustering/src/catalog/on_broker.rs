//! The broker of this node as the place where agreed changes are applied.

use super::group::{CatalogGroup, GroupConfig};
use super::machine::CatalogTarget;
use super::member::Member;
use super::network::Rpc;
use broker::catalog::{Catalog, Command, Outcome};
use engine::Broker;
use engine::catalog::CatalogStore;
use std::sync::Arc;
use types::AmqpError;

/// The broker. It knows the group by a weak reference only.
struct BrokerTarget(Arc<Broker>);

impl CatalogTarget for BrokerTarget {
    fn apply(&self, command: Command) -> Result<Outcome, AmqpError> {
        self.0.apply_committed(command)
    }

    fn publish(&self) {
        self.0.publish_committed();
    }

    fn is_heavy(&self, command: &Command) -> bool {
        self.0.is_heavy_change(command)
    }

    fn install(&self, catalog: Catalog) {
        self.0.install_catalog(catalog);
    }

    fn snapshot(&self) -> Catalog {
        (**self.0.catalog()).clone()
    }

    fn take_over(&self, store: Arc<dyn CatalogStore>) {
        self.0.set_catalog_store(store);
    }

    fn hand_over(&self) -> Catalog {
        self.0.hand_over_catalog()
    }

    fn caught_up(&self) {
        self.0.drop_unclaimed();
    }
}

impl CatalogGroup {
    /// Starts the group of a broker that was opened with `member`; the broker's changes go through it as soon
    /// as the node is in a cluster.
    ///
    /// # Errors
    /// Why it cannot start.
    pub async fn start_on(
        config: GroupConfig,
        member: Member,
        broker: &Arc<Broker>,
        rpc: Arc<dyn Rpc>,
    ) -> Result<Arc<CatalogGroup>, String> {
        let storage = broker.storage().ok_or("a member of a cluster needs a data directory")?;
        let target = Arc::new(BrokerTarget(broker.clone()));
        let group = CatalogGroup::start(config, member, storage.cluster_log(), target, rpc).await?;
        let weak = Arc::downgrade(&group);
        broker.set_cluster_checkpoint(Arc::new(move || {
            if let Some(group) = weak.upgrade()
                && let Err(why) = group.checkpoint()
            {
                tracing::error!("the cluster's log cannot be made shorter: {why}");
            }
        }));
        Ok(group)
    }
}

//! basic.get, and the catalog's rows a channel's checks need.

use super::Channel;
use broker::catalog::{Catalog, User, Vhost};
use broker::queue::QueueKind;
use engine::QueueCommand;
use std::sync::Arc;
use tokio::sync::oneshot;
use types::AmqpError;

impl Channel {
    pub(super) fn vhost_row<'a>(&self, catalog: &'a Catalog) -> Result<&'a Arc<Vhost>, AmqpError> {
        let name = &self.session.vhost;
        catalog.vhost(name.as_str()).ok_or_else(|| AmqpError::not_allowed(format!("vhost {name} not found")))
    }

    pub(super) fn user_row<'a>(&self, catalog: &'a Catalog) -> Result<&'a Arc<User>, AmqpError> {
        let name = &self.session.user;
        let user = catalog.users.get(name.as_str());
        user.ok_or_else(|| AmqpError::access_refused(format!("user '{name}' does not exist any more")))
    }

    pub(crate) async fn get(&mut self, queue: &str, no_ack: bool) -> Result<(), AmqpError> {
        let name = self.queue_name(queue)?;
        let queue = self.readable_queue(&name)?;
        let row = queue.row();
        if row.config.single_active_consumer && row.kind == QueueKind::Quorum {
            return Err(AmqpError::resource_locked(format!(
                "cannot obtain access to locked queue '{name}' in vhost '{}'. basic.get operations are not \
                 supported by {} queues with single active consumer",
                row.vhost,
                row.kind.as_str()
            )));
        }
        let (done, gone) = oneshot::channel();
        let broker = self.port.port.broker.clone();
        broker.post(&queue, QueueCommand::Get { no_ack, outlet: self.outlet.clone(), done });
        gone.await.map_err(|_| queue.no_answer())
    }
}

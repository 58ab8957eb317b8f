//! Whether a command changes what survives a restart.
//!
//! Invariant: a command of which the answer is no leaves the same durable rows as before, ids and versions
//! aside. A yes may be for nothing: the row was there already, or the command is refused.

use super::command::Event;
use super::exchange::Exchange;
use super::vhost::Vhost;
use super::{Binding, Catalog, Command, Destination};
use std::sync::Arc;

impl Command {
    /// Whether anything that survives a restart is different after the command, so that its answer has to
    /// wait for the disk. Judged against the catalog as it is before the command.
    ///
    /// What is declared or bound once more counts as different: the row may still be on its way to the disk.
    pub fn is_durable(&self, catalog: &Catalog) -> bool {
        match self {
            Command::DeclareExchange { durable, .. } => *durable,
            Command::DeclareQueue { durable, exclusive, .. } => *durable && !exclusive,
            Command::Bind { vhost, binding } => {
                catalog.vhost(vhost.as_str()).is_some_and(|vhost| vhost.is_durable_binding(binding))
            }
            Command::Unbind { .. }
            | Command::DeleteQueue { .. }
            | Command::DeleteExchange { .. }
            | Command::DeleteExclusive { .. } => self.takes_durable_rows(catalog),
            // What a restart takes is not there after the next one either.
            Command::SetTracing { .. } | Command::Restart => false,
            Command::DeclareAt { command, .. } => command.is_durable(catalog),
            Command::FormCluster { .. }
            | Command::PutNode { .. }
            | Command::NodeLost { .. }
            | Command::ForgetNode { .. }
            | Command::ChangeCopies { .. }
            | Command::AddVhost { .. }
            | Command::DeleteVhost { .. }
            | Command::SetVhostLimit { .. }
            | Command::ClearVhostLimit { .. }
            | Command::PutUser { .. }
            | Command::DeleteUser { .. }
            | Command::SetUserLimit { .. }
            | Command::ClearUserLimit { .. }
            | Command::SetPermission { .. }
            | Command::ClearPermission { .. }
            | Command::SetTopicPermission { .. }
            | Command::ClearTopicPermission { .. }
            | Command::SetPolicy { .. }
            | Command::ClearPolicy { .. }
            | Command::SetParameter { .. }
            | Command::ClearParameter { .. }
            | Command::SetGlobalParameter { .. }
            | Command::ClearGlobalParameter { .. } => true,
        }
    }

    /// Whether a durable queue or exchange is to be deleted: no need to try that.
    fn names_durable_row(&self, catalog: &Catalog) -> bool {
        match self {
            Command::DeleteQueue { vhost, name, id } => catalog
                .vhost(vhost.as_str())
                .and_then(|vhost| vhost.queue(name.as_str()))
                .is_some_and(|queue| queue.survives_restart() && id.is_none_or(|id| id == queue.id)),
            Command::DeleteExchange { vhost, name, .. } => catalog
                .vhost(vhost.as_str())
                .and_then(|vhost| vhost.exchange(name.as_str()))
                .is_some_and(|exchange| exchange.durable),
            _ => false,
        }
    }

    /// Tries the command on a clone: a durable exchange may go with its last binding, to whatever queue.
    fn takes_durable_rows(&self, catalog: &Catalog) -> bool {
        if self.names_durable_row(catalog) {
            return true;
        }
        let mut events = Vec::new();
        if catalog.clone().apply(self.clone(), &mut events).is_err() {
            return false;
        }
        events.iter().any(|event| match event {
            Event::QueueDeleted(queue) => queue.survives_restart(),
            Event::ExchangeDeleted(exchange) => exchange.durable,
            Event::Unbound { vhost, binding } => {
                catalog.vhost(vhost.as_str()).is_some_and(|vhost| vhost.is_durable_binding(binding))
            }
            _ => false,
        })
    }
}

impl Vhost {
    /// Whether both ends of the binding are there after a restart.
    fn is_durable_binding(&self, binding: &Binding) -> bool {
        let is_durable = |exchange: Option<&Arc<Exchange>>| exchange.is_some_and(|row| row.durable);
        is_durable(self.exchange(binding.source.as_str()))
            && match &binding.destination {
                Destination::Queue(name) => {
                    self.queue(name.as_str()).is_some_and(|queue| queue.survives_restart())
                }
                Destination::Exchange(name) => is_durable(self.exchange(name.as_str())),
            }
    }
}

//! exchange.declare, delete, bind and unbind.

use super::Channel;
use broker::access::{self, Access, Resource};
use broker::catalog::{Binding, Command, Destination};
use types::{AmqpError, ExchangeName, FieldTable, FieldValue};

/// What exchange.declare asks for.
pub(crate) struct DeclareExchange {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) passive: bool,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: FieldTable,
}

/// Names are declared without line ends, as in RabbitMQ.
pub(super) fn stripped(name: &str) -> String {
    name.replace(['\r', '\n'], "")
}

impl Channel {
    pub(super) fn check(&self, access: Access, resource: Resource<'_>) -> Result<(), AmqpError> {
        let catalog = self.broker().catalog();
        access::check(self.vhost_row(&catalog)?, self.user_row(&catalog)?, access, resource)
    }

    pub(crate) async fn declare_exchange(&mut self, declare: DeclareExchange) -> Result<(), AmqpError> {
        let name = stripped(&declare.name);
        if declare.passive {
            if name.is_empty() {
                return Err(AmqpError::access_refused("operation not permitted on the default exchange"));
            }
            let catalog = self.broker().catalog();
            let vhost = self.vhost_row(&catalog)?;
            let missing =
                || AmqpError::not_found(format!("no exchange '{name}' in vhost '{}'", self.session.vhost));
            return vhost.exchange(&name).map(|_| ()).ok_or_else(missing);
        }
        self.check(Access::Configure, Resource::Exchange(&name))?;
        if let Some(alternate) = declare.arguments.get("alternate-exchange").and_then(FieldValue::as_text) {
            self.check(Access::Read, Resource::Exchange(&name))?;
            self.check(Access::Write, Resource::Exchange(alternate))?;
        }
        self.change(Command::DeclareExchange {
            vhost: self.session.vhost.clone(),
            name: ExchangeName::from(name.as_str()),
            kind: declare.kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
            user: self.session.user.clone(),
        })
        .await
    }

    pub(crate) async fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<(), AmqpError> {
        let name = stripped(name);
        self.check(Access::Configure, Resource::Exchange(&name))?;
        let vhost = self.session.vhost.clone();
        let name = ExchangeName::from(name.as_str());
        self.change(Command::DeleteExchange { vhost, name, if_unused }).await
    }

    /// Binds or unbinds an exchange to another.
    pub(crate) async fn bind_exchange(
        &mut self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
        bind: bool,
    ) -> Result<(), AmqpError> {
        self.check(Access::Write, Resource::Exchange(destination))?;
        self.check_source(source, routing_key)?;
        let binding = Binding {
            source: ExchangeName::from(source),
            destination: Destination::Exchange(ExchangeName::from(destination)),
            routing_key: routing_key.into(),
            arguments,
        };
        self.change(self.binding_command(binding, bind)).await
    }

    /// Reading from the source, and from the topic when topic rights say so.
    pub(super) fn check_source(&self, source: &str, routing_key: &str) -> Result<(), AmqpError> {
        self.check(Access::Read, Resource::Exchange(source))?;
        let catalog = self.broker().catalog();
        let vhost = self.vhost_row(&catalog)?;
        let is_topic = vhost
            .exchange(source)
            .is_some_and(|exchange| matches!(exchange.kind, broker::catalog::ExchangeKind::Topic));
        if !is_topic {
            return Ok(());
        }
        access::check_topic(vhost, self.user_row(&catalog)?, source, Access::Read, routing_key.as_bytes())
    }

    pub(super) fn binding_command(&self, binding: Binding, bind: bool) -> Command {
        let vhost = self.session.vhost.clone();
        if bind { Command::Bind { vhost, binding } } else { Command::Unbind { vhost, binding } }
    }

    pub(super) async fn change(&self, command: Command) -> Result<(), AmqpError> {
        let broker = self.port.port.broker.clone();
        broker.change(command).await.map(|_| ())
    }
}

//! queue.declare, delete, bind, unbind and purge.

use super::Channel;
use super::exchange::stripped;
use broker::access::{Access, Resource};
use broker::catalog::{Binding, Command, Destination, Outcome};
use broker::queue::QueueCounts;
use engine::queue::DeleteConditions;
use engine::reply_to::{REPLY_QUEUE, is_reply_name};
use engine::{Queue, QueueCommand};
use protocol::Method;
use std::sync::Arc;
use tokio::sync::oneshot;
use types::{AmqpError, ExchangeName, FieldTable, FieldValue, QueueName};

/// What queue.declare asks for.
pub(crate) struct DeclareQueue {
    pub(crate) name: String,
    pub(crate) passive: bool,
    pub(crate) durable: bool,
    pub(crate) exclusive: bool,
    pub(crate) auto_delete: bool,
    pub(crate) arguments: FieldTable,
}

fn is_reply_queue(name: &str) -> bool {
    name == REPLY_QUEUE || is_reply_name(name.as_bytes())
}

impl Channel {
    /// Declares a queue; gives the answer.
    pub(crate) async fn declare_queue(&mut self, declare: DeclareQueue) -> Result<Method, AmqpError> {
        let passive = declare.passive;
        let mut name = stripped(&declare.name);
        if is_reply_queue(&name) {
            return self.declare_reply_queue(&name);
        }
        let queue =
            if passive { self.open_queue(&name)? } else { self.create_queue(&mut name, declare).await? };
        self.broker().metrics().queues_declared.add(1);
        self.last_queue = name.clone();
        // Also a barrier: what this channel published before is counted.
        let counts = self.fence(&queue).await?;
        let message_count = u32::try_from(counts.ready).unwrap_or(u32::MAX);
        Ok(Method::QueueDeclareOk { queue: name, message_count, consumer_count: counts.consumers })
    }

    /// Waits until the queue has done what was posted before; counts as use of it.
    async fn fence(&self, queue: &Arc<Queue>) -> Result<QueueCounts, AmqpError> {
        let (reply, answer) = oneshot::channel();
        self.port.port.broker.post(queue, QueueCommand::Fence(reply));
        answer.await.map_err(|_| queue.no_answer())
    }

    fn declare_reply_queue(&self, name: &str) -> Result<Method, AmqpError> {
        let exists = name == REPLY_QUEUE || self.broker().reply_outlet(name.as_bytes()).is_some();
        if !exists {
            return Err(AmqpError::not_found(format!("no queue '{name}' in vhost '{}'", self.session.vhost)));
        }
        Ok(Method::QueueDeclareOk { queue: name.to_owned(), message_count: 0, consumer_count: 1 })
    }

    async fn create_queue(
        &mut self,
        name: &mut String,
        declare: DeclareQueue,
    ) -> Result<Arc<Queue>, AmqpError> {
        let server_named = name.is_empty();
        if server_named {
            *name = format!("amq.gen-{}", random_name());
        }
        self.check(Access::Configure, Resource::Queue(name))?;
        if let Some(exchange) = declare.arguments.get("x-dead-letter-exchange").and_then(FieldValue::as_text)
        {
            self.check(Access::Read, Resource::Queue(name))?;
            self.check(Access::Write, Resource::Exchange(exchange))?;
        }
        let command = Command::DeclareQueue {
            vhost: self.session.vhost.clone(),
            name: QueueName::from(name.as_str()),
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            exclusive: declare.exclusive,
            server_named,
            connection: self.session.connection,
            arguments: declare.arguments,
            user: self.session.user.clone(),
        };
        let broker = self.port.port.broker.clone();
        let Outcome::Queue { queue: row, .. } = broker.change(command).await? else {
            return Err(AmqpError::internal_error("a declare was not answered with a queue"));
        };
        let queue = broker.queue(row.id).ok_or_else(|| {
            AmqpError::not_found(format!("no queue '{name}' in vhost '{}'", self.session.vhost))
        })?;
        queue.unreachable().map_or(Ok(queue), Err)
    }

    pub(crate) async fn delete_queue(
        &mut self,
        name: &str,
        conditions: DeleteConditions,
    ) -> Result<u32, AmqpError> {
        let name = self.queue_name(&stripped(name))?;
        self.check(Access::Configure, Resource::Queue(&name))?;
        let vhost = self.session.vhost.clone();
        let exists =
            || self.broker().catalog().vhost(vhost.as_str()).is_some_and(|v| v.queue(&name).is_some());
        if !exists() {
            return Ok(0);
        }
        let queue = match self.open_queue(&name) {
            Ok(queue) => queue,
            // Deleted by itself a moment ago; one that is there and out of reach is not deleted.
            Err(error) if error.code == types::ReplyCode::NotFound && !exists() => return Ok(0),
            Err(error) => return Err(error),
        };
        let row = queue.row();
        if row.kind == broker::queue::QueueKind::Quorum {
            let flag = match (conditions.if_unused, conditions.if_empty) {
                (true, _) => Some("if-unused"),
                (_, true) => Some("if-empty"),
                _ => None,
            };
            if let Some(flag) = flag {
                return Err(AmqpError::not_implemented(format!(
                    "cannot delete queue '{name}' in vhost '{vhost}'. queue.delete operations with {flag} flag \
                     set are not supported by quorum queues"
                )));
            }
        }
        let broker = self.port.port.broker.clone();
        let count = broker.delete_queue(&queue, conditions).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    pub(crate) async fn purge_queue(&mut self, name: &str) -> Result<u32, AmqpError> {
        let name = self.queue_name(name)?;
        let queue = self.readable_queue(&name)?;
        let (reply, answer) = oneshot::channel();
        self.port.port.broker.post(&queue, QueueCommand::Purge(reply));
        let count = answer.await.map_err(|_| queue.no_answer())?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Binds or unbinds a queue.
    pub(crate) async fn bind_queue(
        &mut self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
        bind: bool,
    ) -> Result<(), AmqpError> {
        match self.binding_change(queue, exchange, routing_key, arguments, bind)? {
            Some(command) => self.change(command).await,
            None => Ok(()),
        }
    }

    /// What binds or unbinds a queue; None when there is nothing to unbind.
    pub(super) fn binding_change(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
        bind: bool,
    ) -> Result<Option<Command>, AmqpError> {
        let name = self.queue_name(queue)?;
        if is_reply_queue(&name) {
            return Err(AmqpError::access_refused(
                "cannot bind or unbind to a volatile (direct reply-to) queue",
            ));
        }
        // A binding without a key to the queue declared last uses its name as the key.
        let key = if queue.is_empty() && routing_key.is_empty() { name.as_str() } else { routing_key };
        self.check(Access::Write, Resource::Queue(&name))?;
        self.check_source(exchange, key)?;
        let Some(()) = self.check_bound_ends(&name, exchange, key, &arguments, bind)? else {
            // Unbinding what is not there is no error.
            return Ok(None);
        };
        let binding = Binding {
            source: ExchangeName::from(exchange),
            destination: Destination::Queue(QueueName::from(name.as_str())),
            routing_key: key.into(),
            arguments,
        };
        if bind {
            // A client that does not wait should hear of it before its next method is done.
            self.check_rule(&binding)?;
        }
        Ok(Some(self.binding_command(binding, bind)))
    }

    /// Refuses a binding that its exchange's type cannot use.
    fn check_rule(&self, binding: &Binding) -> Result<(), AmqpError> {
        let catalog = self.broker().catalog();
        let source = self.vhost_row(&catalog)?.exchange(binding.source.as_str());
        source.map_or(Ok(()), |source| source.check_binding(binding))
    }
}

impl Channel {
    /// The exchange before the queue, as RabbitMQ looks; None when there is nothing to unbind.
    fn check_bound_ends(
        &self,
        queue: &str,
        exchange: &str,
        key: &str,
        arguments: &FieldTable,
        bind: bool,
    ) -> Result<Option<()>, AmqpError> {
        if exchange.is_empty() {
            return Err(AmqpError::access_refused("operation not permitted on the default exchange"));
        }
        let catalog = self.broker().catalog();
        let vhost = self.vhost_row(&catalog)?;
        if bind {
            if vhost.exchange(exchange).is_none() {
                let text = format!("no exchange '{exchange}' in vhost '{}'", self.session.vhost);
                return Err(AmqpError::not_found(text));
            }
        } else {
            let same = |binding: &Arc<Binding>| {
                binding.source.as_str() == exchange
                    && binding.routing_key.as_bytes() == key.as_bytes()
                    && binding.arguments == *arguments
            };
            if vhost.exchange(exchange).is_none()
                || !vhost.bindings_of_queue(queue).any(|binding| same(&binding))
            {
                return Ok(None);
            }
        }
        self.open_queue(queue).map(|_| Some(()))
    }
}

/// 22 characters nobody else has.
fn random_name() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = (u128::from(engine::route::random()) << 64) | u128::from(engine::route::random());
    let mut name = String::with_capacity(22);
    for _ in 0..22 {
        name.push(char::from(ALPHABET[(bits & 63) as usize]));
        bits >>= 6;
    }
    name
}

//! Declaring exchanges and queues: what is new is checked, what exists is compared.

use super::command::Event;
use super::exchange::{self, Exchange, ExchangeKind};
use super::line_end;
use super::queue::Queue;
use super::refusal;
use super::topology::Change;
use super::vhost::Vhost;
use crate::argument;
use crate::policy;
use crate::queue::QueueKind;
use crate::router::table::Table;
use std::sync::Arc;
use types::{
    AmqpError, ConnectionId, ExchangeName, FieldTable, FieldValue, NodeId, QueueId, QueueName, UserName,
};

const RESERVED: &str = "amq.";
/// The argument, and the policy key, that names an exchange's alternate.
pub(crate) const ALTERNATE: &str = "alternate-exchange";
const DEAD_LETTER: &str = "x-dead-letter-exchange";
const QUEUE_TYPE: &str = "x-queue-type";

/// An exchange that a client asks for.
pub(crate) struct ExchangeWish {
    pub(crate) name: ExchangeName,
    pub(crate) kind: String,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: FieldTable,
    pub(crate) user: UserName,
}

/// A queue that a client asks for.
pub(crate) struct QueueWish {
    pub(crate) name: QueueName,
    pub(crate) server_named: bool,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    /// The connection that wants the queue for itself.
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) arguments: FieldTable,
    pub(crate) user: UserName,
}

impl Vhost {
    /// Declares an exchange; whether it is new. A delayed one holds its messages in the queue `holding`.
    pub(crate) fn declare_exchange(
        &mut self,
        wish: ExchangeWish,
        holding: QueueId,
        home: NodeId,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        if !exchange::is_known_type(&wish.kind) {
            return Err(exchange::unknown_type(&wish.kind));
        }
        let name = line_end::without(&wish.name, wish.name.as_str());
        if name.as_str().is_empty() {
            return Err(refusal::default_exchange());
        }
        if let Some(existing) = self.exchanges.get(&name) {
            return check_same_exchange(existing, &wish).map(|()| false);
        }
        if name.as_str().starts_with(RESERVED) {
            return Err(refusal::reserved_name("exchange", name.as_str()));
        }
        let text = refusal::exchange_text(&self.name, name.as_str());
        let alternate = argument::exchange_name(&wish.arguments, ALTERNATE, &text)?;
        let kind = ExchangeKind::parse(&wish.kind, &wish.arguments)?;
        let policy = self.policy_of_exchange(&name).cloned();
        let exchange = Arc::new(Exchange {
            vhost: self.name.clone(),
            name: name.clone(),
            table: Table::new(&kind),
            holding: kind.is_delayed().then_some(holding),
            home: if kind.is_delayed() { home } else { NodeId::default() },
            kind,
            durable: wish.durable,
            auto_delete: wish.auto_delete,
            internal: wish.internal,
            alternate: alternate.or_else(|| policy::alternate_exchange(policy.as_deref())),
            arguments: wish.arguments,
            policy,
            user: wish.user,
            version: change.version,
        });
        if let Some(alternate) = &exchange.alternate {
            self.alternates.insert((alternate.clone(), name.clone()));
        }
        self.exchanges.insert(name.clone(), exchange.clone());
        // Some exchange may have named this one as its alternate before there was one.
        self.touch_leading_to(&name, change.version);
        change.events.push(Event::ExchangeDeclared(exchange));
        Ok(true)
    }

    /// Deletes an exchange; false if there is none.
    pub(crate) fn delete_exchange(
        &mut self,
        name: &ExchangeName,
        if_unused: bool,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        let name = line_end::without(name, name.as_str());
        if name.as_str().is_empty() {
            return Err(refusal::default_exchange());
        }
        let text = refusal::exchange_text(&self.name, name.as_str());
        if name.as_str().starts_with(RESERVED) {
            return Err(AmqpError::access_refused(format!("deletion of system {text} not allowed")));
        }
        if !self.exchanges.contains_key(&name) {
            return Ok(false);
        }
        if if_unused && self.is_source(&name) {
            return Err(AmqpError::precondition_failed(format!("{text} in use")));
        }
        self.remove_exchange(&name, change);
        Ok(true)
    }

    /// Declares a queue, which gets the id `id` and the home `home` if it is new; the queue, and whether it is new.
    pub(crate) fn declare_queue(
        &mut self,
        mut wish: QueueWish,
        id: QueueId,
        home: NodeId,
        change: &mut Change<'_>,
    ) -> Result<(Arc<Queue>, bool), AmqpError> {
        wish.name = line_end::without(&wish.name, wish.name.as_str());
        // Exclusive queues live as long as a connection, which does not survive a restart.
        wish.durable &= wish.owner.is_none();
        self.fill_in_type(&mut wish);
        if let Some(existing) = self.queues.get(&wish.name) {
            check_same_queue(existing, &wish)?;
            return Ok((existing.clone(), false));
        }
        let kind = self.check_new_queue(&wish)?;
        let (policy, operator_policy) = self.policies_of_queue(kind, &wish.name);
        let queue = Arc::new(Queue {
            id,
            vhost: self.name.clone(),
            config: policy::queue_config(kind, &wish.arguments, policy, operator_policy),
            policy: policy.cloned(),
            operator_policy: operator_policy.cloned(),
            name: wish.name,
            durable: wish.durable,
            auto_delete: wish.auto_delete,
            exclusive: wish.owner,
            kind,
            arguments: wish.arguments,
            user: wish.user,
            copies: None,
            home,
        });
        self.queues.insert(queue.name.clone(), queue.clone());
        change.events.push(Event::QueueDeclared(queue.clone()));
        Ok((queue, true))
    }

    /// A vhost's default type stands for a missing one, unless the queue could not be of that type.
    fn fill_in_type(&self, wish: &mut QueueWish) {
        let Some(default) = self.default_queue_type else { return };
        if wish.arguments.get(QUEUE_TYPE).is_some() {
            return;
        }
        let fits_quorum = wish.durable && !wish.auto_delete && wish.owner.is_none();
        let kind = if fits_quorum { default } else { QueueKind::Classic };
        wish.arguments.insert(QUEUE_TYPE, FieldValue::text(kind.as_str()));
    }

    fn check_new_queue(&self, wish: &QueueWish) -> Result<QueueKind, AmqpError> {
        let name = wish.name.as_str();
        if name.starts_with(RESERVED) && !wish.server_named {
            return Err(refusal::reserved_name("queue", name));
        }
        let text = refusal::queue_text(&self.name, name);
        if wish.server_named {
            argument::check_server_named(&wish.arguments)?;
        }
        argument::exchange_name(&wish.arguments, DEAD_LETTER, &text)?;
        let kind = argument::check_queue_arguments(&wish.arguments, &text)?;
        if let Some(limit) = self.limits.max_queues.filter(|&limit| limit >= 0)
            && self.queues.len() as i64 >= limit
        {
            return Err(AmqpError::precondition_failed(format!(
                "cannot declare queue '{name}': queue limit in vhost '{}' ({limit}) is reached",
                self.name
            )));
        }
        if kind == QueueKind::Quorum {
            for (is_refused, property) in [
                (wish.auto_delete, "auto-delete"),
                (wish.owner.is_some(), "exclusive-owner"),
                (!wish.durable, "non-durable"),
            ] {
                if is_refused {
                    return Err(AmqpError::precondition_failed(format!(
                        "invalid property '{property}' for {text}"
                    )));
                }
            }
        }
        Ok(kind)
    }
}

fn check_same_exchange(existing: &Exchange, wish: &ExchangeWish) -> Result<(), AmqpError> {
    let text = refusal::exchange_text(&existing.vhost, existing.name.as_str());
    let (current, received) = (existing.kind.as_str(), wish.kind.as_str());
    if current != received {
        let quoted = [received, current].map(argument::atom_term);
        return Err(argument::inequivalent("type", &text, &quoted[0], &quoted[1]));
    }
    for (name, current, received) in [
        ("durable", existing.durable, wish.durable),
        ("auto_delete", existing.auto_delete, wish.auto_delete),
        ("internal", existing.internal, wish.internal),
    ] {
        argument::check_same_flag(name, &text, current, received)?;
    }
    argument::check_same_arguments(&existing.arguments, &wish.arguments, &text, &[ALTERNATE])
}

fn check_same_queue(existing: &Queue, wish: &QueueWish) -> Result<(), AmqpError> {
    if existing.exclusive != wish.owner {
        return Err(refusal::locked(&existing.vhost, existing.name.as_str()));
    }
    let text = refusal::queue_text(&existing.vhost, existing.name.as_str());
    argument::check_same_flag("durable", &text, existing.durable, wish.durable)?;
    argument::check_same_flag("auto_delete", &text, existing.auto_delete, wish.auto_delete)?;
    let keys = argument::keys_of(existing.kind);
    argument::check_same_arguments(&existing.arguments, &wish.arguments, &text, keys)
}

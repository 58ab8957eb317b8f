//! Access control: may a user enter a vhost, use a resource, use a routing key?
//!
//! Invariant: no row means no access to resources, and full access to topics, as in RabbitMQ.

use crate::catalog::refusal;
use crate::catalog::user::User;
use crate::catalog::vhost::Vhost;
use types::{AmqpError, ExchangeName, RoutingKey};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Declare or delete.
    Configure,
    /// Publish, or bind to.
    Write,
    /// Consume, get, purge, or bind from.
    Read,
}

impl Access {
    /// The word in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Configure => "configure",
            Access::Write => "write",
            Access::Read => "read",
        }
    }
}

/// What it is to be done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The queue of this name.
    Queue(&'a str),
    /// The exchange of this name; the default exchange counts as `amq.default`.
    Exchange(&'a str),
}

/// 530 unless `user` may connect to the vhost that was asked for as `name`.
pub fn check_vhost(vhost: Option<&Vhost>, name: &str, user: &User) -> Result<(), AmqpError> {
    let Some(vhost) = vhost else {
        return Err(AmqpError::not_allowed(format!("vhost {name} not found")));
    };
    if vhost.permissions.contains_key(&user.name) {
        return Ok(());
    }
    Err(AmqpError::not_allowed(format!("access to vhost '{name}' refused for user '{}'", user.name)))
}

/// 403 unless `user` has `access` to `resource`.
pub fn check(vhost: &Vhost, user: &User, access: Access, resource: Resource<'_>) -> Result<(), AmqpError> {
    let name = match resource {
        Resource::Exchange("") => "amq.default",
        Resource::Queue(name) | Resource::Exchange(name) => name,
    };
    let allowed = vhost.permissions.get(&user.name).is_some_and(|row| {
        let pattern = match access {
            Access::Configure => &row.configure,
            Access::Write => &row.write,
            Access::Read => &row.read,
        };
        pattern.is_match(name)
    });
    if allowed {
        return Ok(());
    }
    let text = match resource {
        Resource::Queue(_) => refusal::queue_text(&vhost.name, name),
        Resource::Exchange(_) => refusal::exchange_text(&vhost.name, name),
    };
    Err(AmqpError::access_refused(format!(
        "{} access to {text} refused for user '{}'",
        access.as_str(),
        user.name
    )))
}

/// 403 unless `user` may use `routing_key` at the topic exchange `exchange`: a publish asks for `Write`, a
/// binding for `Read`. Only for topic exchanges; others do not look at topics.
pub fn check_topic(
    vhost: &Vhost,
    user: &User,
    exchange: &str,
    access: Access,
    routing_key: &[u8],
) -> Result<(), AmqpError> {
    if vhost.topic_permissions.is_empty() {
        return Ok(());
    }
    let row = vhost.topic_permissions.get(&(user.name.clone(), ExchangeName::from(exchange)));
    let pattern = match (row, access) {
        (Some(row), Access::Write) => &row.write,
        (Some(row), Access::Read) => &row.read,
        (None, _) | (_, Access::Configure) => return Ok(()),
    };
    let key = RoutingKey::from(routing_key).to_text();
    if pattern.resolved.is_match(&key) {
        return Ok(());
    }
    Err(AmqpError::access_refused(format!(
        "{} access to topic '{key}' in {} refused for user '{}'",
        access.as_str(),
        refusal::exchange_text(&vhost.name, exchange),
        user.name
    )))
}

//! Refusals in RabbitMQ's words, where more than one place needs them.

use types::{AmqpError, VhostName};

/// `queue 'q' in vhost 'v'`
pub fn queue_text(vhost: &VhostName, name: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

/// `exchange 'x' in vhost 'v'`
pub fn exchange_text(vhost: &VhostName, name: &str) -> String {
    format!("exchange '{name}' in vhost '{vhost}'")
}

/// 404 for a queue.
pub fn no_queue(vhost: &VhostName, name: &str) -> AmqpError {
    AmqpError::not_found(format!("no {}", queue_text(vhost, name)))
}

/// 404 for an exchange.
pub fn no_exchange(vhost: &VhostName, name: &str) -> AmqpError {
    AmqpError::not_found(format!("no {}", exchange_text(vhost, name)))
}

/// 404 for a vhost that a command names.
pub fn no_vhost(name: &VhostName) -> AmqpError {
    AmqpError::not_found(format!("vhost {name} not found"))
}

/// 405 for a queue that belongs to another connection.
pub fn locked(vhost: &VhostName, name: &str) -> AmqpError {
    AmqpError::resource_locked(format!(
        "cannot obtain exclusive access to locked {}. It could be originally declared on another \
         connection or the exclusive property value does not match that of the original declaration.",
        queue_text(vhost, name)
    ))
}

/// 403 for what nobody may do to the exchange without a name.
pub fn default_exchange() -> AmqpError {
    AmqpError::access_refused("operation not permitted on the default exchange")
}

/// 403 for creating what starts with `amq.`; `kind` is `queue` or `exchange`.
pub fn reserved_name(kind: &str, name: &str) -> AmqpError {
    AmqpError::access_refused(format!("{kind} name '{name}' contains reserved prefix 'amq.*'"))
}

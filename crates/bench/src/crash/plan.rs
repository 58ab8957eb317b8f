//! The queues, exchanges and routes of a run.
//!
//! Invariant: everything in here is durable and declared again at each start with the same words; which queues a
//! route reaches is written here by hand, not taken from a broker.

use super::checker::QueueRules;
use super::history::QueueAt;
use crate::client::session::Session;
use crate::error::Result;
use crate::wire;
use crate::wire::encode::Table;

pub const FAN: &str = "crash.fan";
pub const TOPIC: &str = "crash.topic";
const TTL_MS: i64 = 3_600_000;
/// Priorities above it count as this one.
pub const PRIORITY_MAX: u8 = 5;

pub const PLAIN: QueueAt = 0;
pub const PRIORITY: QueueAt = 1;
pub const TTL: QueueAt = 2;
pub const BODIES: QueueAt = 3;
pub const GET: QueueAt = 9;
pub const QUORUM: QueueAt = 10;
pub const TX: QueueAt = 11;
pub const PURGE: QueueAt = 12;
pub const DELETE: QueueAt = 13;

pub struct QueuePlan {
    pub name: &'static str,
    argument: Argument,
}

enum Argument {
    None,
    Text(&'static str, &'static str),
    Number(&'static str, i64),
}

const fn queue(name: &'static str, argument: Argument) -> QueuePlan {
    QueuePlan { name, argument }
}

/// The constants above and the checker name a queue by its place in this list.
pub const QUEUES: [QueuePlan; 14] = [
    queue("crash.plain", Argument::None),
    queue("crash.priority", Argument::Number("x-max-priority", PRIORITY_MAX as i64)),
    queue("crash.ttl", Argument::Number("x-message-ttl", TTL_MS)),
    queue("crash.bodies", Argument::Text("x-queue-mode", "lazy")),
    queue("crash.fan.0", Argument::None),
    queue("crash.fan.1", Argument::None),
    queue("crash.fan.2", Argument::None),
    queue("crash.topic.a", Argument::None),
    queue("crash.topic.b", Argument::None),
    queue("crash.get", Argument::None),
    queue("crash.quorum", Argument::Text("x-queue-type", "quorum")),
    queue("crash.tx", Argument::None),
    queue("crash.purge", Argument::None),
    queue("crash.delete", Argument::None),
];

const BINDINGS: [(&str, &str, &str); 5] = [
    ("crash.fan.0", FAN, ""),
    ("crash.fan.1", FAN, ""),
    ("crash.fan.2", FAN, ""),
    ("crash.topic.a", TOPIC, "a.#"),
    ("crash.topic.b", TOPIC, "*.b"),
];

/// Exchange, routing key, and the queues it leads to.
pub struct Route {
    pub exchange: &'static str,
    pub key: &'static str,
    pub queues: &'static [QueueAt],
}

const fn route(exchange: &'static str, key: &'static str, queues: &'static [QueueAt]) -> Route {
    Route { exchange, key, queues }
}

pub const ROUTES: [Route; 12] = [
    route("", "crash.plain", &[PLAIN]),
    route("", "crash.priority", &[PRIORITY]),
    route("", "crash.ttl", &[TTL]),
    route("", "crash.bodies", &[BODIES]),
    route(FAN, "any", &[4, 5, 6]),
    route(TOPIC, "a.b", &[7, 8]),
    route(TOPIC, "a.x.y", &[7]),
    route(TOPIC, "c.b", &[8]),
    route("", "crash.get", &[GET]),
    route("", "crash.quorum", &[QUORUM]),
    route("", "crash.purge", &[PURGE]),
    route("", "crash.delete", &[DELETE]),
];

/// Where the publishers with transactions send everything.
pub const TX_ROUTE: Route = route("", "crash.tx", &[TX]);

pub fn name(at: QueueAt) -> &'static str {
    QUEUES.get(usize::from(at)).map_or("", |queue| queue.name)
}

/// `has_quorum`: otherwise the quorum queue is a plain one.
pub fn rules(has_quorum: bool) -> Vec<QueueRules> {
    let rules = |(at, queue): (usize, &QueuePlan)| QueueRules {
        name: queue.name.into(),
        is_quorum: has_quorum && at == usize::from(QUORUM),
        is_deleted: at == usize::from(DELETE),
    };
    QUEUES.iter().enumerate().map(rules).collect()
}

/// Declares all queues, exchanges and bindings.
pub fn declare_all(session: &mut Session, has_quorum: bool) -> Result<()> {
    for at in 0..QUEUES.len() {
        declare(session, at as QueueAt, has_quorum)?;
    }
    for (name, kind) in [(FAN, "fanout"), (TOPIC, "topic")] {
        declare_exchange(session, name, kind)?;
    }
    for (queue, exchange, key) in BINDINGS {
        bind(session, queue, exchange, key)?;
    }
    Ok(())
}

pub fn declare(session: &mut Session, at: QueueAt, has_quorum: bool) -> Result<()> {
    let Some(queue) = QUEUES.get(usize::from(at)) else { return Ok(()) };
    declare_queue(session, queue.name, |table| {
        match queue.argument {
            _ if at == QUORUM && !has_quorum => table,
            Argument::None => table,
            Argument::Text(name, value) => table.text(name, value),
            Argument::Number(name, value) => table.long(name, value),
        };
    })
}

const DURABLE: u8 = 1 << 1;

pub fn declare_queue(
    session: &mut Session,
    name: &str,
    arguments: impl FnOnce(&mut Table<'_>),
) -> Result<()> {
    let reply = session.call(wire::QUEUE_DECLARE, wire::QUEUE_DECLARE_OK, |args| {
        args.u16(0).short(name).u8(DURABLE).table(arguments);
    });
    reply.map(drop)
}

pub fn declare_exchange(session: &mut Session, name: &str, kind: &str) -> Result<()> {
    let reply = session.call(wire::EXCHANGE_DECLARE, wire::EXCHANGE_DECLARE_OK, |args| {
        args.u16(0).short(name).short(kind).u8(DURABLE).table(|_| {});
    });
    reply.map(drop)
}

pub fn bind(session: &mut Session, queue: &str, exchange: &str, key: &str) -> Result<()> {
    let reply = session.call(wire::QUEUE_BIND, wire::QUEUE_BIND_OK, |args| {
        args.u16(0).short(queue).short(exchange).short(key).u8(0).table(|_| {});
    });
    reply.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_names_agree() {
        let places = [
            (PLAIN, "crash.plain"),
            (PRIORITY, "crash.priority"),
            (TTL, "crash.ttl"),
            (BODIES, "crash.bodies"),
            (GET, "crash.get"),
            (QUORUM, "crash.quorum"),
            (TX, "crash.tx"),
            (PURGE, "crash.purge"),
            (DELETE, "crash.delete"),
        ];
        for (at, wanted) in places {
            assert_eq!(name(at), wanted);
        }
        for route in ROUTES.iter().filter(|route| route.exchange.is_empty()) {
            assert_eq!(route.queues.iter().map(|at| name(*at)).collect::<Vec<_>>(), [route.key]);
        }
    }
}

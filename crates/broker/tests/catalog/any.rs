//! Commands of every sort at random, about so few names that they often meet.

use super::every::table;
use broker::catalog::{Binding, Command, Destination};
use broker::password::{HashAlgorithm, PasswordHash};
use broker::queue::QueueKind;
use proptest::prelude::*;
use proptest::sample::select;
use types::{ConnectionId, ExchangeName, FieldTable, FieldValue, QueueId, QueueName, UserName, VhostName};

const EXCHANGES: [&str; 8] = ["e0", "e1", "e2", "e3", "e4", "e5", "amq.topic", "amq.direct"];
const QUEUES: [&str; 5] = ["q0", "q1", "q2", "q3", "q4"];
const KINDS: [&str; 10] = [
    "direct",
    "fanout",
    "topic",
    "headers",
    "x-consistent-hash",
    "x-random",
    "x-local-random",
    "x-modulus-hash",
    "x-recent-history",
    "x-delayed-message",
];
const KEYS: [&str; 8] = ["a.b", "*", "#", "1", "2", "3", "9999999999", ""];
const PATTERNS: [&str; 7] = ["", ".*", "^e", "^e1", "q", "^(?!q1).*", "("];

fn vhost() -> impl Strategy<Value = VhostName> {
    prop_oneof![20 => Just("/"), 1 => Just("v"), 1 => Just("missing")].prop_map(VhostName::from)
}

fn user() -> impl Strategy<Value = UserName> {
    select(vec!["guest", "other", "missing"]).prop_map(UserName::from)
}

fn exchange() -> impl Strategy<Value = ExchangeName> {
    select(EXCHANGES.to_vec()).prop_map(ExchangeName::from)
}

fn queue() -> impl Strategy<Value = QueueName> {
    select(QUEUES.to_vec()).prop_map(QueueName::from)
}

fn word(words: &[&'static str]) -> impl Strategy<Value = String> {
    select(words.to_vec()).prop_map(str::to_owned)
}

fn connection() -> impl Strategy<Value = ConnectionId> {
    (1..4u64).prop_map(ConnectionId)
}

fn binding() -> impl Strategy<Value = Binding> {
    let destination = prop_oneof![
        3 => queue().prop_map(Destination::Queue),
        2 => exchange().prop_map(Destination::Exchange),
    ];
    let arguments = prop_oneof![
        4 => Just(table(&[])),
        1 => Just(table(&[("h", FieldValue::I64(1)), ("x-match", FieldValue::text("all"))])),
        1 => Just(table(&[("z", FieldValue::Void), ("h", FieldValue::Void), ("x-match", FieldValue::text("any"))])),
    ];
    (exchange(), destination, select(KEYS.to_vec()), arguments).prop_map(
        |(source, destination, key, arguments)| Binding {
            source,
            destination,
            routing_key: key.into(),
            arguments,
        },
    )
}

fn exchange_arguments() -> impl Strategy<Value = FieldTable> {
    let inner = word(&["direct", "x-random", "x-consistent-hash"]);
    let hash = word(&["", "", "message_id", "timestamp"]);
    (prop::option::weighted(0.3, exchange()), inner, hash).prop_map(|(alternate, inner, hash)| {
        let mut arguments = table(&[("x-delayed-type", FieldValue::text(&inner))]);
        if let Some(alternate) = alternate {
            arguments.insert("alternate-exchange", FieldValue::text(alternate.as_str()));
        }
        if !hash.is_empty() {
            arguments.insert("hash-property", FieldValue::text(&hash));
        }
        arguments
    })
}

fn declare_exchange() -> impl Strategy<Value = Command> {
    let flags = (any::<bool>(), prop::bool::weighted(0.4), prop::bool::weighted(0.1));
    (vhost(), exchange(), word(&KINDS), flags, exchange_arguments(), user()).prop_map(
        |(vhost, name, kind, (durable, auto_delete, internal), arguments, user)| Command::DeclareExchange {
            vhost,
            name,
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
            user,
        },
    )
}

fn declare_queue() -> impl Strategy<Value = Command> {
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.3));
    let arguments = prop_oneof![
        4 => Just(table(&[])),
        1 => Just(table(&[("x-max-length", FieldValue::I32(9)), ("x-overflow", FieldValue::text("reject-publish"))])),
        1 => Just(table(&[("x-queue-type", FieldValue::text("quorum"))])),
    ];
    (vhost(), queue(), flags, connection(), arguments, user()).prop_map(
        |(vhost, name, (durable, auto_delete, exclusive), connection, arguments, user)| {
            Command::DeclareQueue {
                vhost,
                name,
                server_named: false,
                durable,
                auto_delete,
                exclusive,
                connection,
                arguments,
                user,
            }
        },
    )
}

fn topology() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => declare_exchange(),
        6 => declare_queue(),
        14 => (vhost(), binding()).prop_map(|(vhost, binding)| Command::Bind { vhost, binding }),
        4 => (vhost(), binding()).prop_map(|(vhost, binding)| Command::Unbind { vhost, binding }),
        2 => (vhost(), exchange(), any::<bool>())
            .prop_map(|(vhost, name, if_unused)| Command::DeleteExchange { vhost, name, if_unused }),
        3 => (vhost(), queue(), prop::option::weighted(0.2, (0..9u64).prop_map(QueueId)))
            .prop_map(|(vhost, name, id)| Command::DeleteQueue { vhost, name, id }),
        1 => connection().prop_map(|connection| Command::DeleteExclusive { connection }),
    ]
}

fn policy() -> impl Strategy<Value = Command> {
    let name = word(&["p0", "p1"]);
    let apply_to = word(&["all", "queues", "exchanges", "classic_queues", "quorum_queues", "wrong"]);
    let definition = (exchange(), 0..9i64).prop_map(|(alternate, length)| {
        table(&[
            ("alternate-exchange", FieldValue::text(alternate.as_str())),
            ("max-length", FieldValue::I64(length)),
        ])
    });
    let operator = (0..9i64).prop_map(|length| table(&[("max-length", FieldValue::I64(length))]));
    (vhost(), name, word(&PATTERNS), apply_to, 0..3i64, definition, operator, any::<bool>()).prop_map(
        |(vhost, name, pattern, apply_to, priority, user_definition, operator_definition, operator)| {
            let definition = if operator { operator_definition } else { user_definition };
            Command::SetPolicy { vhost, name, pattern, apply_to, priority, definition, operator }
        },
    )
}

fn settings() -> impl Strategy<Value = Command> {
    let limit = || word(&["max-connections", "max-queues", "wrong"]);
    let names = || word(&["n0", "n1"]);
    let value = || word(&["1", "{}"]);
    prop_oneof![
        (vhost(), any::<bool>()).prop_map(|(vhost, on)| Command::SetTracing { vhost, on }),
        (vhost(), limit(), -1..4i64).prop_map(|(vhost, limit, value)| Command::SetVhostLimit {
            vhost,
            limit,
            value
        }),
        (vhost(), prop::option::of(limit()))
            .prop_map(|(vhost, limit)| Command::ClearVhostLimit { vhost, limit }),
        policy(),
        policy(),
        (vhost(), word(&["p0", "p1"]), any::<bool>())
            .prop_map(|(vhost, name, operator)| Command::ClearPolicy { vhost, name, operator }),
        (vhost(), names(), names(), value()).prop_map(|(vhost, component, name, value)| {
            Command::SetParameter { vhost, component, name, value }
        }),
        (vhost(), names(), names()).prop_map(|(vhost, component, name)| Command::ClearParameter {
            vhost,
            component,
            name
        }),
        (names(), value()).prop_map(|(name, value)| Command::SetGlobalParameter { name, value }),
        names().prop_map(|name| Command::ClearGlobalParameter { name }),
    ]
}

fn account() -> impl Strategy<Value = Command> {
    let hash = select(vec![HashAlgorithm::Sha256, HashAlgorithm::Sha512])
        .prop_map(|algorithm| PasswordHash { algorithm, text: "AAAA".to_owned() });
    let limit = || word(&["max-connections", "max-channels", "wrong"]);
    let pattern = || word(&PATTERNS);
    prop_oneof![
        (user(), prop::option::of(hash), prop::collection::vec(word(&["a", "b"]), 0..3))
            .prop_map(|(name, password_hash, tags)| Command::PutUser { name, password_hash, tags }),
        user().prop_map(|name| Command::DeleteUser { name }),
        (user(), limit(), -1..4i64).prop_map(|(user, limit, value)| Command::SetUserLimit {
            user,
            limit,
            value
        }),
        (user(), prop::option::of(limit())).prop_map(|(user, limit)| Command::ClearUserLimit { user, limit }),
        (vhost(), user(), pattern(), pattern(), pattern()).prop_map(
            |(vhost, user, configure, write, read)| Command::SetPermission {
                vhost,
                user,
                configure,
                write,
                read,
            }
        ),
        (vhost(), user()).prop_map(|(vhost, user)| Command::ClearPermission { vhost, user }),
        (vhost(), user(), exchange(), word(&["^{username}", "{vhost}", ""]), pattern()).prop_map(
            |(vhost, user, exchange, write, read)| Command::SetTopicPermission {
                vhost,
                user,
                exchange,
                write,
                read,
            }
        ),
        (vhost(), user(), prop::option::of(exchange()))
            .prop_map(|(vhost, user, exchange)| Command::ClearTopicPermission { vhost, user, exchange }),
    ]
}

fn vhosts() -> impl Strategy<Value = Command> {
    let name = || select(vec!["/", "v", "w"]).prop_map(VhostName::from);
    let kind = select(vec![QueueKind::Classic, QueueKind::Quorum]);
    prop_oneof![
        3 => (name(), word(&["", "d"]), prop::collection::vec(word(&["t"]), 0..2), prop::option::weighted(0.3, kind))
            .prop_map(|(name, description, tags, default_queue_type)| {
                Command::AddVhost { name, description, tags, default_queue_type }
            }),
        1 => name().prop_map(|name| Command::DeleteVhost { name }),
    ]
}

/// Commands that come first, so that those after them find something.
pub fn any_beginning() -> impl Strategy<Value = Vec<Command>> {
    let exchanges = prop::collection::vec(declare_exchange(), 8);
    let queues = prop::collection::vec(declare_queue(), 6);
    let bindings = prop::collection::vec(binding(), 12);
    (exchanges, queues, bindings).prop_map(|(exchanges, queues, bindings)| {
        let bind = |binding| Command::Bind { vhost: "/".into(), binding };
        exchanges.into_iter().chain(queues).chain(bindings.into_iter().map(bind)).collect()
    })
}

/// Any command at all.
pub fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        40 => topology(),
        8 => settings(),
        6 => account(),
        2 => vhosts(),
        1 => Just(Command::Restart),
    ]
}

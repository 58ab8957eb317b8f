//! One command of every sort, with every field filled in; applied in order they all succeed.

use broker::catalog::{Binding, Command, Destination};
use broker::password::{HashAlgorithm, PasswordHash};
use broker::queue::QueueKind;
use types::{ConnectionId, FieldTable, FieldValue, QueueId};

pub fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    entries.iter().cloned().collect()
}

pub fn add_vhost(name: &str) -> Command {
    Command::AddVhost {
        name: name.into(),
        description: "orders".to_owned(),
        tags: vec!["a".to_owned(), "b".to_owned()],
        default_queue_type: Some(QueueKind::Quorum),
    }
}

pub fn exchange(name: &str, kind: &str, durable: bool, arguments: FieldTable) -> Command {
    Command::DeclareExchange {
        vhost: "v".into(),
        name: name.into(),
        kind: kind.to_owned(),
        durable,
        auto_delete: name.contains("auto"),
        internal: name.contains("internal"),
        arguments,
        user: "guest".into(),
    }
}

pub fn queue(name: &str, durable: bool, exclusive: bool, arguments: FieldTable) -> Command {
    Command::DeclareQueue {
        vhost: "v".into(),
        name: name.into(),
        server_named: name.starts_with("amq."),
        durable,
        auto_delete: name.contains("auto"),
        exclusive,
        connection: ConnectionId(70_000),
        arguments,
        user: "guest".into(),
    }
}

pub fn binding(source: &str, destination: Destination, key: &str, arguments: FieldTable) -> Binding {
    Binding { source: source.into(), destination, routing_key: key.into(), arguments }
}

pub fn bind(binding: Binding) -> Command {
    Command::Bind { vhost: "v".into(), binding }
}

pub fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.into())
}

pub fn to_exchange(name: &str) -> Destination {
    Destination::Exchange(name.into())
}

fn text(text: &str) -> FieldValue {
    FieldValue::text(text)
}

fn accounts() -> Vec<Command> {
    let hash = |algorithm| Some(PasswordHash { algorithm, text: "kI3GCqW5JLMJa4iX".to_owned() });
    let (guest, vhost) = (|| "guest".into(), || "v".into());
    vec![
        Command::PutUser {
            name: guest(),
            password_hash: hash(HashAlgorithm::Sha256),
            tags: vec!["administrator".to_owned()],
        },
        Command::PutUser { name: "ö".into(), password_hash: hash(HashAlgorithm::Sha512), tags: Vec::new() },
        Command::PutUser { name: "gone".into(), password_hash: None, tags: Vec::new() },
        Command::DeleteUser { name: "gone".into() },
        Command::SetUserLimit { user: guest(), limit: "max-connections".to_owned(), value: -1 },
        Command::SetUserLimit { user: guest(), limit: "max-channels".to_owned(), value: 9 },
        Command::ClearUserLimit { user: guest(), limit: Some("max-channels".to_owned()) },
        Command::ClearUserLimit { user: "ö".into(), limit: None },
        Command::SetPermission {
            vhost: vhost(),
            user: guest(),
            configure: "^(?!amq\\.).*".to_owned(),
            write: ".*".to_owned(),
            read: String::new(),
        },
        Command::SetPermission {
            vhost: vhost(),
            user: "ö".into(),
            configure: ".*".to_owned(),
            write: ".*".to_owned(),
            read: ".*".to_owned(),
        },
        Command::ClearPermission { vhost: vhost(), user: "ö".into() },
        Command::SetTopicPermission {
            vhost: vhost(),
            user: guest(),
            exchange: "amq.topic".into(),
            write: "^{username}\\.".to_owned(),
            read: String::new(),
        },
        Command::SetTopicPermission {
            vhost: vhost(),
            user: guest(),
            exchange: "e".into(),
            write: "a".to_owned(),
            read: "{vhost}".to_owned(),
        },
        Command::ClearTopicPermission { vhost: vhost(), user: guest(), exchange: Some("e".into()) },
        Command::ClearTopicPermission { vhost: vhost(), user: "ö".into(), exchange: None },
    ]
}

fn policy(name: &str, apply_to: &str, priority: i64, definition: FieldTable, operator: bool) -> Command {
    Command::SetPolicy {
        vhost: "v".into(),
        name: name.to_owned(),
        pattern: "^(q|d)".to_owned(),
        apply_to: apply_to.to_owned(),
        priority,
        definition,
        operator,
    }
}

fn settings() -> Vec<Command> {
    let (vhost, word) = (|| "v".into(), str::to_owned);
    let length = |number| table(&[("max-length", FieldValue::I64(number))]);
    let parameter = |name: &str| Command::SetParameter {
        vhost: vhost(),
        component: word("shovel"),
        name: word(name),
        value: word("{\"a\":[1]}"),
    };
    let global = |name: &str| Command::SetGlobalParameter { name: word(name), value: word("\"x\"") };
    vec![
        Command::SetTracing { vhost: vhost(), on: true },
        Command::SetVhostLimit { vhost: vhost(), limit: word("max-queues"), value: i64::MAX },
        Command::SetVhostLimit { vhost: vhost(), limit: word("max-connections"), value: 5 },
        Command::ClearVhostLimit { vhost: vhost(), limit: Some(word("max-connections")) },
        Command::ClearVhostLimit { vhost: "other".into(), limit: None },
        policy("all", "all", -1, table(&[("alternate-exchange", text("amq.fanout"))]), false),
        policy("exchanges", "exchanges", -2, table(&[("alternate-exchange", text("amq.topic"))]), false),
        policy("queues", "queues", 1, length(5), false),
        policy("classic", "classic_queues", 0, length(6), false),
        policy("quorum", "quorum_queues", 2, length(7), false),
        policy("streams", "streams", 3, length(8), false),
        policy("operator", "queues", 0, length(4), true),
        Command::ClearPolicy { vhost: vhost(), name: word("streams"), operator: false },
        parameter("s"),
        parameter("gone"),
        Command::ClearParameter { vhost: vhost(), component: word("shovel"), name: word("gone") },
        global("cluster_name"),
        global("gone"),
        Command::ClearGlobalParameter { name: word("gone") },
    ]
}

fn exchanges() -> Vec<Command> {
    let delayed = table(&[("x-delayed-type", text("topic"))]);
    vec![
        exchange("direct", "direct", true, table(&[("alternate-exchange", text("missing"))])),
        exchange("fanout internal", "fanout", true, table(&[])),
        exchange("topic auto", "topic", true, table(&[])),
        exchange("headers", "headers", false, table(&[("x-unknown", FieldValue::Void)])),
        exchange("hash", "x-consistent-hash", true, table(&[])),
        exchange("hash header", "x-consistent-hash", true, table(&[("hash-header", text("h"))])),
        exchange("hash id", "x-consistent-hash", true, table(&[("hash-property", text("message_id"))])),
        exchange("hash cid", "x-consistent-hash", true, table(&[("hash-property", text("correlation_id"))])),
        exchange("hash time", "x-consistent-hash", true, table(&[("hash-property", text("timestamp"))])),
        exchange("random", "x-random", true, table(&[])),
        exchange("local", "x-local-random", true, table(&[])),
        exchange("modulus", "x-modulus-hash", true, table(&[])),
        exchange(
            "history",
            "x-recent-history",
            true,
            table(&[("x-recent-history-length", FieldValue::I32(7))]),
        ),
        exchange("delayed", "x-delayed-message", true, delayed),
        exchange("gone", "direct", true, table(&[])),
        Command::DeleteExchange { vhost: "v".into(), name: "gone".into(), if_unused: true },
    ]
}

fn queues() -> Vec<Command> {
    let classic = |entries: &[(&str, FieldValue)]| {
        let mut arguments = table(&[("x-queue-type", text("classic"))]);
        entries.iter().for_each(|(key, value)| arguments.insert(key, value.clone()));
        arguments
    };
    vec![
        queue("q", true, false, table(&[])),
        queue("d", true, false, classic(&[("x-max-priority", FieldValue::U8(5))])),
        queue("d auto", true, false, classic(&[("x-dead-letter-exchange", text("direct"))])),
        queue("passing", false, false, classic(&[("x-expires", FieldValue::I32(1_000))])),
        queue("amq.gen-1", true, true, table(&[])),
        queue("gone", true, false, table(&[])),
        Command::DeleteQueue { vhost: "v".into(), name: "gone".into(), id: Some(QueueId(6)) },
        Command::DeleteQueue { vhost: "v".into(), name: "never".into(), id: None },
        Command::DeleteExclusive { connection: ConnectionId(3) },
    ]
}

fn bindings() -> Vec<Command> {
    let sources =
        ["direct", "fanout internal", "topic auto", "random", "local", "modulus", "history", "delayed"];
    let targets =
        [to_queue("q"), to_queue("passing"), to_queue("d"), to_queue("amq.gen-1"), to_exchange("headers")];
    let mut commands: Vec<Command> = sources
        .iter()
        .flat_map(|source| targets.iter().map(move |target| (source, target)))
        .map(|(source, target)| bind(binding(source, target.clone(), "a.*", table(&[]))))
        .collect();
    for hash in ["hash", "hash header", "hash id", "hash cid", "hash time"] {
        for (target, key) in [("q", "3"), ("passing", "1"), ("d", "2"), ("q", "2"), ("d auto", "9999999999")]
        {
            commands.push(bind(binding(hash, to_queue(target), key, table(&[]))));
        }
    }
    let arguments = table(&[("z", FieldValue::Void), ("a", FieldValue::I8(1)), ("x-match", text("any"))]);
    commands.push(bind(binding("headers", to_queue("d"), "", arguments)));
    let gone = || binding("modulus", to_queue("q"), "a.*", table(&[]));
    commands.push(Command::Unbind { vhost: "v".into(), binding: gone() });
    commands
}

/// Commands of every sort but `Restart`; each of them succeeds after the ones before it.
pub fn commands() -> Vec<Command> {
    let mut commands = vec![add_vhost("v"), add_vhost("other"), add_vhost("gone")];
    commands.push(Command::DeleteVhost { name: "gone".into() });
    for part in [accounts(), settings(), exchanges(), queues(), bindings()] {
        commands.extend(part);
    }
    commands
}

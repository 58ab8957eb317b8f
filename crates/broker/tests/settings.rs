//! Policies, limits, users and vhosts: what they come to and which events tell of it.

use broker::catalog::{Catalog, Command, Event, Outcome};
use broker::policy;
use broker::queue::{Overflow, QueueConfig};
use std::sync::Arc;
use types::{AmqpError, ConnectionId, FieldTable, FieldValue};

const VHOST: &str = "/";

fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    entries.iter().cloned().collect()
}

fn number(value: i64) -> FieldValue {
    FieldValue::I64(value)
}

fn text(value: &str) -> FieldValue {
    FieldValue::text(value)
}

fn apply(catalog: &mut Catalog, command: Command) -> Vec<Event> {
    let mut events = Vec::new();
    catalog.apply(command, &mut events).unwrap();
    events
}

fn new_catalog() -> Catalog {
    let mut catalog = Catalog::new();
    let add = Command::AddVhost {
        name: VHOST.into(),
        description: "first".into(),
        tags: Vec::new(),
        default_queue_type: None,
    };
    assert_eq!(apply(&mut catalog, add.clone()), [Event::VhostAdded(VHOST.into())]);
    assert_eq!(catalog.apply(add, &mut Vec::new()), Ok(Outcome::Done { changed: false }));
    let user = Command::PutUser { name: "u".into(), password_hash: None, tags: vec!["monitoring".into()] };
    assert_eq!(apply(&mut catalog, user), [Event::UserChanged("u".into())]);
    catalog
}

fn declare(catalog: &mut Catalog, name: &str, arguments: FieldTable) {
    let command = Command::DeclareQueue {
        vhost: VHOST.into(),
        name: name.into(),
        server_named: false,
        durable: true,
        auto_delete: false,
        exclusive: false,
        connection: ConnectionId(1),
        arguments,
        user: "u".into(),
    };
    apply(catalog, command);
}

fn set_policy(
    name: &str,
    pattern: &str,
    priority: i64,
    definition: &[(&str, FieldValue)],
    operator: bool,
) -> Command {
    Command::SetPolicy {
        vhost: VHOST.into(),
        name: name.into(),
        pattern: pattern.into(),
        apply_to: "queues".into(),
        priority,
        definition: table(definition),
        operator,
    }
}

fn config(catalog: &Catalog, queue: &str) -> QueueConfig {
    catalog.vhost(VHOST).unwrap().queue(queue).unwrap().config.clone()
}

#[test]
fn arguments_and_both_policies_are_merged() {
    let mut catalog = new_catalog();
    let arguments = table(&[
        ("x-max-length", number(50)),
        ("x-message-ttl", number(9000)),
        ("x-dead-letter-exchange", text("own")),
        ("x-overflow", text("reject-publish")),
        ("x-max-priority", number(7)),
        ("x-single-active-consumer", FieldValue::Bool(true)),
    ]);
    declare(&mut catalog, "q", arguments);
    let user = [
        ("max-length", number(100)),
        ("message-ttl", number(5000)),
        ("expires", number(60)),
        ("dead-letter-exchange", text("policy")),
        ("dead-letter-routing-key", text("k")),
        ("overflow", text("drop-head")),
        ("consumer-timeout", number(77)),
    ];
    let events = apply(&mut catalog, set_policy("p", "^q$", 0, &user, false));
    assert_eq!(events, [Event::QueueConfigured(catalog.vhost(VHOST).unwrap().queue("q").unwrap().clone())]);
    apply(&mut catalog, set_policy("o", "", 0, &[("max-length", number(10)), ("expires", number(90))], true));
    assert_eq!(
        config(&catalog, "q"),
        QueueConfig {
            message_ttl_ms: Some(5000),
            expires_ms: Some(60),
            max_length: Some(10),
            max_length_bytes: None,
            overflow: Overflow::RejectPublish,
            dead_letter_exchange: Some("own".into()),
            dead_letter_routing_key: Some("k".into()),
            max_priority: Some(7),
            single_active_consumer: true,
            delivery_limit: None,
            consumer_timeout_ms: Some(77),
            release_by: None,
        }
    );
    let queue = catalog.vhost(VHOST).unwrap().queue("q").unwrap().clone();
    let effective = policy::effective_definition(queue.policy.as_deref(), queue.operator_policy.as_deref());
    assert_eq!(effective.get("max-length"), Some(&number(10)));
    assert_eq!(effective.get("overflow"), Some(&text("drop-head")));
    for operator in [false, true] {
        let name = if operator { "o" } else { "p" };
        apply(&mut catalog, Command::ClearPolicy { vhost: VHOST.into(), name: name.into(), operator });
    }
    assert_eq!(config(&catalog, "q").max_length, Some(50));
    assert_eq!(config(&catalog, "q").expires_ms, None);
}

#[test]
fn quorum_queues_have_a_delivery_limit() {
    let mut catalog = new_catalog();
    let quorum = |more: &[(&str, FieldValue)]| {
        let mut arguments = table(more);
        arguments.insert("x-queue-type", text("quorum"));
        arguments
    };
    declare(&mut catalog, "plain", quorum(&[]));
    declare(
        &mut catalog,
        "five",
        quorum(&[("x-delivery-limit", number(5)), ("x-overflow", text("reject-publish-dlx"))]),
    );
    declare(&mut catalog, "none", quorum(&[("x-delivery-limit", number(-1))]));
    declare(&mut catalog, "classic", FieldTable::new());
    let limits = |catalog: &Catalog| {
        ["plain", "five", "none", "classic"].map(|name| config(catalog, name).delivery_limit)
    };
    assert_eq!(limits(&catalog), [Some(20), Some(5), None, None]);
    assert_eq!(config(&catalog, "five").overflow, Overflow::DropHead, "not for quorum queues");
    let events = apply(&mut catalog, set_policy("p", "", 0, &[("delivery-limit", number(7))], false));
    assert_eq!(limits(&catalog), [Some(7), Some(5), Some(7), None]);
    assert_eq!(events.len(), 3, "a policy with a quorum key is not for classic queues");
}

#[test]
fn the_highest_priority_applies() {
    let mut catalog = new_catalog();
    declare(&mut catalog, "orders", FieldTable::new());
    let applied = |catalog: &Catalog| {
        let queue = catalog.vhost(VHOST).unwrap().queue("orders").unwrap().clone();
        queue.policy.as_ref().map(|policy| policy.name.clone())
    };
    for (name, pattern, priority, expected) in [
        ("b", "^(?!amq\\.).*", 1, "b"),
        ("a", "orders", 1, "a"),
        ("c", "rde", 0, "a"),
        ("d", "^other", 9, "a"),
        ("e", "", 2, "e"),
    ] {
        apply(&mut catalog, set_policy(name, pattern, priority, &[("max-length", number(1))], false));
        assert_eq!(applied(&catalog).as_deref(), Some(expected));
    }
    let again = set_policy("e", "", 2, &[("max-length", number(1))], false);
    assert_eq!(catalog.apply(again, &mut Vec::new()), Ok(Outcome::Done { changed: false }));
    apply(
        &mut catalog,
        set_policy("m", "", 3, &[("ha-mode", text("exactly")), ("ha-params", number(2))], false),
    );
    let queue = catalog.vhost(VHOST).unwrap().queue("orders").unwrap().clone();
    assert_eq!(queue.policy.as_ref().unwrap().definition.get("ha-params"), Some(&number(2)));
    declare(&mut catalog, "orders-2", FieldTable::new());
    let new = catalog.vhost(VHOST).unwrap().queue("orders-2").unwrap();
    assert!(Arc::ptr_eq(new.policy.as_ref().unwrap(), queue.policy.as_ref().unwrap()));
}

#[test]
fn mirroring_policies_merge_by_rank() {
    let mut catalog = new_catalog();
    declare(&mut catalog, "q", FieldTable::new());
    let nodes = FieldValue::Array(vec![text("rabbit@a")]);
    apply(&mut catalog, set_policy("p", "", 0, &[("ha-mode", text("nodes")), ("ha-params", nodes)], false));
    apply(
        &mut catalog,
        set_policy("o", "", 0, &[("ha-mode", text("exactly")), ("ha-params", number(2))], true),
    );
    let queue = catalog.vhost(VHOST).unwrap().queue("q").unwrap().clone();
    let effective = policy::effective_definition(queue.policy.as_deref(), queue.operator_policy.as_deref());
    assert_eq!(effective.get("ha-mode"), Some(&text("exactly")));
    assert_eq!(effective.get("ha-params"), Some(&number(2)));
}

#[test]
fn a_users_rows_go_with_the_user() {
    let mut catalog = new_catalog();
    let changed = Event::PermissionsChanged { vhost: VHOST.into(), user: "u".into() };
    let permission = Command::SetPermission {
        vhost: VHOST.into(),
        user: "u".into(),
        configure: ".*".into(),
        write: ".*".into(),
        read: ".*".into(),
    };
    assert_eq!(apply(&mut catalog, permission.clone()), std::slice::from_ref(&changed));
    assert_eq!(apply(&mut catalog, permission), []);
    for exchange in ["a", "b"] {
        let row = Command::SetTopicPermission {
            vhost: VHOST.into(),
            user: "u".into(),
            exchange: exchange.into(),
            write: ".*".into(),
            read: ".*".into(),
        };
        assert_eq!(apply(&mut catalog, row), std::slice::from_ref(&changed));
    }
    let one =
        Command::ClearTopicPermission { vhost: VHOST.into(), user: "u".into(), exchange: Some("a".into()) };
    assert_eq!(apply(&mut catalog, one), std::slice::from_ref(&changed));
    assert_eq!(catalog.vhost(VHOST).unwrap().topic_permissions.len(), 1);
    let limit = Command::SetUserLimit { user: "u".into(), limit: "max-channels".into(), value: 3 };
    assert_eq!(apply(&mut catalog, limit), [Event::UserChanged("u".into())]);
    assert_eq!(catalog.users.get("u").unwrap().limits.max_channels, Some(3));
    let events = apply(&mut catalog, Command::DeleteUser { name: "u".into() });
    assert_eq!(events, [changed.clone(), changed, Event::UserDeleted("u".into())]);
    assert!(catalog.vhost(VHOST).unwrap().permissions.is_empty());
    let refused = catalog.apply(Command::DeleteUser { name: "u".into() }, &mut Vec::new());
    assert_eq!(refused, Err(AmqpError::not_found("user 'u' not found")));
}

#[test]
fn a_vhost_goes_with_everything_in_it() {
    let mut catalog = new_catalog();
    declare(&mut catalog, "q", FieldTable::new());
    for (key, value) in [("shovel", "{}"), ("shovel", "{\"a\":1}")] {
        let set = Command::SetParameter {
            vhost: VHOST.into(),
            component: key.into(),
            name: "n".into(),
            value: value.into(),
        };
        assert!(catalog.apply(set, &mut Vec::new()).unwrap().changed());
    }
    let picture = catalog.clone();
    let events = apply(&mut catalog, Command::DeleteVhost { name: VHOST.into() });
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::QueueDeleted(_))), 1);
    assert_eq!(count(|event| matches!(event, Event::ExchangeDeleted(_))), 7);
    assert_eq!(events.last(), Some(&Event::VhostDeleted(VHOST.into())));
    assert!(catalog.vhost(VHOST).is_none());
    assert!(picture.vhost(VHOST).unwrap().queue("q").is_some(), "an older picture stays whole");
    let error = catalog.apply(Command::SetTracing { vhost: VHOST.into(), on: true }, &mut Vec::new());
    assert_eq!(error, Err(AmqpError::not_found("vhost / not found")));
}

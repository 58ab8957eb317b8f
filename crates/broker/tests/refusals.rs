//! Every refusal of the catalog and of access control, word for word as RabbitMQ 3.13 says it.

use broker::access::{self, Access, Resource};
use broker::catalog::{Binding, Catalog, Command, Destination, Event, Outcome, check_exclusive};
use broker::queue::QueueKind;
use types::{AmqpError, ConnectionId, FieldTable, FieldValue};

const VHOST: &str = "/";
const NOBODY: ConnectionId = ConnectionId(1);

fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    entries.iter().cloned().collect()
}

fn text(value: &str) -> FieldValue {
    FieldValue::text(value)
}

fn number(value: i64) -> FieldValue {
    FieldValue::I64(value)
}

fn apply(catalog: &mut Catalog, command: Command) -> Result<Outcome, AmqpError> {
    let mut events = Vec::new();
    let before = format!("{catalog:?}");
    let outcome = catalog.apply(command, &mut events);
    if outcome.is_err() {
        assert_eq!(before, format!("{catalog:?}"), "a refused command changed something");
        assert!(events.is_empty());
    }
    outcome
}

fn new_catalog() -> Catalog {
    let mut catalog = Catalog::new();
    add_vhost(&mut catalog, None);
    let user = Command::PutUser { name: "guest".into(), password_hash: None, tags: Vec::new() };
    apply(&mut catalog, user).unwrap();
    catalog
}

fn add_vhost(catalog: &mut Catalog, default_queue_type: Option<QueueKind>) {
    let command = Command::AddVhost {
        name: VHOST.into(),
        description: String::new(),
        tags: Vec::new(),
        default_queue_type,
    };
    apply(catalog, command).unwrap();
}

/// A durable queue unless `change` says otherwise.
fn queue(name: &str, arguments: FieldTable, change: impl FnOnce(&mut QueueFlags)) -> Command {
    let mut flags = QueueFlags { durable: true, ..QueueFlags::default() };
    change(&mut flags);
    Command::DeclareQueue {
        vhost: VHOST.into(),
        name: name.into(),
        server_named: flags.server_named,
        durable: flags.durable,
        auto_delete: flags.auto_delete,
        exclusive: flags.exclusive,
        connection: flags.connection.unwrap_or(NOBODY),
        arguments,
        user: "guest".into(),
    }
}

#[derive(Default)]
struct QueueFlags {
    server_named: bool,
    durable: bool,
    auto_delete: bool,
    exclusive: bool,
    connection: Option<ConnectionId>,
}

fn plain(_: &mut QueueFlags) {}

fn exchange(name: &str, kind: &str, durable: bool, arguments: FieldTable) -> Command {
    Command::DeclareExchange {
        vhost: VHOST.into(),
        name: name.into(),
        kind: kind.into(),
        durable,
        auto_delete: false,
        internal: false,
        arguments,
        user: "guest".into(),
    }
}

fn bind(source: &str, destination: Destination, key: &str, arguments: FieldTable) -> Command {
    let binding = Binding { source: source.into(), destination, routing_key: key.into(), arguments };
    Command::Bind { vhost: VHOST.into(), binding }
}

fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.into())
}

fn refused(catalog: &mut Catalog, command: Command, expected: &str) {
    match apply(catalog, command.clone()) {
        Ok(outcome) => panic!("{command:?} gave {outcome:?}"),
        Err(error) => {
            assert_eq!(format!("{} {}", error.code.code(), error.explanation), expected, "{command:?}")
        }
    }
}

#[test]
fn arguments_of_new_queues() {
    let classic = |entries: &[(&str, FieldValue)]| table(entries);
    let quorum = |entries: &[(&str, FieldValue)]| {
        let mut table = table(entries);
        table.insert("x-queue-type", text("quorum"));
        table
    };
    let mut catalog = new_catalog();
    for (arguments, expected) in [
        (classic(&[("x-message-ttl", number(-1))]), "'x-message-ttl' for Q: {value_negative,-1}"),
        (
            classic(&[("x-message-ttl", text("5"))]),
            "'x-message-ttl' for Q: \"expected integer, got longstr\"",
        ),
        (
            classic(&[("x-message-ttl", number(1 << 40))]),
            "'x-message-ttl' for Q: {value_too_large,1099511627776}",
        ),
        (classic(&[("x-expires", number(0))]), "'x-expires' for Q: {value_zero,0}"),
        (
            classic(&[("x-expires", FieldValue::Bool(true))]),
            "'x-expires' for Q: \"expected integer, got bool\"",
        ),
        (classic(&[("x-max-length", number(-7))]), "'x-max-length' for Q: {value_negative,-7}"),
        (classic(&[("x-max-length-bytes", number(-7))]), "'x-max-length-bytes' for Q: {value_negative,-7}"),
        (classic(&[("x-max-priority", number(256))]), "'x-max-priority' for Q: {max_value_exceeded,256}"),
        (classic(&[("x-max-priority", number(-1))]), "'x-max-priority' for Q: {value_negative,-1}"),
        (classic(&[("x-overflow", text("drop"))]), "'x-overflow' for Q: invalid_overflow"),
        (classic(&[("x-overflow", number(1))]), "'x-overflow' for Q: {unacceptable_type,long}"),
        (
            classic(&[("x-queue-mode", text("eager"))]),
            "'x-queue-mode' for Q: \"unsupported queue mode 'eager'\"",
        ),
        (
            classic(&[("x-queue-version", number(3))]),
            "'x-queue-version' for Q: \"unsupported queue version '3'\"",
        ),
        (
            classic(&[("x-single-active-consumer", text("true"))]),
            "'x-single-active-consumer' for Q: {unacceptable_type,longstr}",
        ),
        (
            classic(&[("x-dead-letter-routing-key", text("k"))]),
            "'x-dead-letter-routing-key' for Q: routing_key_but_no_dlx_defined",
        ),
        (
            classic(&[("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", number(1))]),
            "'x-dead-letter-routing-key' for Q: {unacceptable_type,long}",
        ),
        (classic(&[("x-queue-type", text("odd"))]), "'x-queue-type' for Q: \"unsupported queue type 'odd'\""),
        (
            classic(&[("x-queue-type", text("stream"))]),
            "'x-queue-type' for Q: \"unsupported queue type 'stream'; supported are 'classic' and 'quorum'\"",
        ),
        (classic(&[("x-queue-type", number(1))]), "'x-queue-type' for Q: {unacceptable_type,long}"),
        (classic(&[("x-max-age", text("1D"))]), "'x-max-age' for Q of queue type rabbit_classic_queue"),
        (
            quorum(&[("x-max-priority", number(1))]),
            "'x-max-priority' for Q of queue type rabbit_quorum_queue",
        ),
        (
            quorum(&[("x-dead-letter-strategy", text("x"))]),
            "'x-dead-letter-strategy' for Q: invalid_dlx_strategy",
        ),
        (
            quorum(&[("x-quorum-initial-group-size", number(0))]),
            "'x-quorum-initial-group-size' for Q: {value_zero,0}",
        ),
        (
            quorum(&[("x-queue-leader-locator", text("x"))]),
            "'x-queue-leader-locator' for Q: invalid_queue_locator_arg",
        ),
    ] {
        let expected = format!("406 invalid arg {}", expected.replace('Q', "queue 'q' in vhost '/'"));
        refused(&mut catalog, queue("q", arguments, plain), &expected);
    }
    refused(
        &mut catalog,
        queue("q", table(&[("x-dead-letter-exchange", number(1))]), plain),
        "406 invalid type 'long' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
    );
    let accepted = table(&[
        ("x-message-ttl", FieldValue::U8(0)),
        ("x-expires", FieldValue::I16(1)),
        ("x-max-priority", FieldValue::I32(255)),
        ("x-foo", FieldValue::Void),
    ]);
    apply(&mut catalog, queue("q", accepted, plain)).unwrap();
}

#[test]
fn properties_of_new_queues() {
    let mut catalog = new_catalog();
    let quorum = || table(&[("x-queue-type", text("quorum"))]);
    for (change, expected) in [
        (
            (|flags| flags.auto_delete = true) as fn(&mut QueueFlags),
            "406 invalid property 'auto-delete' for Q",
        ),
        (|flags| flags.exclusive = true, "406 invalid property 'exclusive-owner' for Q"),
        (|flags| flags.durable = false, "406 invalid property 'non-durable' for Q"),
        (
            |flags| flags.server_named = true,
            "406 Cannot declare a server-named queue for type rabbit_quorum_queue",
        ),
    ] {
        refused(&mut catalog, queue("q", quorum(), change), &expected.replace('Q', "queue 'q' in vhost '/'"));
    }
    refused(
        &mut catalog,
        queue("amq.mine", FieldTable::new(), plain),
        "403 queue name 'amq.mine' contains reserved prefix 'amq.*'",
    );
    let named = |flags: &mut QueueFlags| flags.server_named = true;
    apply(&mut catalog, queue("amq.gen-1", FieldTable::new(), named)).unwrap();
    apply(&mut catalog, queue("amq.gen-1", FieldTable::new(), plain)).unwrap();
    let limit = Command::SetVhostLimit { vhost: VHOST.into(), limit: "max-queues".into(), value: 1 };
    apply(&mut catalog, limit).unwrap();
    refused(
        &mut catalog,
        queue("q", FieldTable::new(), plain),
        "406 cannot declare queue 'q': queue limit in vhost '/' (1) is reached",
    );
    let unlimited = Command::SetVhostLimit { vhost: VHOST.into(), limit: "max-queues".into(), value: -1 };
    apply(&mut catalog, unlimited).unwrap();
    apply(&mut catalog, queue("q", FieldTable::new(), plain)).unwrap();
}

#[test]
fn a_queue_declared_again() {
    let mut catalog = new_catalog();
    let ttl = |value| table(&[("x-message-ttl", value)]);
    apply(&mut catalog, queue("q", ttl(FieldValue::I32(5)), plain)).unwrap();
    let again = |catalog: &mut Catalog, arguments, change: fn(&mut QueueFlags), expected: &str| {
        refused(catalog, queue("q", arguments, change), &expected.replace('Q', "for queue 'q' in vhost '/'"));
    };
    let expected = "406 inequivalent arg 'durable' Q: received 'false' but current is 'true'";
    again(&mut catalog, ttl(number(5)), |flags| flags.durable = false, expected);
    let expected = "406 inequivalent arg 'auto_delete' Q: received 'true' but current is 'false'";
    again(&mut catalog, ttl(number(5)), |flags| flags.auto_delete = true, expected);
    let expected = "406 inequivalent arg 'x-message-ttl' Q: received '6' but current is '5'";
    again(&mut catalog, ttl(number(6)), plain, expected);
    let expected = "406 inequivalent arg 'x-message-ttl' Q: received none but current is the value '5' of type 'signedint'";
    again(&mut catalog, FieldTable::new(), plain, expected);
    let mut more = ttl(number(5));
    more.insert("x-overflow", text("drop-head"));
    let expected = "406 inequivalent arg 'x-overflow' Q: received the value 'drop-head' of type 'longstr' but current is none";
    again(&mut catalog, more, plain, expected);
    let mut quorum = ttl(number(5));
    quorum.insert("x-queue-type", text("quorum"));
    let expected = "406 inequivalent arg 'x-queue-type' Q: received the value 'quorum' of type 'longstr' but current is none";
    again(&mut catalog, quorum, plain, expected);
    let mut same = ttl(FieldValue::U8(5));
    same.insert("x-queue-type", text("classic"));
    same.insert("x-foo", text("not compared"));
    let outcome = apply(&mut catalog, queue("q\r\n", same, plain)).unwrap();
    assert!(matches!(outcome, Outcome::Queue { created: false, .. }));
}

#[test]
fn a_vhost_may_have_a_default_type() {
    let mut catalog = new_catalog();
    add_vhost(&mut catalog, Some(QueueKind::Quorum));
    let kind = |catalog: &mut Catalog, command| match apply(catalog, command) {
        Ok(Outcome::Queue { queue, .. }) => queue.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(&mut catalog, queue("q", FieldTable::new(), plain)), QueueKind::Quorum);
    assert_eq!(kind(&mut catalog, queue("q", FieldTable::new(), plain)), QueueKind::Quorum);
    let exclusive = |flags: &mut QueueFlags| flags.exclusive = true;
    assert_eq!(kind(&mut catalog, queue("mine", FieldTable::new(), exclusive)), QueueKind::Classic);
    let classic = table(&[("x-queue-type", text("classic"))]);
    assert_eq!(kind(&mut catalog, queue("old", classic.clone(), plain)), QueueKind::Classic);
    refused(
        &mut catalog,
        queue("q", classic, plain),
        "406 inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'classic' but current is 'quorum'",
    );
}

#[test]
fn another_connections_queue() {
    let locked = "405 cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally \
                  declared on another connection or the exclusive property value does not match that of the \
                  original declaration.";
    let mut catalog = new_catalog();
    let outcome = apply(&mut catalog, queue("q", FieldTable::new(), |flags| flags.exclusive = true)).unwrap();
    let Outcome::Queue { queue: mine, created: true } = outcome else { panic!("{outcome:?}") };
    assert!(!mine.durable, "an exclusive queue is never durable");
    refused(&mut catalog, queue("q", FieldTable::new(), plain), locked);
    let other = |flags: &mut QueueFlags| {
        flags.exclusive = true;
        flags.connection = Some(ConnectionId(2));
    };
    refused(&mut catalog, queue("q", FieldTable::new(), other), locked);
    let error = check_exclusive(&mine, ConnectionId(2)).unwrap_err();
    assert_eq!(format!("{} {}", error.code.code(), error.explanation), locked);
    check_exclusive(&mine, NOBODY).unwrap();
    let mut events = Vec::new();
    catalog.apply(Command::DeleteExclusive { connection: ConnectionId(2) }, &mut events).unwrap();
    assert!(events.is_empty());
    catalog.apply(Command::DeleteExclusive { connection: NOBODY }, &mut events).unwrap();
    assert_eq!(events, [Event::QueueDeleted(mine)]);
}

#[test]
fn exchanges() {
    let mut catalog = new_catalog();
    let none = FieldTable::new;
    for (command, expected) in [
        (exchange("x", "odd", true, none()), "406 unknown exchange type 'odd'"),
        (exchange("", "direct", true, none()), "403 operation not permitted on the default exchange"),
        (
            exchange("amq.mine", "direct", true, none()),
            "403 exchange name 'amq.mine' contains reserved prefix 'amq.*'",
        ),
        (
            exchange("x", "direct", true, table(&[("alternate-exchange", FieldValue::Bool(true))])),
            "406 invalid type 'bool' for arg 'alternate-exchange' in exchange 'x' in vhost '/'",
        ),
        (
            exchange(
                "x",
                "x-consistent-hash",
                true,
                table(&[("hash-header", text("h")), ("hash-property", text("p"))]),
            ),
            "406 hash-header and hash-property are mutually exclusive",
        ),
        (
            exchange("x", "x-consistent-hash", true, table(&[("hash-property", text("app_id"))])),
            "406 Unsupported property: app_id",
        ),
        (
            exchange("x", "x-delayed-message", true, none()),
            "406 Invalid argument, 'x-delayed-type' must be an existing exchange type",
        ),
        (
            exchange("x", "x-delayed-message", true, table(&[("x-delayed-type", text("odd"))])),
            "406 unknown exchange type 'odd'",
        ),
        (
            exchange("x", "x-recent-history", true, table(&[("x-recent-history-length", number(0))])),
            "406 Invalid argument 0, 'x-recent-history-length' must be a positive integer",
        ),
        (
            Command::DeleteExchange { vhost: VHOST.into(), name: "amq.topic".into(), if_unused: false },
            "403 deletion of system exchange 'amq.topic' in vhost '/' not allowed",
        ),
        (
            Command::DeleteExchange { vhost: VHOST.into(), name: "".into(), if_unused: false },
            "403 operation not permitted on the default exchange",
        ),
    ] {
        refused(&mut catalog, command, expected);
    }
    apply(&mut catalog, exchange("amq.topic", "topic", true, none())).unwrap();
    apply(&mut catalog, exchange("x", "direct", true, none())).unwrap();
    for (command, expected) in [
        (exchange("x", "fanout", true, none()), "'type' for X: received 'fanout' but current is 'direct'"),
        (
            exchange("x", "x-random", true, none()),
            "'type' for X: received ''x-random'' but current is 'direct'",
        ),
        (exchange("x", "direct", false, none()), "'durable' for X: received 'false' but current is 'true'"),
        (
            exchange("x", "direct", true, table(&[("alternate-exchange", text("y"))])),
            "'alternate-exchange' for X: received the value 'y' of type 'longstr' but current is none",
        ),
    ] {
        let expected = format!("406 inequivalent arg {}", expected.replace('X', "exchange 'x' in vhost '/'"));
        refused(&mut catalog, command, &expected);
    }
}

#[test]
fn bindings() {
    let mut catalog = new_catalog();
    apply(&mut catalog, queue("q", FieldTable::new(), plain)).unwrap();
    apply(&mut catalog, exchange("hash", "x-consistent-hash", true, FieldTable::new())).unwrap();
    let none = FieldTable::new;
    let exchange_to = |name: &str| Destination::Exchange(name.into());
    for (command, expected) in [
        (bind("x", to_queue("q"), "", none()), "404 no exchange 'x' in vhost '/'"),
        (bind("amq.topic", to_queue("p"), "", none()), "404 no queue 'p' in vhost '/'"),
        (bind("amq.topic", exchange_to("y"), "", none()), "404 no exchange 'y' in vhost '/'"),
        (bind("", to_queue("q"), "", none()), "403 operation not permitted on the default exchange"),
        (
            bind("amq.topic", exchange_to(""), "", none()),
            "403 operation not permitted on the default exchange",
        ),
        (bind("hash", to_queue("q"), "ten", none()), "406 The binding key must be an integer: <<\"ten\">>"),
        (bind("hash", to_queue("q"), "0", none()), "406 The binding key must be greater than 0"),
        (
            bind("amq.headers", to_queue("q"), "", table(&[("x-match", text("some"))])),
            "406 Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x",
        ),
        (
            bind("amq.headers", to_queue("q"), "", table(&[("x-match", number(1))])),
            "406 Invalid x-match field type long (value 1); expected longstr",
        ),
    ] {
        refused(&mut catalog, command, expected);
    }
    let bound = bind("hash", to_queue("q"), "3", none());
    assert_eq!(apply(&mut catalog, bound.clone()), Ok(Outcome::Done { changed: true }));
    assert_eq!(apply(&mut catalog, bound), Ok(Outcome::Done { changed: false }));
    let delete = Command::DeleteExchange { vhost: VHOST.into(), name: "hash".into(), if_unused: true };
    refused(&mut catalog, delete, "406 exchange 'hash' in vhost '/' in use");
    for (source, destination) in
        [("hash", to_queue("gone")), ("gone", to_queue("q")), ("amq.topic", to_queue("q"))]
    {
        let binding =
            Binding { source: source.into(), destination, routing_key: "".into(), arguments: none() };
        let unbind = Command::Unbind { vhost: VHOST.into(), binding };
        assert_eq!(apply(&mut catalog, unbind), Ok(Outcome::Done { changed: false }));
    }
}

#[test]
fn policies() {
    let mut catalog = new_catalog();
    let policy = |pattern: &str, apply_to: &str, definition: FieldTable, operator| Command::SetPolicy {
        vhost: VHOST.into(),
        name: "p".into(),
        pattern: pattern.into(),
        apply_to: apply_to.into(),
        priority: 0,
        definition,
        operator,
    };
    let one = |key: &str, value: FieldValue| policy("", "all", table(&[(key, value)]), false);
    for (command, expected) in [
        (policy("", "all", FieldTable::new(), false), "no policy provided"),
        (one("foo", text("bar")), "[{<<\"foo\">>,<<\"bar\">>}] are not recognised policy settings"),
        (one("message-ttl", number(-1)), "-1 is not a valid message TTL"),
        (one("expires", number(0)), "0 is not a valid queue expiry"),
        (one("max-length", text("1")), "<<\"1\">> is not a valid maximum length"),
        (one("overflow", text("x")), "<<\"x\">> is not a valid overflow value"),
        (one("dead-letter-exchange", number(1)), "1 is not a valid dead letter exchange name"),
        (one("delivery-limit", text("x")), "<<\"x\">> is not a valid delivery limit"),
        (one("max-age", text("D")), "<<\"D\">> is not a valid max age"),
        (
            one("ha-params", number(2)),
            "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown",
        ),
        (one("ha-mode", text("some")), "<<\"some\">> is not a valid ha-mode value"),
        (one("ha-mode", text("exactly")), "ha-mode=\"exactly\" takes an integer, none given"),
        (
            policy("", "things", table(&[("expires", number(1))]), false),
            "apply-to 'things' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
             'streams', 'exchanges', or 'all'",
        ),
        (
            policy("", "all", table(&[("alternate-exchange", text("x"))]), true),
            "[{<<\"alternate-exchange\">>,<<\"x\">>}] are not recognised policy settings",
        ),
    ] {
        refused(&mut catalog, command, &format!("406 Validation failed\n\n{expected}\n"));
    }
    let error = apply(&mut catalog, policy("(", "all", table(&[("expires", number(1))]), false)).unwrap_err();
    assert!(error.explanation.contains("pattern should be regular expression but is invalid"), "{error}");
}

#[test]
fn access_is_refused() {
    let mut catalog = new_catalog();
    let user = catalog.users.get("guest").unwrap().clone();
    let told = |result: Result<(), AmqpError>| {
        result
            .map_or_else(|error| format!("{} {}", error.code.code(), error.explanation), |()| "ok".to_owned())
    };
    assert_eq!(told(access::check_vhost(None, "v", &user)), "530 vhost v not found");
    let vhost = catalog.vhost(VHOST).unwrap();
    let expected = "530 access to vhost '/' refused for user 'guest'";
    assert_eq!(told(access::check_vhost(Some(vhost), VHOST, &user)), expected);
    let permission = |write: &str| Command::SetPermission {
        vhost: VHOST.into(),
        user: "guest".into(),
        configure: "".into(),
        write: write.into(),
        read: ".*".into(),
    };
    let error = apply(&mut catalog, permission("(")).unwrap_err();
    assert!(error.explanation.starts_with("invalid regular expression '('"), "{error}");
    apply(&mut catalog, permission("^(w|amq\\.default)")).unwrap();
    let topic = Command::SetTopicPermission {
        vhost: VHOST.into(),
        user: "guest".into(),
        exchange: "amq.topic".into(),
        write: "^{username}\\.".into(),
        read: "^{vhost}$".into(),
    };
    apply(&mut catalog, topic).unwrap();
    let vhost = catalog.vhost(VHOST).unwrap();
    access::check_vhost(Some(vhost), VHOST, &user).unwrap();
    for (access, resource, expected) in [
        (Access::Read, Resource::Queue("q"), "ok"),
        (Access::Write, Resource::Exchange(""), "ok"),
        (Access::Write, Resource::Queue("w1"), "ok"),
        (Access::Configure, Resource::Queue(""), "ok"),
        (
            Access::Configure,
            Resource::Exchange(""),
            "403 configure access to exchange 'amq.default' in vhost '/' refused for user 'guest'",
        ),
        (
            Access::Configure,
            Resource::Queue("q"),
            "403 configure access to queue 'q' in vhost '/' refused for user 'guest'",
        ),
        (
            Access::Write,
            Resource::Exchange("x"),
            "403 write access to exchange 'x' in vhost '/' refused for user 'guest'",
        ),
    ] {
        assert_eq!(told(access::check(vhost, &user, access, resource)), expected);
    }
    for (exchange, access, key, expected) in [
        ("amq.topic", Access::Write, "guest.a", "ok"),
        ("other", Access::Write, "a", "ok"),
        ("amq.topic", Access::Read, "/", "ok"),
        (
            "amq.topic",
            Access::Write,
            "a",
            "403 write access to topic 'a' in exchange 'amq.topic' in vhost '/' refused for user 'guest'",
        ),
    ] {
        assert_eq!(told(access::check_topic(vhost, &user, exchange, access, key.as_bytes())), expected);
    }
}

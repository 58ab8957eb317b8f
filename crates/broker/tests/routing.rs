//! Routing through each type of exchange, and what a caller may remember of it.

use broker::catalog::{Binding, Catalog, Command, Destination, Outcome, Vhost};
use broker::router::{self, Routes, RoutingInput};
use std::collections::BTreeSet;
use types::properties::OwnedProperties;
use types::{ConnectionId, FieldTable, FieldValue, Properties};

const VHOST: &str = "/";

struct Broker {
    catalog: Catalog,
}

impl Broker {
    fn new() -> Broker {
        let mut broker = Broker { catalog: Catalog::new() };
        broker.apply(Command::AddVhost {
            name: VHOST.into(),
            description: String::new(),
            tags: Vec::new(),
            default_queue_type: None,
        });
        broker
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.catalog.apply(command, &mut Vec::new()).unwrap()
    }

    fn vhost(&self) -> &Vhost {
        self.catalog.vhost(VHOST).unwrap()
    }

    fn queues(&mut self, names: &[&str]) {
        for name in names {
            self.apply(Command::DeclareQueue {
                vhost: VHOST.into(),
                name: (*name).into(),
                server_named: false,
                durable: true,
                auto_delete: false,
                exclusive: false,
                connection: ConnectionId(1),
                arguments: FieldTable::new(),
                user: "guest".into(),
            });
        }
    }

    fn exchange(&mut self, name: &str, kind: &str, arguments: &[(&str, FieldValue)]) {
        self.apply(Command::DeclareExchange {
            vhost: VHOST.into(),
            name: name.into(),
            kind: kind.into(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: arguments.iter().cloned().collect(),
            user: "guest".into(),
        });
    }

    /// Binds to the exchange of this name if there is one, else to the queue.
    fn bind(&mut self, source: &str, destination: &str, key: &str) {
        let destination = match self.vhost().exchange(destination) {
            Some(_) => Destination::Exchange(destination.into()),
            None => Destination::Queue(destination.into()),
        };
        let binding = Binding {
            source: source.into(),
            destination,
            routing_key: key.into(),
            arguments: FieldTable::new(),
        };
        self.apply(Command::Bind { vhost: VHOST.into(), binding });
    }

    fn route(&self, exchange: &str, key: &str, properties: OwnedProperties, random: u64) -> Routes {
        let raw = properties.encode();
        let parsed = Properties::parse(&raw).unwrap();
        let mut routes = Routes::default();
        let input = RoutingInput { routing_key: key.as_bytes(), properties: Some(&parsed), random };
        router::route(self.vhost(), self.vhost().exchange(exchange).unwrap(), &input, &mut routes);
        routes
    }

    fn names(&self, routes: &Routes) -> String {
        let named = |id| self.vhost().queues.values().find(|queue| queue.id == id).unwrap().name.to_string();
        routes.queues.iter().map(|&id| named(id)).collect::<Vec<_>>().join(" ")
    }

    fn found(&self, exchange: &str, key: &str) -> String {
        self.names(&self.route(exchange, key, OwnedProperties::default(), 0))
    }
}

fn with_headers(entries: &[(&str, FieldValue)]) -> OwnedProperties {
    OwnedProperties { headers: Some(entries.iter().cloned().collect()), ..Default::default() }
}

#[test]
fn the_default_exchange_knows_every_queue() {
    let mut broker = Broker::new();
    broker.queues(&["q"]);
    assert_eq!(broker.found("", "q"), "q");
    assert_eq!(broker.found("", "p"), "");
    assert!(!broker.route("", "q", OwnedProperties::default(), 0).cacheable);
    let mut routes = broker.route("", "q", OwnedProperties::default(), 0);
    let input = RoutingInput { routing_key: &[0xff], properties: None, random: 0 };
    router::route(broker.vhost(), broker.vhost().exchange("").unwrap(), &input, &mut routes);
    assert!(routes.queues.is_empty(), "old routes go");
}

#[test]
fn exchanges_behind_exchanges_and_alternates() {
    let mut broker = Broker::new();
    broker.queues(&["a", "b", "c"]);
    broker.exchange("one", "direct", &[("alternate-exchange", FieldValue::text("two"))]);
    broker.exchange("two", "direct", &[("alternate-exchange", FieldValue::text("three"))]);
    broker.exchange("three", "fanout", &[("alternate-exchange", FieldValue::text("one"))]);
    assert_eq!(broker.found("one", "k"), "", "a circle of alternates ends");
    broker.bind("three", "c", "");
    assert_eq!(broker.found("one", "k"), "c");
    broker.bind("one", "two", "k");
    broker.bind("two", "one", "k");
    broker.bind("two", "a", "k");
    broker.bind("one", "a", "k");
    assert_eq!(broker.found("one", "k"), "a", "one copy, no alternate, no circle");
    assert_eq!(broker.found("two", "k"), "a");
    assert_eq!(broker.found("two", "other"), "c");
    assert!(broker.route("one", "k", OwnedProperties::default(), 0).cacheable);
    broker.exchange("last", "direct", &[("alternate-exchange", FieldValue::text(""))]);
    assert_eq!(broker.found("last", "b"), "b", "the default exchange as alternate");
    assert!(!broker.route("last", "b", OwnedProperties::default(), 0).cacheable);
}

#[test]
fn senders_may_name_more_keys() {
    let mut broker = Broker::new();
    broker.queues(&["a", "b", "c", "d"]);
    broker.exchange("x", "direct", &[]);
    for name in ["a", "b", "c", "d"] {
        broker.bind("x", name, name);
    }
    let list = |keys: &[&str]| FieldValue::Array(keys.iter().map(|key| FieldValue::text(key)).collect());
    let copies = with_headers(&[("CC", list(&["b", "a"])), ("BCC", list(&["c"]))]);
    for exchange in ["x", ""] {
        let routes = broker.route(exchange, "a", copies.clone(), 0);
        assert_eq!(broker.names(&routes), "a b c");
        assert!(!routes.cacheable);
    }
    for (headers, expected) in [
        (with_headers(&[("CC", list(&["b"]))]), true),
        (with_headers(&[("n", FieldValue::Void), ("BCC", list(&[]))]), true),
        (with_headers(&[("CC", FieldValue::text("b"))]), false),
        (with_headers(&[("ACC", FieldValue::text("CC"))]), false),
        (OwnedProperties::default(), false),
    ] {
        let raw = headers.encode();
        assert_eq!(router::names_more_keys(&Properties::parse(&raw).unwrap()), expected, "{headers:?}");
    }
}

#[test]
fn delays_are_parked_and_routed_when_due() {
    let mut broker = Broker::new();
    broker.queues(&["a"]);
    broker.exchange("late", "x-delayed-message", &[("x-delayed-type", FieldValue::text("direct"))]);
    broker.bind("late", "a", "k");
    for (delay, expected) in [
        (FieldValue::I32(5), Some(5)),
        (FieldValue::text("70"), Some(70)),
        (FieldValue::I64(u32::MAX.into()), Some(u64::from(u32::MAX))),
        (FieldValue::I64(1 << 32), None),
        (FieldValue::I8(0), None),
        (FieldValue::I8(-4), None),
        (FieldValue::text("soon"), None),
    ] {
        let properties = with_headers(&[("x-delay", delay)]);
        let raw = properties.encode();
        let parsed = Properties::parse(&raw).unwrap();
        let exchange = broker.vhost().exchange("late").unwrap();
        assert_eq!(router::delay_ms(exchange, &parsed), expected);
        assert_eq!(router::delay_ms(broker.vhost().exchange("amq.direct").unwrap(), &parsed), None);
        let routes = broker.route("late", "k", properties.clone(), 0);
        assert!(!routes.cacheable);
        assert_eq!(routes.delayed.len(), usize::from(expected.is_some()));
        assert_eq!(broker.names(&routes), if expected.is_some() { "" } else { "a" });
        let mut due = Routes::default();
        let input = RoutingInput { routing_key: b"k", properties: Some(&parsed), random: 0 };
        router::route_due(broker.vhost(), exchange, &input, &mut due);
        assert_eq!((broker.names(&due).as_str(), due.delayed.len()), ("a", 0));
    }
}

#[test]
fn recent_history_is_told() {
    let mut broker = Broker::new();
    broker.queues(&["a"]);
    broker.exchange("log", "x-recent-history", &[]);
    broker.exchange("x", "fanout", &[]);
    broker.bind("x", "log", "");
    broker.bind("log", "a", "");
    let routes = broker.route("x", "", OwnedProperties::default(), 0);
    assert_eq!((broker.names(&routes).as_str(), routes.recent_history.len()), ("a", 1));
    let no_store = with_headers(&[("x-recent-history-no-store", FieldValue::Bool(true))]);
    let routes = broker.route("x", "", no_store, 0);
    assert_eq!((broker.names(&routes).as_str(), routes.recent_history.len()), ("a", 0));
}

#[test]
fn one_binding_is_picked() {
    let mut broker = Broker::new();
    broker.queues(&["a", "b", "c"]);
    for kind in ["x-random", "x-local-random", "x-modulus-hash", "x-consistent-hash"] {
        broker.exchange(kind, kind, &[]);
        for queue in ["a", "b", "c"] {
            broker.bind(kind, queue, "1");
        }
        let mut seen = BTreeSet::new();
        for number in 0..60 {
            let key = if kind.ends_with("random") { "k".to_owned() } else { format!("k{number}") };
            let routes = broker.route(kind, &key, OwnedProperties::default(), number);
            assert_eq!(routes.queues.len(), 1);
            assert_eq!(routes.cacheable, kind.ends_with("hash"), "{kind}");
            assert_eq!(routes, broker.route(kind, &key, OwnedProperties::default(), number), "{kind}");
            seen.insert(broker.names(&routes));
        }
        assert_eq!(seen.len(), 3, "{kind}");
    }
}

#[test]
fn hashing_by_header_and_property() {
    let mut broker = Broker::new();
    broker.queues(&["a", "b", "c"]);
    broker.exchange("by-header", "x-consistent-hash", &[("hash-header", FieldValue::text("h"))]);
    broker.exchange("by-id", "x-consistent-hash", &[("hash-property", FieldValue::text("message_id"))]);
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    for queue in ["a", "b", "c"] {
        broker.bind("by-header", queue, "1");
        broker.bind("by-id", queue, "1");
    }
    for number in 0..40i32 {
        let small = with_headers(&[("h", FieldValue::I16(number as i16))]);
        let large = with_headers(&[("h", FieldValue::I64(number.into()))]);
        let by_header = broker.route("by-header", &number.to_string(), small, 0);
        assert_eq!(by_header, broker.route("by-header", "k", large, 0), "widths of integers");
        assert!(!by_header.cacheable);
        seen[0].insert(broker.names(&by_header));
        let message_id = Some(number.to_string().into_bytes().into());
        let by_id = broker.route("by-id", "k", OwnedProperties { message_id, ..Default::default() }, 0);
        seen[1].insert(broker.names(&by_id));
    }
    assert_eq!(seen.map(|seen| seen.len()), [3, 3]);
    assert_eq!(
        broker.found("by-header", "1"),
        broker.found("by-header", "2"),
        "without the header always the same"
    );
}

#[test]
fn a_weight_beyond_the_largest_goes_with_its_binding() {
    let mut broker = Broker::new();
    broker.queues(&["a", "b"]);
    broker.exchange("x", "x-consistent-hash", &[]);
    broker.bind("x", "a", "9999999999");
    broker.bind("x", "a", "1");
    broker.bind("x", "b", "1");
    let shares = |broker: &Broker| {
        let found: Vec<String> = (0..100).map(|key| broker.found("x", &format!("k{key}"))).collect();
        found.iter().filter(|name| *name == "b").count()
    };
    assert_eq!(shares(&broker), 0);
    let binding = Binding {
        source: "x".into(),
        destination: Destination::Queue("a".into()),
        routing_key: "9999999999".into(),
        arguments: FieldTable::new(),
    };
    broker.apply(Command::Unbind { vhost: VHOST.into(), binding });
    assert!((30..70).contains(&shares(&broker)), "{}", shares(&broker));
}

#[test]
fn an_automatic_exchange_goes_with_its_last_binding() {
    let mut broker = Broker::new();
    broker.queues(&["a"]);
    for (name, auto_delete) in [("outer", true), ("inner", true), ("stays", false)] {
        broker.apply(Command::DeclareExchange {
            vhost: VHOST.into(),
            name: name.into(),
            kind: "fanout".into(),
            durable: false,
            auto_delete,
            internal: false,
            arguments: FieldTable::new(),
            user: "guest".into(),
        });
    }
    broker.bind("outer", "inner", "");
    broker.bind("stays", "inner", "");
    broker.bind("inner", "a", "");
    broker.apply(Command::DeleteQueue { vhost: VHOST.into(), name: "a".into(), id: None });
    let left = |name: &str| broker.vhost().exchange(name).is_some();
    assert_eq!(["outer", "inner", "stays"].map(left), [false, false, true]);
    assert_eq!(broker.vhost().binding_count(), 0);
}

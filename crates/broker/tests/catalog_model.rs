//! The catalog and the router against the plainest model of them: any sequence of commands, checked after
//! every step.

use broker::catalog::{Binding, Catalog, Command, Destination, Event, Exchange, ExchangeKind, Vhost};
use broker::router::{self, Routes, RoutingInput};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use types::properties::OwnedProperties;
use types::{ConnectionId, FieldTable, FieldValue, Properties, QueueId};

const VHOST: &str = "/";
const EXCHANGES: [&str; 7] = ["e0", "e1", "e2", "e3", "e4", "amq.topic", "amq.direct"];
const QUEUES: [&str; 4] = ["q0", "q1", "q2", "q3"];
const KINDS: [&str; 6] = ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-random"];
const BINDING_KEYS: [&str; 7] = ["a", "a.b", "*", "#", "1", "2", ""];
const KEYS: [&str; 5] = ["a", "a.b", "1", "", "q0"];

fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    entries.iter().cloned().collect()
}

fn headers() -> Vec<FieldTable> {
    vec![
        table(&[]),
        table(&[("h", FieldValue::I32(1))]),
        table(&[("h", FieldValue::U8(1)), ("CC", FieldValue::Array(vec![FieldValue::text("a.b")]))]),
    ]
}

fn exchange_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(EXCHANGES.to_vec())
}

fn queue_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(QUEUES.to_vec())
}

fn binding() -> impl Strategy<Value = Binding> {
    let destination = prop_oneof![
        3 => queue_name().prop_map(|name| Destination::Queue(name.into())),
        2 => exchange_name().prop_map(|name| Destination::Exchange(name.into())),
    ];
    let arguments = prop_oneof![
        3 => Just(table(&[])),
        1 => Just(table(&[("h", FieldValue::I64(1)), ("x-match", FieldValue::text("all"))])),
        1 => Just(table(&[("h", FieldValue::Void), ("z", FieldValue::Void), ("x-match", FieldValue::text("any"))])),
    ];
    (exchange_name(), destination, prop::sample::select(BINDING_KEYS.to_vec()), arguments).prop_map(
        |(source, destination, key, arguments)| Binding {
            source: source.into(),
            destination,
            routing_key: key.into(),
            arguments,
        },
    )
}

fn declare_exchange() -> impl Strategy<Value = Command> {
    let alternate = prop::option::weighted(0.3, exchange_name());
    (exchange_name(), prop::sample::select(KINDS.to_vec()), prop::bool::weighted(0.3), alternate).prop_map(
        |(name, kind, auto_delete, alternate)| Command::DeclareExchange {
            vhost: VHOST.into(),
            name: name.into(),
            kind: kind.into(),
            durable: true,
            auto_delete,
            internal: false,
            arguments: alternate
                .map(|alternate| table(&[("alternate-exchange", FieldValue::text(alternate))]))
                .unwrap_or_default(),
            user: "guest".into(),
        },
    )
}

fn declare_queue() -> impl Strategy<Value = Command> {
    (queue_name(), any::<bool>(), 1..3u64).prop_map(|(name, exclusive, connection)| Command::DeclareQueue {
        vhost: VHOST.into(),
        name: name.into(),
        server_named: false,
        durable: false,
        auto_delete: false,
        exclusive,
        connection: ConnectionId(connection),
        arguments: FieldTable::new(),
        user: "guest".into(),
    })
}

fn set_policy() -> impl Strategy<Value = Command> {
    (0..2u8, prop::sample::select(vec!["^e", "^e1", "q", ".*"]), exchange_name(), 0..3i64).prop_map(
        |(name, pattern, alternate, priority)| Command::SetPolicy {
            vhost: VHOST.into(),
            name: format!("p{name}"),
            pattern: pattern.into(),
            apply_to: "all".into(),
            priority,
            definition: table(&[
                ("alternate-exchange", FieldValue::text(alternate)),
                ("max-length", FieldValue::I64(10 + priority)),
            ]),
            operator: false,
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => declare_exchange(),
        5 => declare_queue(),
        12 => binding().prop_map(|binding| Command::Bind { vhost: VHOST.into(), binding }),
        3 => binding().prop_map(|binding| Command::Unbind { vhost: VHOST.into(), binding }),
        2 => exchange_name()
            .prop_map(|name| Command::DeleteExchange { vhost: VHOST.into(), name: name.into(), if_unused: false }),
        2 => queue_name()
            .prop_map(|name| Command::DeleteQueue { vhost: VHOST.into(), name: name.into(), id: None }),
        1 => (1..3u64).prop_map(|id| Command::DeleteExclusive { connection: ConnectionId(id) }),
        1 => set_policy(),
        1 => (0..2u8).prop_map(|name| Command::ClearPolicy {
            vhost: VHOST.into(),
            name: format!("p{name}"),
            operator: false,
        }),
    ]
}

fn new_catalog() -> Catalog {
    let mut catalog = Catalog::new();
    let add = Command::AddVhost {
        name: VHOST.into(),
        description: String::new(),
        tags: Vec::new(),
        default_queue_type: None,
    };
    catalog.apply(add, &mut Vec::new()).unwrap();
    catalog
}

/// Does the key fit the pattern? The definition, tried in every way.
fn topic_fits(pattern: &[&str], key: &[&str]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((&"#", rest)) => (0..=key.len()).any(|skip| topic_fits(rest, &key[skip..])),
        Some((&"*", rest)) => !key.is_empty() && topic_fits(rest, &key[1..]),
        Some((word, rest)) => key.first() == Some(word) && topic_fits(rest, &key[1..]),
    }
}

fn words(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

fn fits(exchange: &Exchange, binding: &Binding, keys: &[String], headers: &FieldTable) -> bool {
    let own = binding.routing_key.to_text();
    match exchange.kind {
        ExchangeKind::Direct => keys.contains(&own),
        ExchangeKind::Fanout => true,
        ExchangeKind::Topic => keys.iter().any(|key| topic_fits(&words(&own), &words(key))),
        ExchangeKind::Headers => {
            let mut conditions = binding.arguments.iter().filter(|(key, _)| !key.starts_with("x-"));
            let holds = |(key, value): (&str, &FieldValue)| match headers.get(key) {
                Some(_) if *value == FieldValue::Void => true,
                Some(own) => own.as_integer() == value.as_integer(),
                None => false,
            };
            match binding.arguments.get("x-match").and_then(FieldValue::as_text) {
                Some("any") => conditions.any(holds),
                _ => conditions.all(holds),
            }
        }
        _ => panic!("not a matter of matching"),
    }
}

/// Routes by looking at all bindings.
fn naive(vhost: &Vhost, first: &str, key: &str, headers: &FieldTable) -> BTreeSet<QueueId> {
    let mut keys = vec![key.to_owned()];
    if let Some(FieldValue::Array(more)) = headers.get("CC") {
        keys.extend(more.iter().filter_map(|key| key.as_text().map(str::to_owned)));
    }
    let (mut queues, mut seen, mut pending) = (BTreeSet::new(), BTreeSet::new(), vec![first.to_owned()]);
    while let Some(name) = pending.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let Some(exchange) = vhost.exchange(&name) else { continue };
        let matched: Vec<_> = vhost
            .bindings()
            .filter(|binding| binding.source.as_str() == name && fits(exchange, binding, &keys, headers))
            .collect();
        for binding in &matched {
            match &binding.destination {
                Destination::Queue(queue) => {
                    queues.insert(vhost.queue(queue.as_str()).unwrap().id);
                }
                Destination::Exchange(next) => pending.push(next.as_str().to_owned()),
            }
        }
        if matched.is_empty() {
            pending.extend(exchange.alternate.iter().map(|name| name.as_str().to_owned()));
        }
    }
    queues
}

/// All that routing through `first` can depend on.
fn reachable(vhost: &Vhost, first: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut seen, mut facts, mut pending) = (BTreeSet::new(), BTreeSet::new(), vec![first.to_owned()]);
    while let Some(name) = pending.pop() {
        let Some(exchange) = vhost.exchange(&name) else { continue };
        if !seen.insert(name.clone()) {
            continue;
        }
        facts.insert(format!("{name} {:?} {:?}", exchange.kind, exchange.alternate));
        pending.extend(exchange.alternate.iter().map(|name| name.as_str().to_owned()));
        for binding in vhost.bindings().filter(|binding| binding.source.as_str() == name) {
            match &binding.destination {
                Destination::Queue(queue) => {
                    facts.insert(format!("{binding:?} {:?}", vhost.queue(queue.as_str()).unwrap().id));
                }
                Destination::Exchange(next) => {
                    facts.insert(format!("{binding:?}"));
                    pending.push(next.as_str().to_owned());
                }
            }
        }
    }
    (seen, facts)
}

fn routed(vhost: &Vhost, exchange: &Exchange, key: &str, headers: &FieldTable) -> BTreeSet<QueueId> {
    let raw = OwnedProperties { headers: Some(headers.clone()), ..Default::default() }.encode();
    let properties = Properties::parse(&raw).unwrap();
    let properties = (!headers.is_empty()).then_some(&properties);
    let mut routes = Routes::default();
    let input = RoutingInput { routing_key: key.as_bytes(), properties, random: 7 };
    router::route(vhost, exchange, &input, &mut routes);
    let queues: BTreeSet<QueueId> = routes.queues.iter().copied().collect();
    assert_eq!(queues.len(), routes.queues.len(), "a queue twice");
    queues
}

fn check_routes(vhost: &Vhost) {
    for (name, exchange) in vhost.exchanges.iter().filter(|(name, _)| !name.as_str().is_empty()) {
        let (through, facts) = reachable(vhost, name.as_str());
        let by_chance = through.iter().any(|name| {
            matches!(
                vhost.exchange(name).unwrap().kind,
                ExchangeKind::ConsistentHash { .. } | ExchangeKind::Random
            )
        });
        for (key, headers) in
            KEYS.iter().flat_map(|key| headers().into_iter().map(move |headers| (key, headers)))
        {
            let found = routed(vhost, exchange, key, &headers);
            if by_chance {
                let known = |id: &QueueId| facts.iter().any(|fact| fact.ends_with(&format!(" {id:?}")));
                assert!(found.iter().all(known), "{name} leads where nothing is bound");
            } else {
                assert_eq!(found, naive(vhost, name.as_str(), key, &headers), "{name} {key} {headers:?}");
            }
        }
    }
}

fn check_indexes(vhost: &Vhost) {
    let text = |binding: std::sync::Arc<Binding>| format!("{binding:?}");
    let all: BTreeSet<String> = vhost.bindings().map(text).collect();
    assert_eq!(all.len(), vhost.binding_count());
    let by_source: Vec<String> =
        vhost.exchanges.keys().flat_map(|name| vhost.bindings_from(name.as_str()).map(text)).collect();
    let to_queues = vhost.queues.keys().flat_map(|name| vhost.bindings_of_queue(name.as_str()).map(text));
    let to_exchanges =
        vhost.exchanges.keys().flat_map(|name| vhost.bindings_to_exchange(name.as_str()).map(text));
    let by_destination: Vec<String> = to_queues.chain(to_exchanges).collect();
    assert_eq!(by_source.len(), all.len(), "a binding from nowhere");
    assert_eq!(by_destination.len(), all.len(), "a binding to nowhere");
    assert_eq!(by_source.into_iter().collect::<BTreeSet<_>>(), all);
    assert_eq!(by_destination.into_iter().collect::<BTreeSet<_>>(), all);
    let ids: BTreeSet<QueueId> = vhost.queues.values().map(|queue| queue.id).collect();
    assert_eq!(ids.len(), vhost.queues.len());
}

/// Versions change when and only when something changed that the exchange can lead to.
fn check_versions(before: &Vhost, after: &Vhost) {
    for (name, exchange) in &after.exchanges {
        let Some(old) = before.exchange(name.as_str()) else { continue };
        let (then, now) = (reachable(before, name.as_str()), reachable(after, name.as_str()));
        assert_eq!(old.version != exchange.version, then != now, "{name}: {then:?} {now:?}");
    }
}

/// What a vhost holds must be what its events told.
fn check_events(names: &mut BTreeMap<String, QueueId>, last: &mut QueueId, events: &[Event], vhost: &Vhost) {
    for event in events {
        match event {
            Event::QueueDeclared(queue) => {
                assert!(queue.id > *last, "an id again");
                *last = queue.id;
                names.insert(queue.name.to_string(), queue.id);
            }
            Event::QueueDeleted(queue) => assert_eq!(names.remove(queue.name.as_str()), Some(queue.id)),
            Event::QueueConfigured(queue) => assert_eq!(vhost.queue(queue.name.as_str()), Some(queue)),
            _ => {}
        }
    }
    let held: BTreeMap<String, QueueId> =
        vhost.queues.values().map(|queue| (queue.name.to_string(), queue.id)).collect();
    assert_eq!(*names, held);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_step_keeps_every_promise(commands in prop::collection::vec(command(), 1..60)) {
        let (mut catalog, mut twin) = (new_catalog(), new_catalog());
        let (mut names, mut last) = (BTreeMap::new(), QueueId(0));
        let mut pictures = Vec::new();
        for command in commands {
            let before = catalog.clone();
            pictures.push((before.clone(), format!("{before:?}")));
            let (mut events, mut twin_events) = (Vec::new(), Vec::new());
            let outcome = catalog.apply(command.clone(), &mut events);
            prop_assert_eq!(&twin.apply(command.clone(), &mut twin_events), &outcome);
            prop_assert_eq!(&events, &twin_events);
            let changed = outcome.as_ref().is_ok_and(|outcome| outcome.changed());
            prop_assert_eq!(catalog.version, before.version + u64::from(changed), "{:?}", command);
            let (old, new) = (before.vhost(VHOST).unwrap(), catalog.vhost(VHOST).unwrap());
            if !changed {
                prop_assert!(events.is_empty());
                prop_assert_eq!(format!("{before:?}"), format!("{catalog:?}"));
            }
            check_indexes(new);
            check_events(&mut names, &mut last, &events, new);
            check_versions(old, new);
        }
        check_routes(catalog.vhost(VHOST).unwrap());
        for (picture, text) in pictures {
            prop_assert_eq!(format!("{picture:?}"), text, "a clone changed");
        }
    }
}

//! Catalogs compared: by all they hold, by where they route, and by what survives a restart.

use super::every::table;
use broker::catalog::{Binding, Catalog, Command, Event, Exchange, Queue, Vhost};
use broker::router::{self, Routes, RoutingInput};
use types::properties::OwnedProperties;
use types::{FieldTable, FieldValue, Properties, QueueId};

const KEYS: [&str; 7] = ["", "a", "a.b", "1", "2", "q0", "q1"];

fn headers() -> Vec<FieldTable> {
    vec![
        table(&[]),
        table(&[("h", FieldValue::I32(1)), ("a", FieldValue::I32(1))]),
        table(&[("z", FieldValue::text("x")), ("CC", FieldValue::Array(vec![FieldValue::text("a.b")]))]),
    ]
}

/// Where every exchange leads, for a number of keys, headers and chances.
pub fn routes(catalog: &Catalog) -> Vec<Routes> {
    catalog.vhosts.values().flat_map(|vhost| routes_of(vhost)).collect()
}

fn routes_of(vhost: &Vhost) -> Vec<Routes> {
    let mut all = Vec::new();
    for headers in headers() {
        let raw = OwnedProperties {
            headers: Some(headers),
            message_id: Some(b"m"[..].into()),
            timestamp: Some(7),
            ..Default::default()
        }
        .encode();
        let properties = Properties::parse(&raw).unwrap();
        for exchange in vhost.exchanges.values() {
            for (random, key) in KEYS.iter().enumerate() {
                let mut routes = Routes::default();
                let input = RoutingInput {
                    routing_key: key.as_bytes(),
                    properties: Some(&properties),
                    random: random as u64,
                };
                router::route(vhost, exchange, &input, &mut routes);
                all.push(routes);
            }
        }
    }
    all
}

/// Two catalogs are the same: rows, ids, versions, tables, routes.
pub fn assert_same(one: &Catalog, other: &Catalog) {
    assert_eq!(format!("{one:#?}"), format!("{other:#?}"));
    assert_eq!(one.encode(), other.encode());
    assert_eq!(routes(one), routes(other));
}

/// The catalog after a restart, and what that tells.
pub fn restarted(catalog: &Catalog) -> (Catalog, Vec<Event>) {
    let (mut after, mut events) = (catalog.clone(), Vec::new());
    after.apply(Command::Restart, &mut events).unwrap();
    (after, events)
}

/// What is left after a restart, without ids and versions and the order in which things were bound.
pub fn durable_rows(catalog: &Catalog) -> String {
    let (catalog, _) = restarted(catalog);
    let mut text = format!("{:#?}\n{:?}\n", catalog.users, catalog.global_parameters);
    for vhost in catalog.vhosts.values() {
        text += &format!("{} {} {:?} {:?}\n", vhost.name, vhost.description, vhost.tags, vhost.limits);
        text += &format!("{:?} {}\n", vhost.default_queue_type, vhost.tracing);
        text += &format!("{:?}\n{:?}\n", vhost.policies, vhost.operator_policies);
        text += &format!("{:?}\n{:?}\n", vhost.permissions, vhost.topic_permissions);
        text += &format!("{:?}\n", vhost.parameters);
        vhost.exchanges.values().for_each(|exchange| text += &exchange_text(exchange));
        vhost.queues.values().for_each(|queue| {
            text += &format!("{:?}\n", Queue { id: QueueId(0), ..(**queue).clone() });
        });
        vhost.bindings().for_each(|binding: std::sync::Arc<Binding>| text += &format!("{binding:?}\n"));
    }
    text
}

fn exchange_text(exchange: &Exchange) -> String {
    let Exchange { vhost, name, kind, durable, auto_delete, internal, .. } = exchange;
    let Exchange { arguments, alternate, policy, user, .. } = exchange;
    format!(
        "{vhost} {name} {kind:?} {durable} {auto_delete} {internal} {arguments:?} {alternate:?} {policy:?} {user}\n"
    )
}

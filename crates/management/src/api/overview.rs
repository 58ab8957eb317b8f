//! The whole cluster in one body, and small facts: who am I, the version, the cluster's name.
//!
//! Invariant: a caller who is no monitor sees totals of the own vhosts only.

use super::queue_view::QueueView;
use crate::api::Api;
use crate::auth::{Administrator, Anyone, Caller};
use crate::body::Body;
use crate::reply::{self, Answer};
use crate::sampler;
use axum::Router;
use axum::routing::get;
use broker::catalog::Command;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// The global parameter that holds a name given by an operator.
const CLUSTER_NAME: &str = "cluster_name";

/// Exchange types with what RabbitMQ says of them.
const EXCHANGE_TYPES: [(&str, &str); 10] = [
    ("direct", "AMQP direct exchange, as per the AMQP specification"),
    ("fanout", "AMQP fanout exchange, as per the AMQP specification"),
    ("headers", "AMQP headers exchange, as per the AMQP specification"),
    ("topic", "AMQP topic exchange, as per the AMQP specification"),
    ("x-consistent-hash", "Consistent Hashing Exchange"),
    ("x-delayed-message", "Delayed Message Exchange."),
    ("x-local-random", "Picks one random local binding (queue) to route via (to)."),
    ("x-modulus-hash", "Modulus Hashing Exchange"),
    ("x-random", "Random exchange type"),
    ("x-recent-history", "Recent History Exchange."),
];

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/overview", get(overview))
        .route("/api/whoami", get(whoami))
        .route("/api/version", get(version))
        .route("/api/cluster-name", get(cluster_name).put(set_cluster_name))
}

pub(crate) fn exchange_types() -> Value {
    EXCHANGE_TYPES
        .iter()
        .map(|(name, text)| json!({"name": name, "description": text, "enabled": true}))
        .collect()
}

pub(crate) fn name_of_cluster(api: &Api) -> String {
    let given = api.catalog().global_parameters.get(CLUSTER_NAME).cloned();
    let parsed = given.and_then(|text| serde_json::from_str::<String>(&text).ok());
    parsed.unwrap_or_else(|| api.broker.config().cluster_name.clone())
}

async fn overview(Anyone(caller): Anyone) -> Answer {
    caller.api.ask_others().await;
    let api = &caller.api;
    let counted = Counted::by(api);
    let mut body = json!({
        "management_version": api.config.version,
        "rates_mode": "basic",
        "sample_retention_policies": {"global": [600], "basic": [600], "detailed": [600]},
        "exchange_types": exchange_types(),
        "product_version": api.config.product_version,
        "product_name": "Leveret",
        "rabbitmq_version": api.config.version,
        "cluster_name": name_of_cluster(api),
        "cluster_tags": [],
        "node_tags": [],
        "default_queue_type": "classic",
        "erlang_version": "",
        "erlang_full_version": "",
        "release_series_support_status": "supported",
        "disable_stats": false,
        "enable_queue_totals": false,
        "is_op_policy_updating_enabled": true,
        "message_stats": message_stats(&caller, &counted),
        "churn_rates": churn_rates(api, &counted),
        "statistics_db_event_queue": 0,
    });
    if let Value::Object(body) = &mut body {
        put_totals(&caller, body);
        if caller.is_monitor() {
            body.insert("node".to_owned(), json!(api.node_name()));
            body.insert("listeners".to_owned(), listeners(api));
            body.insert("contexts".to_owned(), contexts(api));
        }
    }
    reply::show(body)
}

/// What all nodes have counted, by metric.
struct Counted(HashMap<String, u64>);

impl Counted {
    /// What the other nodes told last, and this one now.
    fn by(api: &Api) -> Counted {
        let own = api.broker.metrics().all().into_iter().map(|(name, _, value)| (name.to_owned(), value));
        let others = api.cluster().map_or_else(Vec::new, |cluster| cluster.counters());
        let mut sums: HashMap<String, u64> = own.collect();
        for (name, value) in others.into_iter().flat_map(|node| node.values) {
            let sum = sums.entry(name).or_default();
            *sum = sum.saturating_add(value);
        }
        Counted(sums)
    }

    /// Puts metrics under RabbitMQ's names, with their rates.
    fn put(&self, api: &Api, into: &mut Map<String, Value>, counters: &[(&str, &str)]) {
        for (name, metric) in counters {
            let value = self.0.get(*metric).copied().unwrap_or(0);
            sampler::put_rated(into, name, value, api.samples.nodes(metric));
        }
    }
}

/// What the nodes have counted; empty for who may not see nodes.
fn message_stats(caller: &Caller, counted: &Counted) -> Map<String, Value> {
    let api = &caller.api;
    if !caller.is_monitor() {
        return Map::new();
    }
    let mut stats = sampler::all_message_stats(&api.samples.all());
    let counters = [
        ("publish", "received"),
        ("confirm", "confirmed"),
        ("return_unroutable", "unroutable_returned"),
        ("drop_unroutable", "unroutable_dropped"),
    ];
    counted.put(api, &mut stats, &counters);
    for name in ["disk_reads", "disk_writes"] {
        sampler::put_rated(&mut stats, name, 0, 0.0);
    }
    stats
}

fn churn_rates(api: &Api, counted: &Counted) -> Map<String, Value> {
    let counters = [
        ("connection_created", "connections_opened"),
        ("connection_closed", "connections_closed"),
        ("channel_created", "channels_opened"),
        ("channel_closed", "channels_closed"),
        ("queue_declared", "queues_declared"),
        ("queue_created", "queues_created"),
        ("queue_deleted", "queues_deleted"),
    ];
    let mut rates = Map::new();
    counted.put(api, &mut rates, &counters);
    rates
}

/// `queue_totals` and `object_totals` over what the caller sees.
fn put_totals(caller: &Caller, body: &mut Map<String, Value>) {
    let api = &caller.api;
    let catalog = api.catalog();
    let vhosts = caller.vhosts(&catalog);
    let queues: Vec<QueueView> = vhosts.iter().flat_map(|vhost| QueueView::all(api, vhost)).collect();
    let (sum, rates) = sampler::sum(queues.iter().map(|queue| (&queue.listing, &queue.rates)));
    let mut totals = Map::new();
    sampler::put_counts(&mut totals, sum.counts.ready, sum.counts.unacked, &rates);
    let consumers: u64 = queues.iter().map(|queue| u64::from(queue.listing.counts.consumers)).sum();
    let clients = super::connections::visible(caller);
    let channels: u64 = clients.iter().map(|client| u64::from(client.listing().channels)).sum();
    let exchanges: usize = vhosts.iter().map(|vhost| vhost.exchanges.len()).sum();
    body.insert("queue_totals".to_owned(), Value::Object(totals));
    let objects = json!({
        "channels": channels,
        "connections": clients.len(),
        "consumers": consumers,
        "exchanges": exchanges,
        "queues": vhosts.iter().map(|vhost| vhost.queues.len()).sum::<usize>(),
    });
    body.insert("object_totals".to_owned(), objects);
}

fn listeners(api: &Api) -> Value {
    let entry = |listener: &super::Listener| {
        json!({
            "node": api.node_name(),
            "protocol": listener.protocol,
            "ip_address": listener.address.ip().to_string(),
            "port": listener.address.port(),
            "socket_opts": {"backlog": 1024, "nodelay": true},
        })
    };
    api.listeners.iter().map(entry).collect()
}

fn contexts(api: &Api) -> Value {
    let http = api.listeners.iter().filter(|listener| listener.protocol == "http");
    let entry = |listener: &super::Listener| {
        json!({
            "ssl_opts": [],
            "node": api.node_name(),
            "description": "RabbitMQ Management",
            "path": "/",
            "ip": listener.address.ip().to_string(),
            "port": listener.address.port().to_string(),
        })
    };
    http.map(entry).collect()
}

async fn whoami(Anyone(caller): Anyone) -> Answer {
    reply::show(json!({"name": caller.user.name.as_str(), "tags": caller.user.tags}))
}

async fn version(Anyone(caller): Anyone) -> Answer {
    reply::show(json!(caller.api.config.version))
}

async fn cluster_name(Anyone(caller): Anyone) -> Answer {
    reply::show(json!({"name": name_of_cluster(&caller.api)}))
}

async fn set_cluster_name(Administrator(caller): Administrator, body: Body) -> Answer {
    let name = body.required_text("name")?;
    let value = json!(name).to_string();
    caller.api.change(Command::SetGlobalParameter { name: CLUSTER_NAME.to_owned(), value }).await?;
    reply::done()
}

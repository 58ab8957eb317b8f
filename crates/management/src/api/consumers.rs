//! Consumers, found at their queues.

use super::connections::visible;
use crate::api::Api;
use crate::auth::{Anyone, Caller};
use crate::cluster::Places;
use crate::fields;
use crate::query::ListQuery;
use crate::reply::Answer;
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use broker::catalog;
use engine::queue::ConsumerListing;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use types::VhostName;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/consumers", get(|caller, query| list(caller, None, query)))
        .route("/api/consumers/{vhost}", get(|caller, path, query| list(caller, Some(path), query)))
}

/// A channel's name is its connection's with the number behind: `peer -> host (1)`.
fn split_channel(name: &str) -> (&str, u64) {
    let parts = name
        .rsplit_once(" (")
        .and_then(|(connection, number)| Some((connection, number.strip_suffix(')')?.parse().ok()?)));
    parts.unwrap_or((name, 0))
}

fn show(places: &Places<'_>, row: &catalog::Queue, consumer: &ConsumerListing) -> Value {
    let (connection, number) = split_channel(&consumer.channel);
    let peer = connection.split(" -> ").next().unwrap_or_default();
    let (host, port) = peer.rsplit_once(':').unwrap_or((peer, ""));
    json!({
        "queue": {"name": row.name.as_str(), "vhost": row.vhost.as_str()},
        "consumer_tag": consumer.tag,
        "exclusive": consumer.exclusive,
        "ack_required": !consumer.no_ack,
        "prefetch_count": consumer.prefetch,
        "priority": consumer.priority,
        "active": consumer.active,
        "activity_status": if consumer.active { "up" } else { "waiting" },
        "arguments": fields::to_json(&consumer.arguments),
        "channel_details": {
            "name": consumer.channel,
            "number": number,
            "connection_name": connection,
            "node": places.node_of(connection),
            "peer_host": host,
            "peer_port": port.parse::<u16>().unwrap_or(0),
        },
    })
}

/// The consumers of one queue.
pub(crate) fn of_queue(places: &Places<'_>, row: &catalog::Queue) -> Vec<Value> {
    // Without its home a queue has no consumers, whatever the home said last.
    let queue = places.api().broker.queue(row.id).filter(|queue| queue.is_reachable());
    let Some(queue) = queue else { return Vec::new() };
    queue.consumers().iter().map(|consumer| show(places, row, consumer)).collect()
}

/// The consumers of one channel.
pub(crate) fn of_channel(api: &Api, vhost: &VhostName, channel: &str) -> Vec<Value> {
    let catalog = api.catalog();
    let Some(vhost) = catalog.vhost(vhost.as_str()) else { return Vec::new() };
    let places = Places::of(api);
    let mut all: Vec<Value> = vhost.queues.values().flat_map(|row| of_queue(&places, row)).collect();
    all.retain(|consumer| consumer["channel_details"]["name"] == channel);
    all
}

async fn list(Anyone(caller): Anyone, vhost: Option<Path<String>>, query: ListQuery) -> Answer {
    caller.api.ask_others().await;
    let catalog = caller.api.catalog();
    let places = Places::of(&caller.api);
    let vhosts = caller.some_vhosts(&catalog, vhost.as_ref().map(|path| path.0.as_str()))?;
    let queues = vhosts.iter().flat_map(|vhost| vhost.queues.values());
    let mut rows: Vec<Value> = queues.flat_map(|row| of_queue(&places, row)).collect();
    keep_own(&caller, &mut rows);
    query.answer(rows, |row| row["consumer_tag"].as_str().unwrap_or_default(), Value::clone)
}

/// Who is no monitor sees consumers of the own connections.
fn keep_own(caller: &Caller, rows: &mut Vec<Value>) {
    if caller.is_monitor() {
        return;
    }
    let own: HashSet<String> = visible(caller).into_iter().map(|client| client.listing().name).collect();
    rows.retain(|row| {
        let name = row["channel_details"]["connection_name"].as_str();
        name.is_some_and(|name| own.contains(name))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_name_tells_its_connection() {
        let table = [
            ("127.0.0.1:1 -> 127.0.0.1:2 (3)", ("127.0.0.1:1 -> 127.0.0.1:2", 3)),
            ("odd", ("odd", 0)),
            ("a (x)", ("a (x)", 0)),
        ];
        for (name, parts) in table {
            assert_eq!(split_channel(name), parts);
        }
    }
}

//! Channels: list and one.
//!
//! Invariant: a channel is shown to who may see its connection.

use super::connections::visible;
use crate::api::Api;
use crate::auth::{Anyone, Caller};
use crate::client::Client;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use engine::registry::{ChannelListing, ConnectionListing};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/channels", get(list))
        .route("/api/channels/{channel}", get(one))
        .route("/api/vhosts/{vhost}/channels", get(in_vhost))
}

fn show(node: &str, connection: &ConnectionListing, channel: &ChannelListing) -> Value {
    json!({
        "name": channel.name,
        "number": channel.number,
        "node": node,
        "vhost": connection.vhost.as_str(),
        "user": connection.user.as_str(),
        "user_who_performed_action": connection.user.as_str(),
        "state": "running",
        "confirm": channel.confirm,
        "transactional": channel.transactional,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.global_prefetch,
        "consumer_count": channel.consumers,
        "messages_unacknowledged": channel.unacknowledged,
        "messages_unconfirmed": channel.unconfirmed,
        "messages_uncommitted": 0,
        "acks_uncommitted": 0,
        "reductions": 0,
        "garbage_collection": {},
        "connection_details": {
            "name": connection.name,
            "peer_host": connection.peer.ip().to_string(),
            "peer_port": connection.peer.port(),
        },
        "message_stats": {
            "publish": channel.published,
            "publish_details": {"rate": 0.0},
            "deliver_get": channel.delivered,
            "deliver_get_details": {"rate": 0.0},
            "ack": channel.acknowledged,
            "ack_details": {"rate": 0.0},
        },
    })
}

/// Answers with the channels of some connections.
pub(crate) fn answer(caller: &Caller, clients: &[Client], query: &ListQuery) -> Answer {
    let mut rows = Vec::new();
    for client in clients {
        let (node, listing) = (client.node(&caller.api), Arc::new(client.listing()));
        rows.extend(client.channels().into_iter().map(|channel| (node, listing.clone(), channel)));
    }
    let render = |(node, listing, channel): &(&str, Arc<ConnectionListing>, ChannelListing)| {
        show(node, listing, channel)
    };
    query.answer(rows, |(_, _, channel)| &channel.name, render)
}

async fn list(Anyone(caller): Anyone, query: ListQuery) -> Answer {
    caller.api.ask_others().await;
    answer(&caller, &visible(&caller), &query)
}

async fn in_vhost(Anyone(caller): Anyone, Path(vhost): Path<String>, query: ListQuery) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    caller.api.ask_others().await;
    let mut clients = visible(&caller);
    clients.retain(|client| *client.vhost() == vhost.name);
    answer(&caller, &clients, &query)
}

async fn one(Anyone(caller): Anyone, Path(name): Path<String>, query: ListQuery) -> Answer {
    caller.api.ask_others().await;
    for client in visible(&caller) {
        let listing = client.listing();
        if !name.starts_with(&listing.name) {
            continue;
        }
        let found = client.channels().into_iter().find(|channel| channel.name == name);
        if let Some(channel) = found {
            let mut value = show(client.node(&caller.api), &listing, &channel);
            value["consumer_details"] =
                super::consumers::of_channel(&caller.api, &listing.vhost, &name).into();
            return reply::show(query.project(value));
        }
    }
    Err(Failure::no_object())
}

//! Connections: list, one, close.
//!
//! Invariant: a caller who is no monitor sees the own connections only.

use super::channels;
use crate::api::Api;
use crate::auth::{Anyone, Caller};
use crate::client::Client;
use crate::fields;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use engine::registry::ConnectionListing;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What a closed client is told when the caller gives no reason.
const CLOSE_REASON: &str = "Closed via management plugin";

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/connections", get(list))
        .route("/api/connections/username/{user}", get(of_user).delete(close_of_user))
        .route("/api/connections/{connection}", get(one).delete(close))
        .route("/api/connections/{connection}/channels", get(channels_of))
        .route("/api/vhosts/{vhost}/connections", get(in_vhost))
}

/// The connections a caller may see.
pub(crate) fn visible(caller: &Caller) -> Vec<Client> {
    let mut all = caller.api.clients();
    if !caller.is_monitor() {
        all.retain(|client| *client.user() == caller.user.name);
    }
    all
}

fn show(api: &Api, client: &Client, listing: &ConnectionListing) -> Value {
    let rates = api.samples.connection(client.id());
    let mut map = Map::new();
    crate::sampler::put_rated(&mut map, "recv_oct", listing.received_bytes, rates.rate(0));
    crate::sampler::put_rated(&mut map, "send_oct", listing.sent_bytes, rates.rate(1));
    let facts = json!({
        "name": listing.name,
        "node": client.node(api),
        "vhost": listing.vhost.as_str(),
        "user": listing.user.as_str(),
        "user_who_performed_action": listing.user.as_str(),
        "state": listing.state,
        "type": "network",
        "protocol": "AMQP 0-9-1",
        "auth_mechanism": listing.auth_mechanism,
        "channels": listing.channels,
        "channel_max": listing.channel_max,
        "frame_max": listing.frame_max,
        "timeout": listing.heartbeat_s,
        "connected_at": listing.connected_at_ms,
        "client_properties": fields::to_json(&listing.client_properties),
        "host": listing.local.ip().to_string(),
        "port": listing.local.port(),
        "peer_host": listing.peer.ip().to_string(),
        "peer_port": listing.peer.port(),
        "ssl": listing.tls,
        "ssl_protocol": null,
        "ssl_cipher": null,
        "ssl_hash": null,
        "ssl_key_exchange": null,
        "peer_cert_issuer": null,
        "peer_cert_subject": null,
        "peer_cert_validity": null,
        "send_pend": 0,
        "reductions": 0,
        "garbage_collection": {},
    });
    if let Value::Object(facts) = facts {
        map.extend(facts);
    }
    if let Some(name) = given_name(listing) {
        map.insert("user_provided_name".to_owned(), json!(name));
    }
    Value::Object(map)
}

fn given_name(listing: &ConnectionListing) -> Option<&str> {
    listing.client_properties.get("connection_name")?.as_text()
}

fn answer(caller: &Caller, clients: Vec<Client>, query: &ListQuery) -> Answer {
    let rows: Vec<(ConnectionListing, Client)> =
        clients.into_iter().map(|client| (client.listing(), client)).collect();
    query.answer(rows, |(listing, _)| &listing.name, |(listing, client)| show(&caller.api, client, listing))
}

async fn list(Anyone(caller): Anyone, query: ListQuery) -> Answer {
    caller.api.ask_others().await;
    answer(&caller, visible(&caller), &query)
}

async fn in_vhost(Anyone(caller): Anyone, Path(vhost): Path<String>, query: ListQuery) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    caller.api.ask_others().await;
    let mut clients = visible(&caller);
    clients.retain(|client| *client.vhost() == vhost.name);
    answer(&caller, clients, &query)
}

async fn of_user(Anyone(caller): Anyone, Path(user): Path<String>, query: ListQuery) -> Answer {
    caller.api.ask_others().await;
    let mut clients = visible(&caller);
    clients.retain(|client| client.user().as_str() == user);
    answer(&caller, clients, &query)
}

/// The connection that a path names, if the caller may have to do with it.
async fn find(caller: &Caller, name: &str) -> Result<Client, Failure> {
    caller.api.ask_others().await;
    let mut all = caller.api.clients().into_iter();
    let client = all.find(|client| client.listing().name == name).ok_or_else(Failure::no_object)?;
    if caller.is_monitor() || *client.user() == caller.user.name {
        return Ok(client);
    }
    Err(not_own())
}

fn not_own() -> Failure {
    Failure::not_authorised("User not authorised to access object")
}

async fn one(Anyone(caller): Anyone, Path(name): Path<String>, query: ListQuery) -> Answer {
    let client = find(&caller, &name).await?;
    reply::show(query.project(show(&caller.api, &client, &client.listing())))
}

fn reason(headers: &HeaderMap) -> String {
    let given = headers.get("x-reason").and_then(|value| value.to_str().ok());
    given.unwrap_or(CLOSE_REASON).to_owned()
}

async fn close_one(api: &Api, client: &Client, reason: &str) -> Result<(), Failure> {
    client.close(api, reason).await.map_err(|why| {
        let text = format!(
            "node '{}' did not close connection '{}': {why}",
            client.node(api),
            client.listing().name
        );
        Failure::of(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
    })
}

async fn close(Anyone(caller): Anyone, Path(name): Path<String>, headers: HeaderMap) -> Answer {
    let client = find(&caller, &name).await?;
    if !caller.is_administrator() && *client.user() != caller.user.name {
        return Err(not_own());
    }
    close_one(&caller.api, &client, &reason(&headers)).await?;
    reply::done()
}

async fn close_of_user(Anyone(caller): Anyone, Path(user): Path<String>, headers: HeaderMap) -> Answer {
    if !caller.is_administrator() && caller.user.name.as_str() != user {
        return Err(not_own());
    }
    caller.api.ask_others().await;
    let reason = reason(&headers);
    let mut failed = None;
    for client in caller.api.clients().iter().filter(|client| client.user().as_str() == user) {
        // One node that does not answer does not save the connections to the others.
        failed = close_one(&caller.api, client, &reason).await.err().or(failed);
    }
    failed.map_or_else(reply::done, Err)
}

async fn channels_of(Anyone(caller): Anyone, Path(name): Path<String>, query: ListQuery) -> Answer {
    let client = find(&caller, &name).await?;
    channels::answer(&caller, &[client], &query)
}

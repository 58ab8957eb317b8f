//! `POST /api/exchanges/{vhost}/{exchange}/publish`

use super::exchanges::from_path;
use crate::api::Api;
use crate::auth::{Anyone, Caller};
use crate::body::Body;
use crate::fields;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::access::{Access, Resource};
use broker::catalog::{ExchangeKind, Vhost, refusal};
use broker::router::{self, Routes, RoutingInput};
use serde_json::json;
use std::sync::Arc;
use types::limits::SHORT_STRING_BYTES_MAX;
use types::{AmqpError, Properties, QueueId};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new().route("/api/exchanges/{vhost}/{exchange}/publish", post(publish))
}

async fn publish(
    Anyone(caller): Anyone,
    Path((vhost, exchange)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    body.require(&["properties", "routing_key", "payload", "payload_encoding"])?;
    let exchange = from_path(&exchange);
    let key = body.required_text("routing_key")?;
    if key.len() > SHORT_STRING_BYTES_MAX {
        return Err(Failure::bad_request("the routing key is longer than 255 bytes"));
    }
    let payload = payload(&body)?;
    let properties = properties(&caller, &body)?;
    // RabbitMQ answers 400 here, also when the exchange is missing.
    check(&caller, &vhost, exchange, key).map_err(|error| match error.code {
        types::ReplyCode::AccessRefused => Failure::from(error),
        _ => Failure::bad_request(format!("{} {}", error.code.code(), error.reply_text())),
    })?;
    let broker = &caller.api.broker;
    let metrics = broker.metrics();
    metrics.received.add(1);
    let queues = match is_cut_off(&caller.api, &vhost, exchange, key, &properties) {
        true => 0,
        false => broker.publish_internal(&vhost.name, exchange, key.as_bytes(), &properties, &payload),
    };
    broker.flush();
    if queues > 0 {
        metrics.routed.add(1);
    } else {
        metrics.unroutable_returned.add(1);
    }
    reply::show(json!({"routed": queues > 0}))
}

/// Whether it would go to queues only whose homes are down: a mandatory message of a client comes back then.
fn is_cut_off(api: &Api, vhost: &Vhost, exchange: &str, key: &str, properties: &[u8]) -> bool {
    if api.cluster().is_none() {
        return false;
    }
    let Some(source) = vhost.exchange(exchange) else { return false };
    let view = Properties::parse(properties).ok();
    let input = RoutingInput {
        routing_key: key.as_bytes(),
        properties: view.as_ref(),
        random: engine::route::random(),
    };
    let mut routes = Routes::default();
    router::route(vhost, source, &input, &mut routes);
    let is_down = |id: &QueueId| api.broker.queue(*id).is_some_and(|queue| !queue.is_reachable());
    let is_kept = !routes.delayed.is_empty() || !routes.recent_history.is_empty();
    !is_kept && !routes.queues.is_empty() && routes.queues.iter().all(is_down)
}

fn payload(body: &Body) -> Result<Vec<u8>, Failure> {
    let text = body.required_text("payload")?;
    match body.required_text("payload_encoding")? {
        "string" => Ok(text.as_bytes().to_vec()),
        "base64" => STANDARD.decode(text).map_err(|_| Failure::bad_request(json!(["not_base64", text]))),
        other => Err(Failure::bad_request(json!(["unsupported_encoding", other]))),
    }
}

/// The properties' bytes, checked as those of a client.
fn properties(caller: &Caller, body: &Body) -> Result<Vec<u8>, Failure> {
    let empty = serde_json::Map::new();
    let map = body.get("properties").and_then(|value| value.as_object()).unwrap_or(&empty);
    let properties = fields::properties(map).map_err(Failure::bad_request)?;
    if let Some(claimed) = properties.user_id.as_deref()
        && claimed != caller.user.name.as_str().as_bytes()
        && !caller.user.has_tag("impersonator")
    {
        let claimed = String::from_utf8_lossy(claimed);
        let text =
            format!("user_id property set to '{claimed}' but authenticated user was '{}'", caller.user.name);
        return Err(Failure::of_channel(AmqpError::precondition_failed(text)));
    }
    let raw = properties.encode();
    let view = Properties::parse(&raw).map_err(|error| Failure::bad_request(error.reason))?;
    engine::record_head(&view).map_err(Failure::of_channel)?;
    Ok(raw)
}

fn check(caller: &Caller, vhost: &Vhost, exchange: &str, key: &str) -> Result<(), AmqpError> {
    let row = vhost.exchange(exchange).ok_or_else(|| refusal::no_exchange(&vhost.name, exchange))?;
    caller.check(vhost, Access::Write, Resource::Exchange(exchange))?;
    if row.internal {
        let text = refusal::exchange_text(&vhost.name, exchange);
        return Err(AmqpError::access_refused(format!("cannot publish to internal {text}")));
    }
    if matches!(row.kind, ExchangeKind::Topic) {
        caller.check_topic(vhost, exchange, Access::Write, key.as_bytes())?;
    }
    Ok(())
}

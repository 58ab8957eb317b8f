//! Bindings: list, one, make, remove.
//!
//! Invariant: a binding's last path segment is its properties key, which names one binding between two
//! ends.

use super::exchanges::from_path;
use super::{exchanges, queues};
use crate::api::Api;
use crate::auth::{Anyone, Caller};
use crate::body::Body;
use crate::fields;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use broker::access::{Access, Resource};
use broker::catalog::{Binding, Command, Destination, ExchangeKind, Vhost, default_binding, refusal};
use serde_json::{Value, json};
use std::sync::Arc;
use types::{AmqpError, ExchangeName, QueueName, RoutingKey};

pub(crate) fn routes() -> Router<Arc<Api>> {
    let ends = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}";
    Router::new()
        .route("/api/bindings", get(|caller, query| list(caller, None, query)))
        .route("/api/bindings/{vhost}", get(|caller, path, query| list(caller, Some(path), query)))
        .route(ends, get(between).post(bind))
        .route(&format!("{ends}/{{props}}"), get(one).delete(unbind))
        .route("/api/exchanges/{vhost}/{exchange}/bindings/source", get(from_exchange))
        .route("/api/exchanges/{vhost}/{exchange}/bindings/destination", get(to_exchange))
}

/// A binding as listings show it.
fn show(vhost: &Vhost, binding: &Binding) -> Value {
    let mut value = exported(binding);
    if let Value::Object(map) = &mut value {
        map.insert("vhost".to_owned(), json!(vhost.name.as_str()));
        map.insert("properties_key".to_owned(), json!(binding.properties_key()));
    }
    value
}

/// A binding as it stands in definitions.
pub(crate) fn exported(binding: &Binding) -> Value {
    let (kind, destination) = match &binding.destination {
        Destination::Queue(name) => ("queue", name.as_str()),
        Destination::Exchange(name) => ("exchange", name.as_str()),
    };
    json!({
        "source": binding.source.as_str(),
        "destination": destination,
        "destination_type": kind,
        "routing_key": binding.routing_key.to_text(),
        "arguments": fields::to_json(&binding.arguments),
    })
}

fn answer(rows: Vec<(&Arc<Vhost>, Arc<Binding>)>, query: &ListQuery) -> Answer {
    query.answer(rows, |(_, binding)| binding.source.as_str(), |(vhost, binding)| show(vhost, binding))
}

fn implicit(vhost: &Vhost) -> impl Iterator<Item = Arc<Binding>> {
    vhost.queues.values().map(|queue| Arc::new(default_binding(queue)))
}

async fn list(Anyone(caller): Anyone, vhost: Option<Path<String>>, query: ListQuery) -> Answer {
    let catalog = caller.api.catalog();
    let vhosts = caller.some_vhosts(&catalog, vhost.as_ref().map(|path| path.0.as_str()))?;
    let mut rows = Vec::new();
    for vhost in &vhosts {
        rows.extend(implicit(vhost).chain(vhost.bindings()).map(|binding| (vhost, binding)));
    }
    answer(rows, &query)
}

/// `GET /api/queues/{vhost}/{queue}/bindings`
pub(crate) async fn of_queue(
    Anyone(caller): Anyone,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    let own = Arc::new(default_binding(queues::find(&vhost, &name)?));
    let rows = std::iter::once(own).chain(vhost.bindings_of_queue(&name));
    answer(rows.map(|binding| (&vhost, binding)).collect(), &query)
}

async fn from_exchange(
    Anyone(caller): Anyone,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    let name = exchanges::find(&vhost, &name)?.name.clone();
    let rows: Vec<Arc<Binding>> = match name.as_str() {
        "" => implicit(&vhost).collect(),
        name => vhost.bindings_from(name).collect(),
    };
    answer(rows.into_iter().map(|binding| (&vhost, binding)).collect(), &query)
}

async fn to_exchange(
    Anyone(caller): Anyone,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    let name = exchanges::find(&vhost, &name)?.name.clone();
    let rows = vhost.bindings_to_exchange(name.as_str());
    answer(rows.map(|binding| (&vhost, binding)).collect(), &query)
}

fn destination(kind: &str, name: &str) -> Result<Destination, Failure> {
    match kind {
        "q" | "queue" => Ok(Destination::Queue(QueueName::from(name))),
        "e" | "exchange" => Ok(Destination::Exchange(ExchangeName::from(from_path(name)))),
        _ => Err(Failure::no_object()),
    }
}

/// All bindings between two ends.
fn bindings_between(vhost: &Vhost, source: &str, to: &Destination) -> Vec<Arc<Binding>> {
    if source.is_empty() {
        let Destination::Queue(name) = to else { return Vec::new() };
        return vhost
            .queue(name.as_str())
            .map(|queue| Arc::new(default_binding(queue)))
            .into_iter()
            .collect();
    }
    let to_it: Vec<Arc<Binding>> = match to {
        Destination::Queue(name) => vhost.bindings_of_queue(name.as_str()).collect(),
        Destination::Exchange(name) => vhost.bindings_to_exchange(name.as_str()).collect(),
    };
    to_it.into_iter().filter(|binding| binding.source.as_str() == source).collect()
}

type Ends = Path<(String, String, String, String)>;
type Whole = Path<(String, String, String, String, String)>;

async fn between(Anyone(caller): Anyone, Path((vhost, source, kind, to)): Ends, query: ListQuery) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    let rows = bindings_between(&vhost, from_path(&source), &destination(&kind, &to)?);
    answer(rows.into_iter().map(|binding| (&vhost, binding)).collect(), &query)
}

fn find(vhost: &Vhost, source: &str, to: &Destination, props: &str) -> Result<Arc<Binding>, Failure> {
    let rows = bindings_between(vhost, from_path(source), to);
    rows.into_iter().find(|binding| binding.properties_key() == props).ok_or_else(Failure::no_object)
}

async fn one(Anyone(caller): Anyone, Path((vhost, source, kind, to, props)): Whole) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    let binding = find(&vhost, &source, &destination(&kind, &to)?, &props)?;
    reply::show(show(&vhost, &binding))
}

async fn bind(Anyone(caller): Anyone, Path((vhost, source, kind, to)): Ends, body: Body) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    let binding = make(&caller, &vhost, from_path(&source), destination(&kind, &to)?, &body).await?;
    let location = format!("{}/{}", quote(&to), quote(&binding.properties_key()));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Percent-encodes what a path segment cannot hold.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => quoted.push(byte.into()),
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    quoted
}

/// Makes a binding as a request's body or an entry of a definitions file says.
pub(crate) async fn make(
    caller: &Caller,
    vhost: &Vhost,
    source: &str,
    to: Destination,
    body: &Body,
) -> Result<Binding, Failure> {
    let key = body.text("routing_key")?.unwrap_or_default();
    if key.len() > types::limits::SHORT_STRING_BYTES_MAX {
        return Err(Failure::bad_request("the routing key is longer than 255 bytes"));
    }
    let binding = Binding {
        source: ExchangeName::from(source),
        destination: to,
        routing_key: RoutingKey::from(key),
        arguments: body.table("arguments")?,
    };
    check(caller, vhost, &binding)?;
    let command = Command::Bind { vhost: vhost.name.clone(), binding: binding.clone() };
    caller.api.change(command).await?;
    Ok(binding)
}

/// Writing to the destination, reading from the source and, at a topic exchange, from the topic.
fn check(caller: &Caller, vhost: &Vhost, binding: &Binding) -> Result<(), AmqpError> {
    match &binding.destination {
        Destination::Queue(name) => {
            caller.check(vhost, Access::Write, Resource::Queue(name.as_str()))?;
            let row =
                vhost.queue(name.as_str()).ok_or_else(|| refusal::no_queue(&vhost.name, name.as_str()))?;
            if row.exclusive.is_some() {
                return Err(refusal::locked(&vhost.name, name.as_str()));
            }
        }
        Destination::Exchange(name) => {
            caller.check(vhost, Access::Write, Resource::Exchange(name.as_str()))?;
        }
    }
    let source = binding.source.as_str();
    caller.check(vhost, Access::Read, Resource::Exchange(source))?;
    let is_topic = vhost.exchange(source).is_some_and(|row| matches!(row.kind, ExchangeKind::Topic));
    if is_topic {
        caller.check_topic(vhost, source, Access::Read, binding.routing_key.as_bytes())?;
    }
    Ok(())
}

async fn unbind(Anyone(caller): Anyone, Path((vhost, source, kind, to, props)): Whole) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    let binding = find(&vhost, &source, &destination(&kind, &to)?, &props)?;
    check(&caller, &vhost, &binding)?;
    let command = Command::Unbind { vhost: vhost.name.clone(), binding: (*binding).clone() };
    caller.api.change(command).await?;
    reply::done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_encoded_twice_where_the_key_already_was_once() {
        assert_eq!(quote("a.b+c%7E~DJ-ruQ"), "a.b%2Bc%257E~DJ-ruQ");
        assert_eq!(quote("amq.fanout"), "amq.fanout");
    }
}

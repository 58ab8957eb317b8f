//! The paths of the API, one resource per file.
//!
//! Invariant: every path but the welcome page and the two readiness checks asks for a login first; what no
//! resource knows is RabbitMQ's 404.

mod bindings;
mod channels;
mod cluster;
mod connections;
mod consumers;
mod definitions;
mod exchanges;
mod export;
mod features;
mod get;
mod global_parameters;
mod health;
mod limits;
mod nodes;
mod overview;
mod parameters;
mod permissions;
mod policies;
mod publish;
mod queue_view;
mod queues;
mod redundancy;
mod topic_permissions;
mod trace;
mod users;
mod vhosts;
mod welcome;

use crate::ManagementConfig;
use crate::cluster::Asking;
use crate::reply::Failure;
use crate::sampler::Samples;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use broker::catalog::{Catalog, Command, Outcome};
use engine::Broker;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use types::AmqpError;
use types::limits::HTTP_BODY_MAX_BYTES;

/// What all handlers share.
pub(crate) struct Api {
    pub(crate) broker: Arc<Broker>,
    pub(crate) config: ManagementConfig,
    /// The operator's token.
    pub(crate) secret: Option<String>,
    pub(crate) samples: Samples,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) started: Instant,
    pub(crate) asking: Asking,
}

/// A socket of this node, as listings name it.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) protocol: String,
    pub(crate) address: SocketAddr,
}

impl Api {
    pub(crate) fn new(
        broker: Arc<Broker>,
        config: ManagementConfig,
        secret: Option<String>,
        address: SocketAddr,
    ) -> Api {
        let mut listeners: Vec<Listener> =
            config.listeners.iter().filter_map(|text| listener(text)).collect();
        if !listeners.iter().any(|known| known.address == address) {
            listeners.push(Listener { protocol: "http".to_owned(), address });
        }
        Api {
            broker,
            config,
            secret,
            samples: Samples::default(),
            listeners,
            started: Instant::now(),
            asking: Asking::default(),
        }
    }

    /// The catalog as it is now.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.broker.catalog())
    }

    /// Changes the catalog, and sends what that wrote to clients.
    pub(crate) async fn change(&self, command: Command) -> Result<Outcome, AmqpError> {
        let outcome = self.broker.change(command).await;
        self.broker.flush();
        outcome
    }

    pub(crate) fn node_name(&self) -> &str {
        &self.broker.config().node_name
    }
}

/// `AMQPS 0.0.0.0:5671` as a listener; RabbitMQ writes `amqp/ssl` and `https`.
fn listener(text: &str) -> Option<Listener> {
    let (name, address) = text.split_once(' ')?;
    let protocol = match name {
        "AMQPS" => "amqp/ssl".to_owned(),
        other => other.to_lowercase(),
    };
    Some(Listener { protocol, address: address.parse().ok()? })
}

/// All paths.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let paths = Router::new()
        .merge(welcome::routes())
        .merge(overview::routes())
        .merge(nodes::routes())
        .merge(cluster::routes())
        .merge(users::routes())
        .merge(vhosts::routes())
        .merge(limits::routes())
        .merge(permissions::routes())
        .merge(topic_permissions::routes())
        .merge(parameters::routes())
        .merge(global_parameters::routes())
        .merge(policies::routes())
        .merge(exchanges::routes())
        .merge(publish::routes())
        .merge(queues::routes())
        .merge(get::routes())
        .merge(bindings::routes())
        .merge(connections::routes())
        .merge(channels::routes())
        .merge(consumers::routes())
        .merge(definitions::routes())
        .merge(health::routes())
        .merge(redundancy::routes())
        .merge(features::routes())
        .merge(trace::routes())
        .fallback(|| async { Failure::no_object() })
        .layer(DefaultBodyLimit::max(HTTP_BODY_MAX_BYTES))
        .layer(axum::middleware::from_fn(not_too_large))
        .layer(axum::middleware::map_response(uncached))
        .with_state(api);
    // Around all the rest, for the path has to be changed before it is looked up.
    Router::new().fallback_service(paths).layer(axum::middleware::from_fn(without_last_slash))
}

async fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Refuses a body by its announced length, before it has come.
async fn not_too_large(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: Option<usize> = length.and_then(|digits| digits.parse().ok());
    if length.is_some_and(|length| length > HTTP_BODY_MAX_BYTES) {
        return Failure::body_too_large().into_response();
    }
    next.run(request).await
}

/// RabbitMQ takes `/api/queues/` for `/api/queues`.
async fn without_last_slash(mut request: Request, next: Next) -> Response {
    let uri = request.uri();
    if let Some(path) = uri.path().strip_suffix('/').filter(|path| !path.is_empty()) {
        let text = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        match text.parse::<Uri>() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return Failure::no_object().into_response(),
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_named_as_in_rabbitmq() {
        let table = [
            ("AMQP 127.0.0.1:5672", Some(("amqp", 5672))),
            ("AMQPS [::]:5671", Some(("amqp/ssl", 5671))),
            ("HTTP 0.0.0.0:15672", Some(("http", 15672))),
            ("AMQP", None),
        ];
        for (text, expected) in table {
            let found = listener(text).map(|found| (found.protocol, found.address.port()));
            assert_eq!(found, expected.map(|(name, port)| (name.to_owned(), port)), "{text}");
        }
    }
}

//! `GET /`: what a browser sees.

use crate::api::Api;
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use std::sync::Arc;

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Leveret</title></head>\n\
<body><h1>Leveret</h1><p>An AMQP 0-9-1 broker. This is its HTTP API, which follows RabbitMQ's management \
API; begin with <a href=\"api/overview\">/api/overview</a>.</p></body></html>\n";

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new().route("/", get(|| async { Html(PAGE) }))
}

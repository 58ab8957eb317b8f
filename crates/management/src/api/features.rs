//! What tools ask about to know what a broker can do.

use crate::api::Api;
use crate::auth::{Administrator, Anyone};
use crate::reply::{self, Answer};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, put};
use serde_json::json;
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/extensions", get(nothing))
        .route("/api/feature-flags", get(nothing))
        .route("/api/feature-flags/{name}/enable", put(enable))
        .route("/api/deprecated-features", get(nothing))
        .route("/api/deprecated-features/used", get(nothing))
        .route("/api/federation-links", get(nothing))
        .route("/api/shovels", get(nothing))
        .route("/api/auth", get(auth))
}

async fn nothing(Anyone(_caller): Anyone) -> Answer {
    reply::show(json!([]))
}

/// Every feature is always on.
async fn enable(Administrator(_caller): Administrator, Path(_name): Path<String>) -> Answer {
    reply::done()
}

/// How a browser logs in; asked before it has done so.
async fn auth() -> Answer {
    reply::show(json!({"oauth_enabled": false, "enable_uaa": false}))
}

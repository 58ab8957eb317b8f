//! `/api/leveret/trace/{vhost}`: the firehose of a vhost, on and off.

use super::vhosts;
use crate::api::Api;
use crate::auth::{Administrator, Caller};
use crate::reply::{self, Answer};
use axum::Router;
use axum::extract::Path;
use axum::routing::put;
use broker::catalog::Command;
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new().route(
        "/api/leveret/trace/{vhost}",
        put(|Administrator(caller), path| set(caller, path, true))
            .delete(|Administrator(caller), path| set(caller, path, false)),
    )
}

async fn set(caller: Caller, Path(name): Path<String>, on: bool) -> Answer {
    let vhost = vhosts::find(&caller.api.catalog(), &name)?.name.clone();
    caller.api.change(Command::SetTracing { vhost, on }).await?;
    reply::done()
}

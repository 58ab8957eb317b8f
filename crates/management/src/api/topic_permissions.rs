//! Which routing keys users may use at a topic exchange.

use super::permissions::refuse;
use crate::api::Api;
use crate::auth::{Administrator, Caller};
use crate::body::Body;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use broker::catalog::{Catalog, Command, TopicPermission, Vhost};
use serde_json::{Value, json};
use std::sync::Arc;
use types::{ExchangeName, UserName, VhostName};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/topic-permissions", get(list))
        .route("/api/topic-permissions/{vhost}/{user}", get(some).put(put).delete(delete))
        .route("/api/topic-permissions/{vhost}/{user}/{exchange}", get(one).delete(delete_one))
}

pub(crate) fn show(vhost: &Vhost, row: &TopicPermission) -> Value {
    json!({
        "user": row.user.as_str(),
        "vhost": vhost.name.as_str(),
        "exchange": row.exchange.as_str(),
        "write": row.write.text,
        "read": row.read.text,
    })
}

/// All rows of all vhosts.
pub(crate) fn all(catalog: &Catalog) -> Vec<Value> {
    catalog
        .vhosts
        .values()
        .flat_map(|vhost| vhost.topic_permissions.values().map(|row| show(vhost, row)))
        .collect()
}

/// The rows of one user in one vhost.
pub(crate) fn of_user(vhost: &Vhost, user: &str) -> Vec<Value> {
    let rows = vhost.topic_permissions.values();
    rows.filter(|row| row.user.as_str() == user).map(|row| show(vhost, row)).collect()
}

async fn list(Administrator(caller): Administrator, query: ListQuery) -> Answer {
    query.answer(all(&caller.api.catalog()), |_| "", Value::clone)
}

/// The rows of a user in a vhost, of which there is at least one.
fn rows(caller: &Caller, vhost: &str, user: &str) -> Result<Vec<Value>, Failure> {
    let catalog = caller.api.catalog();
    let rows = of_user(catalog.vhost(vhost).ok_or_else(Failure::no_object)?, user);
    if rows.is_empty() { Err(Failure::no_object()) } else { Ok(rows) }
}

async fn some(Administrator(caller): Administrator, Path((vhost, user)): Path<(String, String)>) -> Answer {
    reply::show(Value::Array(rows(&caller, &vhost, &user)?))
}

async fn one(
    Administrator(caller): Administrator,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Answer {
    let mut rows = rows(&caller, &vhost, &user)?;
    rows.retain(|row| row["exchange"] == exchange.as_str());
    if rows.is_empty() { Err(Failure::no_object()) } else { reply::show(Value::Array(rows)) }
}

async fn put(
    Administrator(caller): Administrator,
    Path((vhost, user)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let is_new = rows(&caller, &vhost, &user).is_err();
    put_topic_permission(&caller, &vhost, &user, &body).await?;
    reply::put(is_new)
}

/// Sets a row as a request's body or an entry of a definitions file says.
pub(crate) async fn put_topic_permission(
    caller: &Caller,
    vhost: &str,
    user: &str,
    body: &Body,
) -> Result<(), Failure> {
    body.require(&["exchange", "write", "read"])?;
    let command = Command::SetTopicPermission {
        vhost: VhostName::from(vhost),
        user: UserName::from(user),
        exchange: ExchangeName::from(body.required_text("exchange")?),
        write: body.required_text("write")?.to_owned(),
        read: body.required_text("read")?.to_owned(),
    };
    caller.api.change(command).await.map_err(refuse)?;
    Ok(())
}

async fn clear(caller: &Caller, vhost: &str, user: &str, exchange: Option<ExchangeName>) -> Answer {
    let (vhost, user) = (VhostName::from(vhost), UserName::from(user));
    caller.api.change(Command::ClearTopicPermission { vhost, user, exchange }).await?;
    reply::done()
}

async fn delete(Administrator(caller): Administrator, Path((vhost, user)): Path<(String, String)>) -> Answer {
    rows(&caller, &vhost, &user)?;
    clear(&caller, &vhost, &user, None).await
}

async fn delete_one(
    Administrator(caller): Administrator,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Answer {
    if !rows(&caller, &vhost, &user)?.iter().any(|row| row["exchange"] == exchange.as_str()) {
        return Err(Failure::no_object());
    }
    clear(&caller, &vhost, &user, Some(ExchangeName::from(exchange.as_str()))).await
}

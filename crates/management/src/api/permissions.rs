//! What users may do in a vhost.

use crate::api::Api;
use crate::auth::{Administrator, Caller};
use crate::body::Body;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use broker::catalog::{Catalog, Command, Permission, Vhost};
use serde_json::{Value, json};
use std::sync::Arc;
use types::{AmqpError, ReplyCode, UserName, VhostName};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/permissions", get(list))
        .route("/api/permissions/{vhost}/{user}", get(one).put(put).delete(delete))
}

pub(crate) fn show(vhost: &Vhost, row: &Permission) -> Value {
    json!({
        "user": row.user.as_str(),
        "vhost": vhost.name.as_str(),
        "configure": row.configure.as_str(),
        "write": row.write.as_str(),
        "read": row.read.as_str(),
    })
}

/// All rows of all vhosts.
pub(crate) fn all(catalog: &Catalog) -> Vec<Value> {
    catalog.vhosts.values().flat_map(|vhost| vhost.permissions.values().map(|row| show(vhost, row))).collect()
}

/// The refusal of rows that name what does not exist.
pub(crate) fn refuse(error: AmqpError) -> Failure {
    match error.code {
        ReplyCode::NotFound => Failure::bad_request("vhost_or_user_not_found"),
        _ => Failure::from(error),
    }
}

async fn list(Administrator(caller): Administrator, query: ListQuery) -> Answer {
    query.answer(all(&caller.api.catalog()), |_| "", Value::clone)
}

async fn one(Administrator(caller): Administrator, Path((vhost, user)): Path<(String, String)>) -> Answer {
    let catalog = caller.api.catalog();
    let vhost = catalog.vhost(&vhost).ok_or_else(Failure::no_object)?;
    let row = vhost.permissions.get(user.as_str()).ok_or_else(Failure::no_object)?;
    reply::show(show(vhost, row))
}

async fn put(
    Administrator(caller): Administrator,
    Path((vhost, user)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let catalog = caller.api.catalog();
    let is_new = !catalog.vhost(&vhost).is_some_and(|row| row.permissions.contains_key(user.as_str()));
    put_permission(&caller, &vhost, &user, &body).await?;
    reply::put(is_new)
}

/// Sets a row as a request's body or an entry of a definitions file says.
pub(crate) async fn put_permission(
    caller: &Caller,
    vhost: &str,
    user: &str,
    body: &Body,
) -> Result<(), Failure> {
    body.require(&["configure", "write", "read"])?;
    let text = |key: &str| body.required_text(key).map(str::to_owned);
    let command = Command::SetPermission {
        vhost: VhostName::from(vhost),
        user: UserName::from(user),
        configure: text("configure")?,
        write: text("write")?,
        read: text("read")?,
    };
    caller.api.change(command).await.map_err(refuse)?;
    Ok(())
}

async fn delete(Administrator(caller): Administrator, Path((vhost, user)): Path<(String, String)>) -> Answer {
    let catalog = caller.api.catalog();
    let row = catalog.vhost(&vhost).ok_or_else(Failure::no_object)?;
    if !row.permissions.contains_key(user.as_str()) {
        return Err(Failure::no_object());
    }
    let command = Command::ClearPermission { vhost: row.name.clone(), user: UserName::from(user.as_str()) };
    caller.api.change(command).await?;
    reply::done()
}

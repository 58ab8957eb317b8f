//! Limits of vhosts and users.

use super::{users, vhosts};
use crate::api::Api;
use crate::auth::{Administrator, Anyone};
use crate::body::{self, Body};
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, put};
use broker::catalog::{Command, User, Vhost};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use types::{UserName, VhostName};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/vhost-limits", get(all_vhosts))
        .route("/api/vhost-limits/{vhost}", get(one_vhost))
        .route("/api/vhost-limits/{vhost}/{name}", put(set_vhost).delete(clear_vhost))
        .route("/api/user-limits", get(all_users))
        .route("/api/user-limits/{user}", get(one_user))
        .route("/api/user-limits/{user}/{name}", put(set_user).delete(clear_user))
}

fn limits(pairs: [(&str, Option<i64>); 2]) -> Map<String, Value> {
    pairs.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), json!(limit?)))).collect()
}

/// A vhost's limits as JSON.
pub(crate) fn of_vhost(vhost: &Vhost) -> Map<String, Value> {
    limits([("max-connections", vhost.limits.max_connections), ("max-queues", vhost.limits.max_queues)])
}

fn of_user(user: &User) -> Map<String, Value> {
    limits([("max-connections", user.limits.max_connections), ("max-channels", user.limits.max_channels)])
}

fn vhost_row(vhost: &Vhost) -> Option<Value> {
    let limits = of_vhost(vhost);
    (!limits.is_empty()).then(|| json!({"vhost": vhost.name.as_str(), "value": limits}))
}

fn user_row(user: &User) -> Option<Value> {
    let limits = of_user(user);
    (!limits.is_empty()).then(|| json!({"user": user.name.as_str(), "value": limits}))
}

/// The number a limit is set to.
pub(crate) fn number(name: &str, value: &Value) -> Result<i64, Failure> {
    body::integer(value).ok_or_else(|| {
        let got = value.as_str().map_or_else(|| value.to_string(), |text| format!("<<\"{text}\">>"));
        Failure::bad_request(format!("Validation failed\n\n{name} should be a number, actually was {got}\n"))
    })
}

fn value_of(name: &str, body: &Body) -> Result<i64, Failure> {
    body.require(&["value"])?;
    number(name, body.get("value").unwrap_or(&Value::Null))
}

async fn all_vhosts(Anyone(caller): Anyone) -> Answer {
    let vhosts = caller.vhosts(&caller.api.catalog());
    reply::show(vhosts.iter().filter_map(|vhost| vhost_row(vhost)).collect())
}

async fn one_vhost(Anyone(caller): Anyone, Path(vhost): Path<String>) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    reply::show(vhost_row(&vhost).into_iter().collect())
}

async fn set_vhost(
    Administrator(caller): Administrator,
    Path((vhost, limit)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let vhost: VhostName = vhosts::find(&caller.api.catalog(), &vhost)?.name.clone();
    let value = value_of(&limit, &body)?;
    caller.api.change(Command::SetVhostLimit { vhost, limit, value }).await?;
    reply::done()
}

async fn clear_vhost(
    Administrator(caller): Administrator,
    Path((vhost, limit)): Path<(String, String)>,
) -> Answer {
    let vhost = vhosts::find(&caller.api.catalog(), &vhost)?.name.clone();
    caller.api.change(Command::ClearVhostLimit { vhost, limit: Some(limit) }).await?;
    reply::done()
}

async fn all_users(Administrator(caller): Administrator) -> Answer {
    reply::show(caller.api.catalog().users.values().filter_map(|user| user_row(user)).collect())
}

async fn one_user(Administrator(caller): Administrator, Path(user): Path<String>) -> Answer {
    reply::show(user_row(users::find(&caller.api.catalog(), &user)?).into_iter().collect())
}

async fn set_user(
    Administrator(caller): Administrator,
    Path((user, limit)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let user: UserName = users::find(&caller.api.catalog(), &user)?.name.clone();
    let value = value_of(&limit, &body)?;
    caller.api.change(Command::SetUserLimit { user, limit, value }).await?;
    reply::done()
}

async fn clear_user(
    Administrator(caller): Administrator,
    Path((user, limit)): Path<(String, String)>,
) -> Answer {
    let user = users::find(&caller.api.catalog(), &user)?.name.clone();
    caller.api.change(Command::ClearUserLimit { user, limit: Some(limit) }).await?;
    reply::done()
}

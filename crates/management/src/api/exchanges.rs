//! Exchanges: list, declare, delete. The default exchange is called `amq.default` in paths.

use crate::api::Api;
use crate::auth::{Anyone, Caller};
use crate::body::Body;
use crate::fields;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::routing::get;
use broker::access::{Access, Resource};
use broker::catalog::{Command, Exchange, Outcome, Vhost};
use serde_json::{Value, json};
use std::sync::Arc;
use types::{ExchangeName, FieldValue};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/exchanges", get(|caller, query| list(caller, None, query)))
        .route("/api/exchanges/{vhost}", get(|caller, path, query| list(caller, Some(path), query)))
        .route("/api/exchanges/{vhost}/{exchange}", get(one).put(put).delete(delete))
}

/// The exchange's name as the broker has it.
pub(crate) fn from_path(name: &str) -> &str {
    if name == "amq.default" { "" } else { name }
}

fn show(exchange: &Exchange) -> Value {
    let mut value = json!({
        "name": exchange.name.as_str(),
        "vhost": exchange.vhost.as_str(),
        "type": exchange.kind.as_str(),
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": fields::to_json(&exchange.arguments),
        "user_who_performed_action": exchange.user.as_str(),
    });
    if let (Value::Object(map), Some(policy)) = (&mut value, &exchange.policy) {
        map.insert("policy".to_owned(), json!(policy.name));
    }
    value
}

async fn list(Anyone(caller): Anyone, vhost: Option<Path<String>>, query: ListQuery) -> Answer {
    let catalog = caller.api.catalog();
    let vhosts = caller.some_vhosts(&catalog, vhost.as_ref().map(|path| path.0.as_str()))?;
    let rows: Vec<&Arc<Exchange>> = vhosts.iter().flat_map(|vhost| vhost.exchanges.values()).collect();
    query.answer(rows, |exchange| exchange.name.as_str(), |exchange| show(exchange))
}

/// The exchange that a path names.
pub(crate) fn find<'a>(vhost: &'a Vhost, name: &str) -> Result<&'a Arc<Exchange>, Failure> {
    vhost.exchange(from_path(name)).ok_or_else(Failure::no_object)
}

async fn one(
    Anyone(caller): Anyone,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    let mut value = show(find(&vhost, &name)?);
    if query.stats
        && let Value::Object(map) = &mut value
    {
        map.insert("incoming".to_owned(), json!([]));
        map.insert("outgoing".to_owned(), json!([]));
    }
    reply::show(query.project(value))
}

async fn put(Anyone(caller): Anyone, Path((vhost, name)): Path<(String, String)>, body: Body) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    reply::put(declare(&caller, &vhost, &name, &body).await?)
}

/// Declares an exchange as a request's body or an entry of a definitions file says; whether it is new.
pub(crate) async fn declare(
    caller: &Caller,
    vhost: &Vhost,
    name: &str,
    body: &Body,
) -> Result<bool, Failure> {
    let name = ExchangeName::new(from_path(name))
        .ok_or_else(|| Failure::bad_request("the exchange name is longer than 255 bytes"))?;
    let arguments = body.table("arguments")?;
    caller.check(vhost, Access::Configure, Resource::Exchange(name.as_str()))?;
    if let Some(alternate) = arguments.get("alternate-exchange").and_then(FieldValue::as_text) {
        caller.check(vhost, Access::Read, Resource::Exchange(name.as_str()))?;
        caller.check(vhost, Access::Write, Resource::Exchange(alternate))?;
    }
    let command = Command::DeclareExchange {
        vhost: vhost.name.clone(),
        name,
        kind: body.text("type")?.unwrap_or("direct").to_owned(),
        durable: body.flag("durable")?,
        auto_delete: body.flag("auto_delete")?,
        internal: body.flag("internal")?,
        arguments,
        user: caller.user.name.clone(),
    };
    Ok(matches!(caller.api.change(command).await?, Outcome::Exchange { created: true }))
}

async fn delete(
    Anyone(caller): Anyone,
    Path((vhost, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    let name = find(&vhost, &name)?.name.clone();
    caller.check(&vhost, Access::Configure, Resource::Exchange(name.as_str()))?;
    let if_unused = query.as_deref().is_some_and(|query| asks(query, "if-unused"));
    caller.api.change(Command::DeleteExchange { vhost: vhost.name.clone(), name, if_unused }).await?;
    reply::done()
}

/// Whether a query has `key=true`.
pub(crate) fn asks(query: &str, key: &str) -> bool {
    query.split('&').any(|pair| pair.split_once('=') == Some((key, "true")))
}

//! Parameters of vhosts: JSON values by component and name.
//!
//! Invariant: `vhost-limits` and `operator_policy` are no rows of their own; they are the vhost's limits
//! and operator policies under the names RabbitMQ gives them.

use super::limits;
use crate::api::Api;
use crate::auth::{Caller, Policymaker};
use crate::body::Body;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use broker::catalog::{Command, Vhost};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) const VHOST_LIMITS: &str = "vhost-limits";
pub(crate) const OPERATOR_POLICY: &str = "operator_policy";

/// Components that somebody reads, here or in RabbitMQ's plugins.
const KNOWN: [&str; 5] =
    [VHOST_LIMITS, "federation-upstream", "federation-upstream-set", "shovel", "federation"];

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/parameters", get(list))
        .route("/api/parameters/{component}", get(of_component))
        .route("/api/parameters/{component}/{vhost}", get(in_vhost))
        .route("/api/parameters/{component}/{vhost}/{name}", get(one).put(put).delete(delete))
}

fn row(vhost: &Vhost, component: &str, name: &str, value: Value) -> Value {
    json!({"vhost": vhost.name.as_str(), "component": component, "name": name, "value": value})
}

/// All parameters of a vhost.
pub(crate) fn all(vhost: &Vhost) -> Vec<Value> {
    let mut rows: Vec<Value> = vhost
        .parameters
        .iter()
        .map(|((component, name), text)| {
            let value = serde_json::from_str(text).unwrap_or(Value::Null);
            row(vhost, component, name, value)
        })
        .collect();
    let limits = limits::of_vhost(vhost);
    if !limits.is_empty() {
        rows.push(row(vhost, VHOST_LIMITS, "limits", Value::Object(limits)));
    }
    rows
}

/// Rows of one vhost or of all that are shown, of one component or of all.
fn rows(caller: &Caller, component: Option<&str>, vhost: Option<&str>) -> Result<Vec<Value>, Failure> {
    let catalog = caller.api.catalog();
    let mut rows: Vec<Value> =
        caller.some_vhosts(&catalog, vhost)?.iter().flat_map(|vhost| all(vhost)).collect();
    rows.retain(|row| component.is_none_or(|component| row["component"] == component));
    Ok(rows)
}

fn answer(rows: Vec<Value>, query: &ListQuery) -> Answer {
    query.answer(rows, |row| row["name"].as_str().unwrap_or_default(), Value::clone)
}

async fn list(Policymaker(caller): Policymaker, query: ListQuery) -> Answer {
    answer(rows(&caller, None, None)?, &query)
}

async fn of_component(
    Policymaker(caller): Policymaker,
    Path(component): Path<String>,
    query: ListQuery,
) -> Answer {
    answer(rows(&caller, Some(&component), None)?, &query)
}

async fn in_vhost(
    Policymaker(caller): Policymaker,
    Path((component, vhost)): Path<(String, String)>,
    query: ListQuery,
) -> Answer {
    answer(rows(&caller, Some(&component), Some(&vhost))?, &query)
}

fn find(caller: &Caller, component: &str, vhost: &str, name: &str) -> Result<Value, Failure> {
    let rows = rows(caller, Some(component), Some(vhost))?;
    rows.into_iter().find(|row| row["name"] == name).ok_or_else(Failure::no_object)
}

type Place = Path<(String, String, String)>;

async fn one(Policymaker(caller): Policymaker, Path((component, vhost, name)): Place) -> Answer {
    reply::show(find(&caller, &component, &vhost, &name)?)
}

async fn put(Policymaker(caller): Policymaker, Path((component, vhost, name)): Place, body: Body) -> Answer {
    body.require(&["value"])?;
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    let is_new = find(&caller, &component, vhost.name.as_str(), &name).is_err();
    let value = body.get("value").unwrap_or(&Value::Null);
    put_parameter(&caller, &vhost, &component, &name, value).await?;
    reply::put(is_new)
}

/// Sets a parameter as a request's body or an entry of a definitions file says.
pub(crate) async fn put_parameter(
    caller: &Caller,
    vhost: &Vhost,
    component: &str,
    name: &str,
    value: &Value,
) -> Result<(), Failure> {
    if !KNOWN.contains(&component) {
        return Err(Failure::bad_request(format!("Validation failed\n\ncomponent {component} not found\n")));
    }
    if component == VHOST_LIMITS {
        return put_limits(caller, vhost, value).await;
    }
    let command = Command::SetParameter {
        vhost: vhost.name.clone(),
        component: component.to_owned(),
        name: name.to_owned(),
        value: value.to_string(),
    };
    caller.api.change(command).await.map_err(Failure::of_validation)?;
    Ok(())
}

/// All limits of a vhost at once; RabbitMQ exports none as an empty list.
async fn put_limits(caller: &Caller, vhost: &Vhost, value: &Value) -> Result<(), Failure> {
    let clear = Command::ClearVhostLimit { vhost: vhost.name.clone(), limit: None };
    let Some(map) = value.as_object() else {
        caller.api.change(clear).await?;
        return Ok(());
    };
    let wanted = map
        .iter()
        .map(|(name, value)| Ok((name, limits::number(name, value)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    caller.api.change(clear).await?;
    for (limit, value) in wanted {
        let command = Command::SetVhostLimit { vhost: vhost.name.clone(), limit: limit.clone(), value };
        caller.api.change(command).await?;
    }
    Ok(())
}

async fn delete(Policymaker(caller): Policymaker, Path((component, vhost, name)): Place) -> Answer {
    find(&caller, &component, &vhost, &name)?;
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?.name.clone();
    let command = if component == VHOST_LIMITS {
        Command::ClearVhostLimit { vhost, limit: None }
    } else {
        Command::ClearParameter { vhost, component, name }
    };
    caller.api.change(command).await?;
    reply::done()
}

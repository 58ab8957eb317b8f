//! Parameters of the whole broker: JSON values by name.

use crate::api::Api;
use crate::auth::{Caller, Policymaker};
use crate::body::Body;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use broker::catalog::{Catalog, Command};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/global-parameters", get(list))
        .route("/api/global-parameters/{name}", get(one).put(put).delete(delete))
}

/// All of them.
pub(crate) fn all(catalog: &Catalog) -> Vec<Value> {
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let rows = catalog.global_parameters.iter();
    rows.map(|(name, text)| json!({"name": name, "value": value(text)})).collect()
}

fn find(caller: &Caller, name: &str) -> Result<Value, Failure> {
    let rows = all(&caller.api.catalog());
    rows.into_iter().find(|row| row["name"] == name).ok_or_else(Failure::no_object)
}

async fn list(Policymaker(caller): Policymaker) -> Answer {
    reply::show(Value::Array(all(&caller.api.catalog())))
}

async fn one(Policymaker(caller): Policymaker, Path(name): Path<String>) -> Answer {
    reply::show(find(&caller, &name)?)
}

async fn put(Policymaker(caller): Policymaker, Path(name): Path<String>, body: Body) -> Answer {
    body.require(&["value"])?;
    let is_new = find(&caller, &name).is_err();
    put_parameter(&caller, &name, body.get("value").unwrap_or(&Value::Null)).await?;
    reply::put(is_new)
}

/// Sets one as a request's body or an entry of a definitions file says.
pub(crate) async fn put_parameter(caller: &Caller, name: &str, value: &Value) -> Result<(), Failure> {
    let command = Command::SetGlobalParameter { name: name.to_owned(), value: value.to_string() };
    caller.api.change(command).await.map_err(Failure::of_validation)?;
    Ok(())
}

async fn delete(Policymaker(caller): Policymaker, Path(name): Path<String>) -> Answer {
    find(&caller, &name)?;
    caller.api.change(Command::ClearGlobalParameter { name }).await?;
    reply::done()
}

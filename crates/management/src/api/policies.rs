//! Policies and operator policies: the same rows, set by different people.

use crate::api::Api;
use crate::auth::{Administrator, Anyone, Caller, Policymaker};
use crate::body::Body;
use crate::fields;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use broker::catalog::{Command, Vhost};
use broker::policy::Policy;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    let users = Router::new()
        .route("/api/policies", get(|caller, query| list(caller, None, query, false)))
        .route("/api/policies/{vhost}", get(|caller, path, query| list(caller, Some(path), query, false)))
        .route(
            "/api/policies/{vhost}/{name}",
            get(|caller, path| one(caller, path, false))
                .put(|Policymaker(caller), path, body| put(caller, path, body, false))
                .delete(|Policymaker(caller), path| delete(caller, path, false)),
        );
    let operators = Router::new()
        .route("/api/operator-policies", get(|caller, query| list(caller, None, query, true)))
        .route(
            "/api/operator-policies/{vhost}",
            get(|caller, path, query| list(caller, Some(path), query, true)),
        )
        .route(
            "/api/operator-policies/{vhost}/{name}",
            get(|caller, path| one(caller, path, true))
                .put(|Administrator(caller), path, body| put(caller, path, body, true))
                .delete(|Administrator(caller), path| delete(caller, path, true)),
        );
    users.merge(operators)
}

type Place = Path<(String, String)>;

fn show(vhost: &Vhost, policy: &Policy) -> Value {
    json!({
        "vhost": vhost.name.as_str(),
        "name": policy.name,
        "pattern": policy.pattern.as_str(),
        "apply-to": policy.apply_to.as_str(),
        "definition": fields::to_json(&policy.definition),
        "priority": policy.priority,
    })
}

/// All policies of a vhost, or all operator policies.
pub(crate) fn all(vhost: &Vhost, operator: bool) -> Vec<Value> {
    let policies = if operator { &vhost.operator_policies } else { &vhost.policies };
    policies.values().map(|policy| show(vhost, policy)).collect()
}

async fn list(
    Anyone(caller): Anyone,
    vhost: Option<Path<String>>,
    query: ListQuery,
    operator: bool,
) -> Answer {
    let catalog = caller.api.catalog();
    let vhosts = caller.some_vhosts(&catalog, vhost.as_ref().map(|path| path.0.as_str()))?;
    let rows: Vec<Value> = vhosts.iter().flat_map(|vhost| all(vhost, operator)).collect();
    query.answer(rows, |row| row["name"].as_str().unwrap_or_default(), Value::clone)
}

fn find(vhost: &Vhost, name: &str, operator: bool) -> Result<Value, Failure> {
    let policies = if operator { &vhost.operator_policies } else { &vhost.policies };
    policies.get(name).map(|policy| show(vhost, policy)).ok_or_else(Failure::no_object)
}

async fn one(Anyone(caller): Anyone, Path((vhost, name)): Place, operator: bool) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    reply::show(find(&vhost, &name, operator)?)
}

async fn put(caller: Caller, Path((vhost, name)): Place, body: Body, operator: bool) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    let is_new = find(&vhost, &name, operator).is_err();
    put_policy(&caller, &vhost, &name, &body, operator).await?;
    reply::put(is_new)
}

/// Sets a policy as a request's body or an entry of a definitions file says.
pub(crate) async fn put_policy(
    caller: &Caller,
    vhost: &Vhost,
    name: &str,
    body: &Body,
    operator: bool,
) -> Result<(), Failure> {
    body.require(&["pattern", "definition"])?;
    let priority = body.integer("priority").map_err(|_| {
        let got = body.get("priority").map(Value::to_string).unwrap_or_default();
        let text = format!("Validation failed\n\npriority should be a number, actually was <<{got}>>\n");
        Failure::of_validation(types::AmqpError::precondition_failed(text))
    })?;
    let command = Command::SetPolicy {
        vhost: vhost.name.clone(),
        name: name.to_owned(),
        pattern: body.required_text("pattern")?.to_owned(),
        apply_to: body.text("apply-to")?.unwrap_or("all").to_owned(),
        priority: priority.unwrap_or(0),
        definition: body.table("definition")?,
        operator,
    };
    caller.api.change(command).await.map_err(Failure::of_validation)?;
    Ok(())
}

async fn delete(caller: Caller, Path((vhost, name)): Place, operator: bool) -> Answer {
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    find(&vhost, &name, operator)?;
    caller.api.change(Command::ClearPolicy { vhost: vhost.name.clone(), name, operator }).await?;
    reply::done()
}

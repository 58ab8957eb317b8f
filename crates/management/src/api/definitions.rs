//! `POST /api/definitions`: importing what an export or RabbitMQ has written.
//!
//! Invariant: additive; queues, exchanges and bindings that exist stay as they are, everything else is
//! overwritten. The order is RabbitMQ's, so a row never comes before what it names; an error leaves what
//! came before it.

use super::parameters::OPERATOR_POLICY;
use super::{bindings, exchanges, export, global_parameters, parameters, permissions, policies, queues};
use super::{topic_permissions, users, vhosts};
use crate::api::Api;
use crate::auth::{Administrator, Caller};
use crate::body::Body;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use broker::catalog::{Destination, Vhost};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use types::{ExchangeName, QueueName};

/// Rows imported before other requests have their turn.
const BATCH: usize = 256;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/definitions", get(export::all).post(import))
        .route("/api/all-configuration", get(export::all).post(import))
        .route("/api/definitions/{vhost}", get(export::one_vhost).post(import_vhost))
}

/// A file's rows, and the vhost they go to when the rows name none.
struct Import<'a> {
    caller: &'a Caller,
    file: Body,
    vhost: Option<String>,
}

fn parse(bytes: &[u8]) -> Result<Body, Failure> {
    Body::parse(bytes).map_err(|_| Failure::bad_request("failed_to_parse_json"))
}

async fn import(Administrator(caller): Administrator, bytes: Bytes) -> Answer {
    let caller = caller.trusted();
    let import = Import { caller: &caller, file: parse(&bytes)?, vhost: None };
    import.accounts().await?;
    import.settings().await?;
    import.topology().await?;
    reply::done()
}

async fn import_vhost(
    Administrator(caller): Administrator,
    Path(vhost): Path<String>,
    bytes: Bytes,
) -> Answer {
    vhosts::find(&caller.api.catalog(), &vhost).map_err(|_| Failure::bad_request("vhost_not_found"))?;
    let caller = caller.trusted();
    let import = Import { caller: &caller, file: parse(&bytes)?, vhost: Some(vhost) };
    import.exchanges().await?;
    import.settings().await?;
    import.topology().await?;
    reply::done()
}

impl Import<'_> {
    /// The rows under a key.
    fn rows(&self, key: &str) -> Result<Vec<Body>, Failure> {
        self.file.objects(key)
    }

    /// The vhost that a row goes to.
    fn vhost_of(&self, row: &Body) -> Result<Arc<Vhost>, Failure> {
        let name = match &self.vhost {
            Some(name) => name,
            None => row.required_text("vhost")?,
        };
        let catalog = self.caller.api.catalog();
        catalog.vhost(name).cloned().ok_or_else(|| Failure::bad_request(json!(["no_such_vhost", name])))
    }

    /// Users, vhosts, permissions, exchanges, topic permissions.
    async fn accounts(&self) -> Result<(), Failure> {
        for (at, mut row) in self.rows("users")?.into_iter().enumerate() {
            let name = row.required_text("name")?.to_owned();
            row.0.entry("tags").or_insert_with(|| json!([]));
            users::put_user(self.caller, &name, &row).await.map_err(|error| named("user", &name, error))?;
            self.put_user_limits(&name, &row).await?;
            breathe(at).await;
        }
        for row in self.rows("vhosts")? {
            let name = row.required_text("name")?.to_owned();
            vhosts::put_vhost(self.caller, &name, &row)
                .await
                .map_err(|error| named("vhost", &name, error))?;
        }
        for (at, row) in self.rows("permissions")?.iter().enumerate() {
            let (vhost, user) = (row.required_text("vhost")?, row.required_text("user")?);
            permissions::put_permission(self.caller, vhost, user, row)
                .await
                .map_err(|error| named("permission", user, error))?;
            breathe(at).await;
        }
        self.exchanges().await?;
        for row in self.rows("topic_permissions")? {
            let (vhost, user) = (row.required_text("vhost")?, row.required_text("user")?);
            topic_permissions::put_topic_permission(self.caller, vhost, user, &row)
                .await
                .map_err(|error| named("topic permission", user, error))?;
        }
        Ok(())
    }

    async fn put_user_limits(&self, name: &str, row: &Body) -> Result<(), Failure> {
        let empty = Map::new();
        let limits = row.get("limits").and_then(Value::as_object).unwrap_or(&empty);
        for (limit, value) in limits {
            let value = super::limits::number(limit, value)?;
            let command = broker::catalog::Command::SetUserLimit {
                user: types::UserName::from(name),
                limit: limit.clone(),
                value,
            };
            self.caller.api.change(command).await?;
        }
        Ok(())
    }

    async fn exchanges(&self) -> Result<(), Failure> {
        for (at, row) in self.rows("exchanges")?.iter().enumerate() {
            let name = row.required_text("name")?;
            let vhost = self.vhost_of(row)?;
            if vhost.exchange(name).is_none() {
                exchanges::declare(self.caller, &vhost, name, row)
                    .await
                    .map_err(|error| named("exchange", name, error))?;
            }
            breathe(at).await;
        }
        Ok(())
    }

    /// Global parameters, policies, parameters.
    async fn settings(&self) -> Result<(), Failure> {
        for row in self.rows("global_parameters")? {
            let name = row.required_text("name")?;
            let value = row.get("value").unwrap_or(&Value::Null);
            global_parameters::put_parameter(self.caller, name, value).await?;
        }
        for row in self.rows("policies")? {
            let name = row.required_text("name")?;
            let vhost = self.vhost_of(&row)?;
            policies::put_policy(self.caller, &vhost, name, &row, false)
                .await
                .map_err(|error| named("policy", name, error))?;
        }
        for row in self.rows("parameters")? {
            self.put_parameter(&row).await?;
        }
        Ok(())
    }

    async fn put_parameter(&self, row: &Body) -> Result<(), Failure> {
        let (component, name) = (row.required_text("component")?, row.required_text("name")?);
        let vhost = self.vhost_of(row)?;
        let value = row.get("value").unwrap_or(&Value::Null);
        let outcome = match (component, value) {
            (OPERATOR_POLICY, Value::Object(policy)) => {
                policies::put_policy(self.caller, &vhost, name, &Body(policy.clone()), true).await
            }
            _ => parameters::put_parameter(self.caller, &vhost, component, name, value).await,
        };
        outcome.map_err(|error| named(component, name, error))
    }

    /// Queues, bindings.
    async fn topology(&self) -> Result<(), Failure> {
        for (at, row) in self.rows("queues")?.into_iter().enumerate() {
            let name = row.required_text("name")?.to_owned();
            let vhost = self.vhost_of(&row)?;
            if vhost.queue(&name).is_none() {
                queues::declare(self.caller, &vhost, &name, &with_type(row), None)
                    .await
                    .map_err(|error| named("queue", &name, error))?;
            }
            breathe(at).await;
        }
        for (at, row) in self.rows("bindings")?.iter().enumerate() {
            let vhost = self.vhost_of(row)?;
            let (source, name) = (row.required_text("source")?, row.required_text("destination")?);
            let to = match row.required_text("destination_type")? {
                "queue" => Destination::Queue(QueueName::from(name)),
                "exchange" => Destination::Exchange(ExchangeName::from(name)),
                other => return Err(Failure::bad_request(json!(["unknown_destination_type", other]))),
            };
            bindings::make(self.caller, &vhost, source, to, row)
                .await
                .map_err(|error| named("binding", source, error))?;
            breathe(at).await;
        }
        Ok(())
    }
}

/// Files may say the type beside the arguments only.
fn with_type(mut row: Body) -> Body {
    let kind = row.get("type").filter(|kind| **kind == json!("quorum")).cloned();
    if let Some(kind) = kind {
        let arguments = row.0.entry("arguments").or_insert_with(|| json!({}));
        if arguments.as_array().is_some_and(Vec::is_empty) {
            *arguments = json!({});
        }
        if let Value::Object(arguments) = arguments {
            arguments.entry("x-queue-type").or_insert(kind);
        }
    }
    row
}

/// Says which row was refused.
fn named(kind: &str, name: &str, error: Failure) -> Failure {
    tracing::warn!(kind, name, reason = error.reason(), "definitions: the import stops here");
    if error.is_not_found() { Failure::bad_request(error.reason()) } else { error }
}

async fn breathe(at: usize) {
    if at % BATCH == BATCH - 1 {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_beside_the_arguments_counts() {
        let table = [
            (json!({"type": "quorum"}), json!({"x-queue-type": "quorum"})),
            (json!({"type": "quorum", "arguments": []}), json!({"x-queue-type": "quorum"})),
            (json!({"type": "classic", "arguments": {}}), json!({})),
        ];
        for (row, arguments) in table {
            let body = with_type(Body(row.as_object().cloned().unwrap()));
            assert_eq!(body.get("arguments"), Some(&arguments), "{row}");
        }
    }
}

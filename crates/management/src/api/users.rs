//! Users: list, put, delete, and what they may do.
//!
//! Invariant: a password is hashed before anything else sees it and never written to the log.

use super::{permissions, topic_permissions};
use crate::api::Api;
use crate::auth::{Administrator, Caller};
use crate::body::{self, Body};
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::catalog::{Catalog, Command, User};
use broker::password::{self, HashAlgorithm, PasswordHash};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use types::UserName;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/users", get(list))
        .route("/api/users/bulk-delete", post(bulk_delete))
        .route("/api/users/without-permissions", get(without_permissions))
        .route("/api/users/{user}", get(one).put(put).delete(delete))
        .route("/api/users/{user}/permissions", get(permissions_of))
        .route("/api/users/{user}/topic-permissions", get(topic_permissions_of))
        .route("/api/auth/hash_password/{password}", get(hash_password))
}

pub(crate) fn show(user: &User) -> Value {
    let hash = user.password_hash.as_ref();
    let algorithm = hash.map(|hash| hash.algorithm).unwrap_or_default();
    let mut limits = Map::new();
    for (name, limit) in
        [("max-connections", user.limits.max_connections), ("max-channels", user.limits.max_channels)]
    {
        if let Some(limit) = limit {
            limits.insert(name.to_owned(), json!(limit));
        }
    }
    json!({
        "name": user.name.as_str(),
        "password_hash": hash.map_or("", |hash| hash.text.as_str()),
        "hashing_algorithm": algorithm.as_str(),
        "tags": user.tags,
        "limits": limits,
    })
}

/// The user called `name`.
pub(crate) fn find<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Arc<User>, Failure> {
    catalog.users.get(name).ok_or_else(Failure::no_object)
}

/// The name of a new user.
fn new_name(name: &str) -> Result<UserName, Failure> {
    UserName::new(name).ok_or_else(|| Failure::bad_request("the user name is longer than 255 bytes"))
}

async fn list(Administrator(caller): Administrator) -> Answer {
    reply::show(caller.api.catalog().users.values().map(|user| show(user)).collect())
}

async fn without_permissions(Administrator(caller): Administrator) -> Answer {
    let catalog = caller.api.catalog();
    let has_none =
        |user: &&Arc<User>| !catalog.vhosts.values().any(|vhost| vhost.permissions.contains_key(&user.name));
    reply::show(catalog.users.values().filter(has_none).map(|user| show(user)).collect())
}

async fn one(Administrator(caller): Administrator, Path(name): Path<String>) -> Answer {
    reply::show(show(find(&caller.api.catalog(), &name)?))
}

async fn put(Administrator(caller): Administrator, Path(name): Path<String>, body: Body) -> Answer {
    let is_new = !caller.api.catalog().users.contains_key(name.as_str());
    put_user(&caller, &name, &body).await?;
    reply::put(is_new)
}

/// Adds or overwrites a user as a request's body or an entry of a definitions file says.
pub(crate) async fn put_user(caller: &Caller, name: &str, body: &Body) -> Result<(), Failure> {
    let tags = body.get("tags").ok_or_else(|| Failure::bad_request("tags_not_present"))?;
    let command = Command::PutUser {
        name: new_name(name)?,
        password_hash: password_of(body)?,
        tags: body::tags(tags)?,
    };
    caller.api.change(command).await?;
    Ok(())
}

/// The hash that a body gives or asks for; None for a user without a password.
fn password_of(body: &Body) -> Result<Option<PasswordHash>, Failure> {
    match (body.text("password")?, body.text("password_hash")?) {
        (Some(_), Some(_)) => Err(Failure::bad_request("both_password_and_password_hash_are_provided")),
        (Some(""), None) | (None, Some("")) | (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(password::hash(text, salt()))),
        (None, Some(text)) => {
            let algorithm = match body.text("hashing_algorithm")? {
                None => HashAlgorithm::default(),
                Some(word) => HashAlgorithm::parse(word).ok_or_else(|| {
                    Failure::bad_request(format!("hashing algorithm '{word}' is not supported"))
                })?,
            };
            if STANDARD.decode(text).is_err() {
                return Err(Failure::bad_request(json!(["not_base64", text])));
            }
            Ok(Some(PasswordHash { algorithm, text: text.to_owned() }))
        }
    }
}

fn salt() -> [u8; 4] {
    (engine::route::random() as u32).to_be_bytes()
}

async fn delete(Administrator(caller): Administrator, Path(name): Path<String>) -> Answer {
    let name = find(&caller.api.catalog(), &name)?.name.clone();
    caller.api.change(Command::DeleteUser { name }).await?;
    reply::done()
}

async fn bulk_delete(Administrator(caller): Administrator, body: Body) -> Answer {
    body.require(&["users"])?;
    let names = body::tags(body.get("users").unwrap_or(&Value::Null))?;
    let catalog = caller.api.catalog();
    if let Some(missing) = names.iter().find(|name| !catalog.users.contains_key(name.as_str())) {
        return Err(Failure::bad_request(json!(["no_such_user", missing])));
    }
    for name in names {
        match caller.api.change(Command::DeleteUser { name: UserName::from(name.as_str()) }).await {
            // Named twice, or deleted by somebody else meanwhile.
            Err(error) if error.code == types::ReplyCode::NotFound => {}
            outcome => {
                outcome?;
            }
        }
    }
    reply::done()
}

async fn permissions_of(Administrator(caller): Administrator, Path(name): Path<String>) -> Answer {
    let catalog = caller.api.catalog();
    find(&catalog, &name)?;
    let rows = catalog
        .vhosts
        .values()
        .filter_map(|vhost| vhost.permissions.get(name.as_str()).map(|row| permissions::show(vhost, row)));
    reply::show(rows.collect())
}

async fn topic_permissions_of(Administrator(caller): Administrator, Path(name): Path<String>) -> Answer {
    let catalog = caller.api.catalog();
    find(&catalog, &name)?;
    let rows = catalog.vhosts.values().flat_map(|vhost| topic_permissions::of_user(vhost, &name));
    reply::show(rows.collect())
}

async fn hash_password(Administrator(_caller): Administrator, Path(text): Path<String>) -> Answer {
    reply::show(json!({"ok": password::hash(&text, salt()).text}))
}

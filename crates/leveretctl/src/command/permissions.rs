//! Permissions of users in virtual hosts.

use super::Context;
use crate::client::{refusal, segment};
use crate::failure::Failure;
use crate::output::Table;
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // the commands' own words
pub(crate) enum Permission {
    /// Lists who may do what in a virtual host
    ListPermissions,
    /// Lists what a user may do in all virtual hosts
    ListUserPermissions { username: String },
    /// Says by patterns what a user may do in a virtual host
    SetPermissions { username: String, configure: String, write: String, read: String },
    /// Takes a user's permissions in a virtual host away
    ClearPermissions { username: String },
}

pub(crate) fn run(context: &Context, permission: Permission) -> Result<(), Failure> {
    match permission {
        Permission::ListPermissions => {
            context.say(&format!("Listing permissions for vhost \"{}\" ...", context.vhost()));
            let rows = context.client.get(&format!("/api/vhosts/{}/permissions", context.vhost_path()))?;
            print(context, &rows, &["user", "configure", "write", "read"]);
            Ok(())
        }
        Permission::ListUserPermissions { username } => {
            context.say(&format!("Listing permissions for user \"{username}\" ..."));
            let rows = of_user(context, &username, "permissions")?;
            print(context, &rows, &["vhost", "configure", "write", "read"]);
            Ok(())
        }
        Permission::SetPermissions { username, configure, write, read } => {
            let vhost = context.vhost();
            context.say(&format!("Setting permissions for user \"{username}\" in vhost \"{vhost}\" ..."));
            let body = json!({"configure": configure, "write": write, "read": read});
            put(context, "permissions", &username, &body)
        }
        Permission::ClearPermissions { username } => {
            let vhost = context.vhost();
            context.say(&format!("Clearing permissions for user \"{username}\" in vhost \"{vhost}\" ..."));
            clear(context, "permissions", &username, "")
        }
    }
}

pub(crate) fn print(context: &Context, rows: &Value, columns: &[&str]) {
    let mut table = Table::new(columns);
    for row in rows.as_array().into_iter().flatten() {
        table.rows.push(columns.iter().map(|column| row[*column].clone()).collect());
    }
    context.print(&table);
}

/// The rows of a user in all vhosts.
pub(crate) fn of_user(context: &Context, user: &str, kind: &str) -> Result<Value, Failure> {
    let answer = context.client.send("GET", &format!("/api/users/{}/{kind}", segment(user)), None, &[])?;
    match answer.status {
        200 => Ok(answer.body),
        404 => Err(Failure::no_user(user)),
        _ => Err(refusal(&answer)),
    }
}

/// Sets a row; the API does not say which of vhost and user is missing.
pub(crate) fn put(context: &Context, kind: &str, user: &str, body: &Value) -> Result<(), Failure> {
    let path = format!("/api/{kind}/{}/{}", context.vhost_path(), segment(user));
    let answer = context.client.send("PUT", &path, Some(body), &[])?;
    match (answer.status, answer.body["reason"].as_str()) {
        (200..300, _) => Ok(()),
        (400, Some("vhost_or_user_not_found")) => Err(missing_end(context, user)),
        _ => Err(refusal(&answer)),
    }
}

fn missing_end(context: &Context, user: &str) -> Failure {
    let path = format!("/api/users/{}", segment(user));
    match context.client.send("GET", &path, None, &[]) {
        Ok(answer) if answer.status == 404 => Failure::no_user(user),
        _ => Failure::data(format!("Virtual host '{}' does not exist", context.vhost())),
    }
}

/// Clears rows; that there were none is no failure.
pub(crate) fn clear(context: &Context, kind: &str, user: &str, rest: &str) -> Result<(), Failure> {
    of_user(context, user, kind)?;
    let path = format!("/api/{kind}/{}/{}{rest}", context.vhost_path(), segment(user));
    let answer = context.client.send("DELETE", &path, None, &[])?;
    match answer.status {
        204 | 404 => Ok(()),
        _ => Err(refusal(&answer)),
    }
}

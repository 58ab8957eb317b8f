//! Users.

use super::Context;
use crate::client::{Client, refusal, segment};
use crate::failure::Failure;
use crate::output::Table;
use clap::Subcommand;
use serde_json::{Value, json};
use std::io::BufRead as _;

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
pub(crate) enum Account {
    /// Lists users with their tags
    ListUsers,
    /// Creates a user without permissions; the password is read from standard input when it is not given
    AddUser { username: String, password: Option<String> },
    /// Deletes a user and closes the user's connections
    DeleteUser { username: String },
    /// Changes a password
    ChangePassword { username: String, password: Option<String> },
    /// Makes logging in with a password impossible
    ClearPassword { username: String },
    /// Replaces the tags of a user
    SetUserTags { username: String, tags: Vec<String> },
    /// Says whether a password is right
    AuthenticateUser { username: String, password: Option<String> },
    /// Prints the hash of a password
    HashPassword { password: Option<String> },
}

pub(crate) fn run(context: &Context, account: Account) -> Result<(), Failure> {
    match account {
        Account::ListUsers => list(context),
        Account::AddUser { username, password } => add(context, &username, password),
        Account::DeleteUser { username } => delete(context, &username),
        Account::ChangePassword { username, password } => {
            context.say(&format!("Changing password for user \"{username}\" ..."));
            let password = typed(password)?;
            overwrite(context, &username, "password", json!(password))
        }
        Account::ClearPassword { username } => {
            context.say(&format!("Clearing password for user \"{username}\" ..."));
            overwrite(context, &username, "password_hash", json!(""))
        }
        Account::SetUserTags { username, tags } => {
            context.say(&format!("Setting tags for user \"{username}\" to [{}] ...", tags.join(", ")));
            overwrite(context, &username, "tags", json!(tags))
        }
        Account::AuthenticateUser { username, password } => authenticate(context, &username, password),
        Account::HashPassword { password } => {
            let path = format!("/api/auth/hash_password/{}", segment(&typed(password)?));
            context.say("Will hash password");
            let hash = context.client.get(&path)?;
            super::write(&format!("{}\n", hash["ok"].as_str().unwrap_or_default()));
            Ok(())
        }
    }
}

fn path(name: &str) -> String {
    format!("/api/users/{}", segment(name))
}

/// A password from the command line, or the first line of standard input.
fn typed(password: Option<String>) -> Result<String, Failure> {
    if let Some(password) = password {
        return Ok(password);
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::data(format!("the password cannot be read: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() { Err(Failure::data("password is empty")) } else { Ok(password.to_owned()) }
}

fn list(context: &Context) -> Result<(), Failure> {
    context.say("Listing users ...");
    let users = context.client.get("/api/users")?;
    let mut table = Table::new(&["user", "tags"]);
    for user in users.as_array().into_iter().flatten() {
        let tags: Vec<&str> =
            user["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let is_json = context.options.formatter == crate::arguments::Formatter::Json;
        let tags = if is_json { json!(tags) } else { json!(format!("[{}]", tags.join(", "))) };
        table.rows.push(vec![user["name"].clone(), tags]);
    }
    context.print(&table);
    Ok(())
}

/// A user as the API has it.
fn find(context: &Context, name: &str) -> Result<Value, Failure> {
    let answer = context.client.send("GET", &path(name), None, &[])?;
    match answer.status {
        200 => Ok(answer.body),
        404 => Err(Failure::no_user(name)),
        _ => Err(refusal(&answer)),
    }
}

fn add(context: &Context, name: &str, password: Option<String>) -> Result<(), Failure> {
    context.say(&format!("Adding user \"{name}\" ..."));
    let password = typed(password)?;
    let answer = context.client.send("GET", &path(name), None, &[])?;
    if answer.status == 200 {
        return Err(Failure::software(format!("User \"{name}\" already exists")));
    }
    let body = json!({"password": password, "tags": ""});
    context.client.ask("PUT", &path(name), Some(&body))?;
    context.say(
        "Done. Don't forget to grant the user permissions to some virtual hosts! \
         See 'leveretctl help set_permissions' to learn more.",
    );
    Ok(())
}

fn delete(context: &Context, name: &str) -> Result<(), Failure> {
    context.say(&format!("Deleting user \"{name}\" ..."));
    find(context, name)?;
    context.client.ask("DELETE", &path(name), None)?;
    Ok(())
}

/// Puts a user again with one field changed; a new password takes the place of the old hash.
fn overwrite(context: &Context, name: &str, key: &str, value: Value) -> Result<(), Failure> {
    let Value::Object(mut user) = find(context, name)? else {
        return Err(Failure::software(format!("the node describes user \"{name}\" in an unknown form")));
    };
    if key.starts_with("password") {
        user.remove("password_hash");
        user.remove("hashing_algorithm");
    }
    user.insert(key.to_owned(), value);
    context.client.ask("PUT", &path(name), Some(&Value::Object(user)))?;
    Ok(())
}

/// Tries the password at the API: whoever the node knows gets past the login, with or without tags.
fn authenticate(context: &Context, name: &str, password: Option<String>) -> Result<(), Failure> {
    context.say(&format!("Authenticating user \"{name}\" ..."));
    let target = context.client.target.with_login(name, &typed(password)?);
    let client = Client { target, timeout: context.client.timeout };
    let answer = client.send("GET", "/api/whoami", None, &[])?;
    match (answer.status, answer.body["error"].as_str()) {
        (200, _) | (401, Some("not_authorised")) => {
            context.say("Success");
            Ok(())
        }
        (401, _) => Err(Failure::data(format!(
            "Error: failed to authenticate user \"{name}\"\nuser '{name}' - invalid credentials"
        ))),
        _ => Err(refusal(&answer)),
    }
}

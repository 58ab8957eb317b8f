//! Limits of virtual hosts and users.

use super::{Context, json};
use crate::client::segment;
use crate::failure::Failure;
use crate::output::Table;
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // the commands' own words
pub(crate) enum Limit {
    /// Sets limits of a virtual host: a JSON object with max-connections, max-queues
    SetVhostLimits { definition: String },
    /// Removes the limits of a virtual host
    ClearVhostLimits,
    /// Lists the limits of a virtual host
    ListVhostLimits {
        /// Of all virtual hosts
        #[arg(long)]
        global: bool,
    },
    /// Sets limits of a user: a JSON object with max-connections, max-channels
    SetUserLimits { username: String, definition: String },
    /// Removes a limit of a user, or all of them
    ClearUserLimits { username: String, limit: String },
    /// Lists the limits of users
    ListUserLimits {
        username: Option<String>,
        /// Of all users
        #[arg(long)]
        global: bool,
    },
}

const VHOST_LIMITS: [&str; 2] = ["max-connections", "max-queues"];
const USER_LIMITS: [&str; 2] = ["max-connections", "max-channels"];

pub(crate) fn run(context: &Context, limit: Limit) -> Result<(), Failure> {
    let vhost = context.vhost();
    match limit {
        Limit::SetVhostLimits { definition } => {
            context.say(&format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ..."));
            set(context, &format!("/api/vhost-limits/{}", context.vhost_path()), &definition)
        }
        Limit::ClearVhostLimits => {
            context.say(&format!("Clearing vhost \"{vhost}\" limits ..."));
            clear(context, &format!("/api/vhost-limits/{}", context.vhost_path()), &VHOST_LIMITS)
        }
        Limit::ListVhostLimits { global: true } => {
            context.say("Listing limits for all vhosts ...");
            list(context, "/api/vhost-limits", "vhost")
        }
        Limit::ListVhostLimits { global: false } => {
            context.say(&format!("Listing limits for vhost \"{vhost}\" ..."));
            list(context, &format!("/api/vhost-limits/{}", context.vhost_path()), "vhost")
        }
        Limit::SetUserLimits { username, definition } => {
            context.say(&format!("Setting user limits to \"{definition}\" for user \"{username}\" ..."));
            set(context, &format!("/api/user-limits/{}", segment(&username)), &definition)
        }
        Limit::ClearUserLimits { username, limit } => {
            context.say(&format!("Clearing \"{limit}\" limit for user \"{username}\" ..."));
            let names = if limit == "all" { USER_LIMITS.to_vec() } else { vec![limit.as_str()] };
            clear(context, &format!("/api/user-limits/{}", segment(&username)), &names)
        }
        Limit::ListUserLimits { username: Some(user), .. } => {
            context.say(&format!("Listing limits for user \"{user}\" ..."));
            list(context, &format!("/api/user-limits/{}", segment(&user)), "user")
        }
        Limit::ListUserLimits { username: None, .. } => {
            context.say("Listing limits for all users ...");
            list(context, "/api/user-limits", "user")
        }
    }
}

fn set(context: &Context, path: &str, definition: &str) -> Result<(), Failure> {
    let Value::Object(limits) = json(definition)? else {
        return Err(Failure::data("limits are given as a JSON object"));
    };
    for (name, value) in limits {
        context.client.ask("PUT", &format!("{path}/{}", segment(&name)), Some(&json!({ "value": value })))?;
    }
    Ok(())
}

fn clear(context: &Context, path: &str, names: &[&str]) -> Result<(), Failure> {
    for name in names {
        context.client.ask("DELETE", &format!("{path}/{}", segment(name)), None)?;
    }
    Ok(())
}

fn list(context: &Context, path: &str, key: &str) -> Result<(), Failure> {
    let rows = context.client.get(path)?;
    let mut table = Table::new(&[key, "limits"]);
    for row in rows.as_array().into_iter().flatten() {
        table.rows.push(vec![row[key].clone(), row["value"].clone()]);
    }
    context.print(&table);
    Ok(())
}

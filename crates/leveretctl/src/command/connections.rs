//! Closing connections.

use super::Context;
use crate::client::{refusal, segment};
use crate::failure::Failure;
use clap::Subcommand;
use serde_json::Value;

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // the commands' own words
pub(crate) enum Connection {
    /// Closes a connection, named as in list_connections' columns pid and name
    CloseConnection { name: String, explanation: String },
    /// Closes all connections of the node, or of a virtual host with --vhost
    CloseAllConnections {
        explanation: String,
        /// How many at the most; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: usize,
        /// Accepted and not needed
        #[arg(long = "per-connection-delay", default_value_t = 0)]
        per_connection_delay: u64,
        /// Of all virtual hosts
        #[arg(long)]
        global: bool,
    },
    /// Closes all connections of a user
    CloseAllUserConnections { username: String, explanation: String },
}

pub(crate) fn run(context: &Context, command: Connection) -> Result<(), Failure> {
    match command {
        Connection::CloseConnection { name, explanation } => {
            context.say(&format!("Closing connection {name}, reason: {explanation}..."));
            match close(context, &name, &explanation)? {
                true => Ok(()),
                false => Err(Failure::data(format!("connection {name} is not there"))),
            }
        }
        Connection::CloseAllConnections { explanation, limit, global, .. } => {
            let path = if global {
                context.say(&format!("Closing all connections to node, reason: {explanation}..."));
                "/api/connections".to_owned()
            } else {
                let vhost = context.vhost();
                context.say(&format!("Closing all connections in vhost {vhost}, reason: {explanation}..."));
                format!("/api/vhosts/{}/connections", context.vhost_path())
            };
            let rows = context.client.get(&path)?;
            let limit = if limit == 0 { usize::MAX } else { limit };
            for row in rows.as_array().into_iter().flatten().take(limit) {
                close(context, row["name"].as_str().unwrap_or_default(), &explanation)?;
            }
            Ok(())
        }
        Connection::CloseAllUserConnections { username, explanation } => {
            context.say(&format!("Closing all connections of user {username}, reason: {explanation}..."));
            let path = format!("/api/connections/username/{}", segment(&username));
            let answer = context.client.send("DELETE", &path, None, &[("X-Reason", &explanation)])?;
            if answer.status == 204 { Ok(()) } else { Err(refusal(&answer)) }
        }
    }
}

/// Closes one connection; false when it had gone.
fn close(context: &Context, name: &str, explanation: &str) -> Result<bool, Failure> {
    let path = format!("/api/connections/{}", segment(name));
    let answer = context.client.send("DELETE", &path, None::<&Value>, &[("X-Reason", explanation)])?;
    match answer.status {
        204 => Ok(true),
        404 => Ok(false),
        _ => Err(refusal(&answer)),
    }
}

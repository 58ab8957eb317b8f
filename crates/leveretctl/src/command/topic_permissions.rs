//! Which routing keys users may use at topic exchanges.

use super::Context;
use super::permissions::{clear, of_user, print, put};
use crate::client::segment;
use crate::failure::Failure;
use clap::Subcommand;
use serde_json::json;

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // the commands' own words
pub(crate) enum TopicPermission {
    /// Lists topic permissions in a virtual host
    ListTopicPermissions,
    /// Lists the topic permissions of a user
    ListUserTopicPermissions { username: String },
    /// Says by patterns which routing keys a user may use at a topic exchange
    SetTopicPermissions { username: String, exchange: String, write: String, read: String },
    /// Takes a user's topic permissions away, of one exchange or of all
    ClearTopicPermissions { username: String, exchange: Option<String> },
}

pub(crate) fn run(context: &Context, permission: TopicPermission) -> Result<(), Failure> {
    let vhost = context.vhost();
    match permission {
        TopicPermission::ListTopicPermissions => {
            context.say(&format!("Listing topic permissions for vhost \"{vhost}\" ..."));
            let path = format!("/api/vhosts/{}/topic-permissions", context.vhost_path());
            print(context, &context.client.get(&path)?, &["user", "exchange", "write", "read"]);
            Ok(())
        }
        TopicPermission::ListUserTopicPermissions { username } => {
            context.say(&format!("Listing topic permissions for user \"{username}\" ..."));
            let rows = of_user(context, &username, "topic-permissions")?;
            print(context, &rows, &["vhost", "exchange", "write", "read"]);
            Ok(())
        }
        TopicPermission::SetTopicPermissions { username, exchange, write, read } => {
            context.say(&format!(
                "Setting topic permissions on \"{exchange}\" for user \"{username}\" in vhost \"{vhost}\" ..."
            ));
            let body = json!({"exchange": exchange, "write": write, "read": read});
            put(context, "topic-permissions", &username, &body)
        }
        TopicPermission::ClearTopicPermissions { username, exchange } => {
            context
                .say(&format!("Clearing topic permissions for user \"{username}\" in vhost \"{vhost}\" ..."));
            let rest = exchange.map(|name| format!("/{}", segment(&name))).unwrap_or_default();
            clear(context, "topic-permissions", &username, &rest)
        }
    }
}

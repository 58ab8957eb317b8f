//! Purging and deleting queues.

use super::Context;
use crate::client::{Answer, refusal, segment};
use crate::failure::Failure;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // the commands' own words
pub(crate) enum QueueCommand {
    /// Removes all ready messages of a queue
    PurgeQueue { queue: String },
    /// Deletes a queue
    DeleteQueue {
        queue: String,
        /// Only when it holds no messages
        #[arg(short = 'e', long = "if-empty")]
        if_empty: bool,
        /// Only when it has no consumers
        #[arg(short = 'u', long = "if-unused")]
        if_unused: bool,
    },
    /// Balances leaders of replicated queues over nodes; a queue with one copy stays where it is
    Rebalance {
        #[arg(default_value = "all")]
        kind: String,
        #[arg(long = "vhost-pattern")]
        vhost_pattern: Option<String>,
        #[arg(long = "queue-pattern")]
        queue_pattern: Option<String>,
    },
}

pub(crate) fn run(context: &Context, command: QueueCommand) -> Result<(), Failure> {
    let vhost = context.vhost();
    match command {
        QueueCommand::PurgeQueue { queue } => {
            context.say(&format!("Purging queue '{queue}' in vhost '{vhost}' ..."));
            let path = format!("/api/queues/{}/{}/contents", context.vhost_path(), segment(&queue));
            let answer = context.client.send("DELETE", &path, None, &[])?;
            match answer.status {
                204 => Ok(()),
                404 if is_unknown(&answer) => Err(Failure::data("not_found")),
                _ => Err(refusal(&answer)),
            }
        }
        QueueCommand::DeleteQueue { queue, if_empty, if_unused } => {
            let condition = match (if_empty, if_unused) {
                (false, false) => "",
                (true, false) => " if queue is empty",
                (false, true) => " if queue is unused",
                (true, true) => " if queue is empty and if queue is unused",
            };
            context.say(&format!("Deleting queue '{queue}' on vhost '{vhost}'{condition} ..."));
            let path = format!(
                "/api/queues/{}/{}?if-empty={if_empty}&if-unused={if_unused}",
                context.vhost_path(),
                segment(&queue)
            );
            let answer = context.client.send("DELETE", &path, None, &[])?;
            match answer.status {
                204 => Ok(()),
                404 if is_unknown(&answer) => Err(Failure::data("Queue not found")),
                _ => Err(refusal(&answer)),
            }
        }
        QueueCommand::Rebalance { .. } => {
            context.say("Rebalancing leaders of queues...");
            context.client.ask("POST", "/api/rebalance/queues", None)?;
            Ok(())
        }
    }
}

/// Whether there is no such queue, and not only no way to its home.
fn is_unknown(answer: &Answer) -> bool {
    answer.body["reason"] == "Not Found"
}

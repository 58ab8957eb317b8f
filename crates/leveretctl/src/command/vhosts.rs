//! Virtual hosts, and the firehose in them.

use super::Context;
use crate::client::{refusal, segment};
use crate::failure::Failure;
use crate::output::Table;
use clap::Subcommand;
use serde_json::{Map, Value, json};

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
pub(crate) enum VhostCommand {
    /// Lists virtual hosts
    ListVhosts {
        /// name, tracing, description, tags, default_queue_type
        columns: Vec<String>,
    },
    /// Creates a virtual host
    AddVhost {
        name: String,
        #[arg(long)]
        description: Option<String>,
        #[arg(long)]
        tags: Option<String>,
        #[arg(long = "default-queue-type")]
        default_queue_type: Option<String>,
    },
    /// Deletes a virtual host with everything in it
    DeleteVhost { name: String },
    /// Turns the firehose of a virtual host on
    TraceOn,
    /// Turns the firehose of a virtual host off
    TraceOff,
}

const COLUMNS: [&str; 5] = ["name", "tracing", "description", "tags", "default_queue_type"];

pub(crate) fn run(context: &Context, command: VhostCommand) -> Result<(), Failure> {
    match command {
        VhostCommand::ListVhosts { columns } => list(context, &columns),
        VhostCommand::AddVhost { name, description, tags, default_queue_type } => {
            context.say(&format!("Adding vhost \"{name}\" ..."));
            let mut body = Map::new();
            for (key, value) in
                [("description", description), ("tags", tags), ("default_queue_type", default_queue_type)]
            {
                body.extend(value.map(|value| (key.to_owned(), json!(value))));
            }
            context.client.ask("PUT", &path(&name), Some(&Value::Object(body)))?;
            Ok(())
        }
        VhostCommand::DeleteVhost { name } => {
            context.say(&format!("Deleting vhost \"{name}\" ..."));
            let answer = context.client.send("DELETE", &path(&name), None, &[])?;
            match answer.status {
                204 => Ok(()),
                404 => Err(Failure::data(format!("Virtual host '{name}' does not exist"))),
                _ => Err(refusal(&answer)),
            }
        }
        VhostCommand::TraceOn => trace(context, "Starting", "PUT", "enabled"),
        VhostCommand::TraceOff => trace(context, "Stopping", "DELETE", "disabled"),
    }
}

fn path(name: &str) -> String {
    format!("/api/vhosts/{}", segment(name))
}

fn list(context: &Context, columns: &[String]) -> Result<(), Failure> {
    if let Some(unknown) = columns.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err(Failure::usage(format!(
            "(argument validation): Info key(s) {unknown} are not supported"
        )));
    }
    context.say("Listing vhosts ...");
    let vhosts = context.client.get("/api/vhosts?disable_stats=true")?;
    let columns: Vec<&str> =
        if columns.is_empty() { vec!["name"] } else { columns.iter().map(String::as_str).collect() };
    let mut table = Table::new(&columns);
    for vhost in vhosts.as_array().into_iter().flatten() {
        table.rows.push(columns.iter().map(|column| vhost[*column].clone()).collect());
    }
    context.print(&table);
    Ok(())
}

fn trace(context: &Context, doing: &str, method: &str, done: &str) -> Result<(), Failure> {
    context.say(&format!("{doing} tracing for vhost \"{}\" ...", context.vhost()));
    context.client.ask(method, &format!("/api/leveret/trace/{}", context.vhost_path()), None)?;
    context.say(&format!("Trace {done} for vhost {}", context.vhost()));
    Ok(())
}

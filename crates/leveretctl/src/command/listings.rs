//! Lists of what is declared and who is connected, with columns to choose from.

use super::Context;
use crate::failure::Failure;
use crate::rows::{self, Columns};
use clap::Subcommand;
use serde_json::Value;

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // the commands' own words
pub(crate) enum Listing {
    /// Lists queues: name and messages, or the columns that are named
    ListQueues {
        columns: Vec<String>,
        /// Those whose home runs
        #[arg(long)]
        online: bool,
        /// Those whose home is down
        #[arg(long)]
        offline: bool,
        /// Those whose home is the node that is asked
        #[arg(long)]
        local: bool,
    },
    /// Lists exchanges
    ListExchanges { columns: Vec<String> },
    /// Lists bindings
    ListBindings { columns: Vec<String> },
    /// Lists connections
    ListConnections { columns: Vec<String> },
    /// Lists channels
    ListChannels { columns: Vec<String> },
    /// Lists consumers
    ListConsumers { columns: Vec<String> },
}

pub(crate) fn run(context: &Context, listing: Listing) -> Result<(), Failure> {
    let vhost = context.vhost();
    let (text, path, columns, asked) = match listing {
        Listing::ListQueues { columns, online, offline, local } => {
            return queues(context, &columns, &Which { online, offline, local });
        }
        Listing::ListExchanges { columns } => (
            format!("Listing exchanges for vhost {vhost} ..."),
            in_vhost(context, "exchanges"),
            rows::EXCHANGES,
            columns,
        ),
        Listing::ListBindings { columns } => (
            format!("Listing bindings for vhost {vhost}..."),
            in_vhost(context, "bindings"),
            rows::BINDINGS,
            columns,
        ),
        Listing::ListConsumers { columns } => (
            format!("Listing consumers in vhost {vhost} ..."),
            in_vhost(context, "consumers"),
            rows::CONSUMERS,
            columns,
        ),
        Listing::ListConnections { columns } => {
            ("Listing connections ...".to_owned(), "/api/connections".to_owned(), rows::CONNECTIONS, columns)
        }
        Listing::ListChannels { columns } => {
            ("Listing channels ...".to_owned(), "/api/channels".to_owned(), rows::CHANNELS, columns)
        }
    };
    show(context, &text, &path, &columns, &asked)
}

/// Which queues are listed; those of all nodes when nothing is said.
struct Which {
    online: bool,
    offline: bool,
    local: bool,
}

impl Which {
    fn fits(&self, queue: &Value, node: &Value) -> bool {
        let is_down = queue["state"] == "down";
        let by_state = self.online == self.offline || self.offline == is_down;
        by_state && (!self.local || queue["node"] == *node)
    }
}

fn queues(context: &Context, asked: &[String], which: &Which) -> Result<(), Failure> {
    rows::QUEUES.table(asked, &[])?;
    context.say(&format!("Timeout: {}.0 seconds ...", context.options.timeout));
    context.say(&format!("Listing queues for vhost {} ...", context.vhost()));
    let node = match which.local {
        true => context.client.get("/api/overview")?["node"].take(),
        false => Value::Null,
    };
    let items = context.client.get(&in_vhost(context, "queues"))?;
    let items: Vec<Value> =
        items.as_array().into_iter().flatten().filter(|queue| which.fits(queue, &node)).cloned().collect();
    context.print(&rows::QUEUES.table(asked, &items)?);
    Ok(())
}

fn in_vhost(context: &Context, kind: &str) -> String {
    format!("/api/{kind}/{}", context.vhost_path())
}

fn show(
    context: &Context,
    text: &str,
    path: &str,
    columns: &Columns,
    asked: &[String],
) -> Result<(), Failure> {
    // Wrong columns are refused before the node is asked.
    columns.table(asked, &[])?;
    context.say(text);
    let items = context.client.get(path)?;
    let none: Vec<Value> = Vec::new();
    context.print(&columns.table(asked, items.as_array().unwrap_or(&none))?);
    Ok(())
}

//! The cluster: how it is, waiting for its nodes, taking one out.
//!
//! Invariant: a node is only taken out by its name or by itself, and never with queues unless --force is given.

use super::node::text;
use super::{Context, poll, write};
use crate::arguments::{Formatter, Options};
use crate::client::segment;
use crate::failure::Failure;
use clap::Subcommand;
use serde_json::{Map, Value, json};

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
pub(crate) enum Cluster {
    /// Displays the nodes of the cluster, its catalog and its queues' homes
    #[command(name = "cluster_status")]
    Status,
    /// Sets the cluster's name
    SetClusterName { name: String },
    /// Waits until so many nodes of the cluster run
    AwaitOnlineNodes {
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        count: u64,
    },
    /// Takes a node that will not come back out of the cluster
    ForgetClusterNode {
        name: String,
        /// Also when queues with their messages are lost
        #[arg(long)]
        force: bool,
        /// Not needed: any node that runs can be asked
        #[arg(long, hide = true)]
        offline: bool,
    },
    /// Takes this node out of its cluster; it stops
    Leave {
        /// Also when queues with their messages are lost
        #[arg(long)]
        force: bool,
    },
}

/// Commands that also work while no node runs.
pub(crate) fn without_node(cluster: &Cluster, options: &Options) -> Option<Result<(), Failure>> {
    match cluster {
        Cluster::AwaitOnlineNodes { count } => Some(await_nodes(options, *count)),
        Cluster::ForgetClusterNode { offline: true, .. } => Some(Err(Failure::usage(
            "--offline has no meaning here: ask a node that runs to forget the other one",
        ))),
        _ => None,
    }
}

pub(crate) fn run(context: &Context, cluster: Cluster) -> Result<(), Failure> {
    match cluster {
        Cluster::Status => status(context),
        Cluster::SetClusterName { name } => {
            context.say(&format!("Setting cluster name to {name} ..."));
            context.client.ask("PUT", "/api/cluster-name", Some(&json!({ "name": name })))?;
            Ok(())
        }
        // Done without a context.
        Cluster::AwaitOnlineNodes { count } => await_nodes(&context.options, count),
        Cluster::ForgetClusterNode { name, force, .. } => {
            context.say(&format!("Removing node {name} from the cluster"));
            let path = format!("/api/cluster/nodes/{}?force={force}", segment(&name));
            context.client.ask("DELETE", &path, None)?;
            Ok(())
        }
        Cluster::Leave { force } => {
            context.say("Taking the node out of its cluster ...");
            context.client.ask("POST", &format!("/api/cluster/leave?force={force}"), None)?;
            context.say(
                "The node is out of the cluster and stops; with an empty data directory it can join again",
            );
            Ok(())
        }
    }
}

fn await_nodes(options: &Options, count: u64) -> Result<(), Failure> {
    let seconds = options.timeout;
    super::say(
        options,
        &format!("Will wait for at least {count} nodes to join the cluster. Timeout: {seconds} seconds."),
    );
    poll(options, |client| {
        let nodes = client.get("/api/nodes?columns=name,running")?;
        let running = nodes.as_array().into_iter().flatten().filter(|node| node["running"] == true).count();
        if running as u64 >= count {
            return Ok(());
        }
        let text = format!("timed out while waiting: {running} of {count} nodes run");
        Err(Failure::software(text))
    })
}

/// What of the answers is shown.
struct Picture {
    status: Value,
    overview: Value,
}

impl Picture {
    fn nodes(&self) -> impl Iterator<Item = &Value> {
        self.status["nodes"].as_array().into_iter().flatten()
    }

    fn names(&self, which: impl Fn(&Value) -> bool) -> Vec<String> {
        self.nodes().filter(|node| which(node)).map(|node| text(&node["name"])).collect()
    }

    fn running(&self) -> Vec<String> {
        self.names(|node| node["state"] != "down")
    }

    /// Node and resource of each alarm.
    fn alarms(&self) -> Vec<(String, String)> {
        let of = |node: &Value| {
            let on = node["alarms"].as_array().cloned().unwrap_or_default();
            let name = text(&node["name"]);
            on.into_iter().map(move |alarm| (name.clone(), text(&alarm))).collect::<Vec<_>>()
        };
        self.nodes().flat_map(of).collect()
    }

    /// Nodes that this one does not reach while it has no majority.
    fn cut_off(&self) -> Vec<String> {
        if self.status["catalog"]["has_majority"] == true {
            return Vec::new();
        }
        self.names(|node| node["state"] == "down")
    }

    fn listeners(&self) -> impl Iterator<Item = &Value> {
        self.overview["listeners"].as_array().into_iter().flatten()
    }
}

fn status(context: &Context) -> Result<(), Failure> {
    let status = context.client.get("/api/cluster/status")?;
    let overview = context.client.get("/api/overview")?;
    let picture = Picture { status, overview };
    if context.options.formatter == Formatter::Json {
        write(&format!("{}\n", status_json(&picture)));
        return Ok(());
    }
    context.say(&format!("Cluster status of node {} ...", text(&picture.status["node"])));
    let sections: Vec<String> = sections(&picture)
        .into_iter()
        .map(|(title, lines)| {
            let lines = if lines.is_empty() { vec!["(none)".to_owned()] } else { lines };
            format!("{title}\n\n{}\n", lines.join("\n"))
        })
        .collect();
    write(&sections.join("\n"));
    Ok(())
}

fn sections(picture: &Picture) -> Vec<(&'static str, Vec<String>)> {
    let status = &picture.status;
    let mut basics = vec![format!("Cluster name: {}", text(&status["name"]))];
    if status["ready"] == false {
        basics.push(format!("Not ready for clients: {}", text(&status["not_ready_reason"])));
    }
    let version = |node: &Value| {
        node["version"].as_str().map(|version| format!("{}: Leveret {version}", text(&node["name"])))
    };
    let alarm = |(node, resource): &(String, String)| {
        let what = if resource == "disk" { "Free disk space" } else { "Memory" };
        format!("{what} alarm on node {node}")
    };
    let cut_off = picture.cut_off();
    let partition = format!("Node {} cannot communicate with {}", text(&status["node"]), cut_off.join(", "));
    vec![
        ("Basics", basics),
        ("Disk Nodes", picture.names(|_| true)),
        ("Running Nodes", picture.running()),
        ("Versions", picture.nodes().filter_map(version).collect()),
        ("Alarms", picture.alarms().iter().map(alarm).collect()),
        ("Network Partitions", if cut_off.is_empty() { Vec::new() } else { vec![partition] }),
        ("Catalog", catalog_lines(picture)),
        ("Listeners", picture.listeners().map(listener_line).collect()),
    ]
}

fn catalog_lines(picture: &Picture) -> Vec<String> {
    let catalog = &picture.status["catalog"];
    let yes = |value: &Value| if *value == true { "yes" } else { "no" };
    let leader = catalog["leader"].as_str().unwrap_or("(none)");
    let mut lines = vec![format!(
        "Leader: {leader}, term: {}, version: {}, majority: {}",
        catalog["term"],
        catalog["version"],
        yes(&catalog["has_majority"])
    )];
    lines.extend(picture.nodes().map(|node| {
        let lag = node["lag"].as_u64().map_or_else(String::new, |lag| format!(", lag: {lag}"));
        format!(
            "Node: {}, state: {}, votes: {}{lag}, homes: {}",
            text(&node["name"]),
            text(&node["state"]),
            yes(&node["votes"]),
            node["homes"]
        )
    }));
    lines
}

fn listener_line(listener: &Value) -> String {
    format!(
        "Node: {}, interface: {}, port: {}, protocol: {}",
        text(&listener["node"]),
        text(&listener["ip_address"]),
        text(&listener["port"]),
        text(&listener["protocol"])
    )
}

/// In the form of rabbitmqctl, with `catalog` and `nodes` as the API has them.
fn status_json(picture: &Picture) -> Value {
    let alarms: Vec<Value> = picture
        .alarms()
        .into_iter()
        .map(|(node, resource)| json!({"type": "resource_limit", "resource": resource, "node": node}))
        .collect();
    let mut listeners: Map<String, Value> = Map::new();
    for listener in picture.listeners() {
        let entry = json!({
            "node": listener["node"],
            "interface": listener["ip_address"],
            "port": listener["port"],
            "protocol": listener["protocol"],
        });
        let of_node = listeners.entry(text(&listener["node"])).or_insert_with(|| json!([]));
        if let Value::Array(of_node) = of_node {
            of_node.push(entry);
        }
    }
    let version = |node: &Value| {
        let version = json!({"rabbitmq_name": "Leveret", "rabbitmq_version": node["version"]});
        (text(&node["name"]), version)
    };
    let cut_off = picture.cut_off();
    let mut partitions = Map::new();
    if !cut_off.is_empty() {
        partitions.insert(text(&picture.status["node"]), json!(cut_off));
    }
    json!({
        "cluster_name": picture.status["name"],
        "disk_nodes": picture.names(|_| true),
        "ram_nodes": [],
        "running_nodes": picture.running(),
        "versions": picture.nodes().map(version).collect::<Map<_, _>>(),
        "partitions": partitions,
        "alarms": alarms,
        "listeners": listeners,
        "catalog": picture.status["catalog"],
        "nodes": picture.status["nodes"],
    })
}

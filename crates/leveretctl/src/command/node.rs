//! The node itself: is it there, how is it, what does it listen on.
//!
//! Invariant: what is asked of a node is answered by that node, also in a cluster.

use super::{Context, poll, write};
use crate::arguments::{Formatter, Options};
use crate::client::segment;
use crate::failure::Failure;
use crate::output::Table;
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
pub(crate) enum Node {
    /// Displays how the node is
    Status,
    /// Succeeds when the node answers
    Ping,
    /// Waits until the node answers and clients may come
    AwaitStartup,
    /// Lists alarms
    Alarms,
    /// Lists what the node listens on
    Listeners,
    /// Displays the version that is followed, and Leveret's own
    #[command(alias = "version")]
    ServerVersion,
}

/// Commands that also work while no node runs.
pub(crate) fn without_node(node: &Node, options: &Options) -> Option<Result<(), Failure>> {
    match node {
        Node::AwaitStartup => Some(await_startup(options)),
        _ => None,
    }
}

pub(crate) fn run(context: &Context, node: Node) -> Result<(), Failure> {
    match node {
        Node::Status => status(context),
        Node::Ping => ping(context),
        Node::AwaitStartup => Ok(()),
        Node::Alarms => alarms(context),
        Node::Listeners => listeners(context),
        Node::ServerVersion => {
            let overview = context.client.get("/api/overview")?;
            write(&format!(
                "{} (Leveret {})\n",
                text(&overview["rabbitmq_version"]),
                text(&overview["product_version"])
            ));
            Ok(())
        }
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn node_name(context: &Context) -> Result<String, Failure> {
    let overview = context.client.get("/api/overview")?;
    Ok(text(&overview["node"]))
}

/// Waits until the node answers and clients may come.
fn await_startup(options: &Options) -> Result<(), Failure> {
    poll(options, |client| {
        client.get("/api/whoami")?;
        client.get("/api/health/checks/is-in-service").map(drop)
    })
}

fn ping(context: &Context) -> Result<(), Failure> {
    let address = &context.client.target.address;
    context.say(&format!("Will ping the node at {address}. Timeout: {} ms.", context.options.timeout * 1000));
    context.client.get("/api/whoami")?;
    context.say("Ping succeeded");
    Ok(())
}

fn alarms_on(node: &Value) -> Vec<&'static str> {
    [("mem_alarm", "memory"), ("disk_free_alarm", "disk")]
        .into_iter()
        .filter(|(key, _)| node[*key] == true)
        .map(|(_, resource)| resource)
        .collect()
}

fn alarms(context: &Context) -> Result<(), Failure> {
    let nodes = context.client.get("/api/nodes")?;
    let mut table = Table::new(&["node", "alarm"]);
    for node in nodes.as_array().into_iter().flatten() {
        table.rows.extend(alarms_on(node).into_iter().map(|alarm| vec![node["name"].clone(), json!(alarm)]));
    }
    if table.rows.is_empty() {
        context.say("Node reported no alarms, local or clusterwide");
    }
    context.print(&table);
    Ok(())
}

fn listeners(context: &Context) -> Result<(), Failure> {
    let overview = context.client.get("/api/overview")?;
    let mut table = Table::new(&["interface", "port", "protocol"]);
    for row in overview["listeners"].as_array().into_iter().flatten() {
        table.rows.push(vec![row["ip_address"].clone(), row["port"].clone(), row["protocol"].clone()]);
    }
    context.print(&table);
    Ok(())
}

fn status(context: &Context) -> Result<(), Failure> {
    let overview = context.client.get("/api/overview")?;
    let path = format!("/api/nodes/{}", segment(&text(&overview["node"])));
    let node = &context.client.get(&path)?;
    if context.options.formatter == Formatter::Json {
        let alarms = alarms_on(node);
        write(&format!("{}\n", json!({"overview": overview, "node": node, "alarms": alarms})));
        return Ok(());
    }
    context.say(&format!("Status of node {} ...", text(&node["name"])));
    let mib = |value: &Value| format!("{:.1} MiB", value.as_f64().unwrap_or(0.0) / 1_048_576.0);
    let alarms = alarms_on(node);
    let mut out = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        out.push_str(&format!("{title}\n\n"));
        lines.iter().for_each(|line| out.push_str(&format!("{line}\n")));
        out.push('\n');
    };
    section(
        "Runtime",
        vec![
            format!("OS PID: {}", text(&node["os_pid"])),
            format!("Uptime (seconds): {}", node["uptime"].as_u64().unwrap_or(0) / 1000),
            format!("Leveret version: {}", text(&overview["product_version"])),
            format!("RabbitMQ version: {}", text(&overview["rabbitmq_version"])),
            format!("Node name: {}", text(&node["name"])),
            format!("Cluster name: {}", text(&overview["cluster_name"])),
        ],
    );
    section("Data directory", vec![format!("Node data directory: {}", text(&node["db_dir"]))]);
    let none = vec!["(none)".to_owned()];
    section(
        "Alarms",
        if alarms.is_empty() { none } else { alarms.iter().map(|alarm| (*alarm).to_owned()).collect() },
    );
    section(
        "Memory",
        vec![
            format!("Total memory used: {}", mib(&node["mem_used"])),
            format!("High watermark: {}", mib(&node["mem_limit"])),
        ],
    );
    section(
        "Free Disk Space",
        vec![
            format!("Low free disk space watermark: {}", mib(&node["disk_free_limit"])),
            format!("Free disk space: {}", mib(&node["disk_free"])),
        ],
    );
    section(
        "File Descriptors",
        vec![format!("Total: {}, limit: {}", text(&node["fd_used"]), text(&node["fd_total"]))],
    );
    let totals = &overview["object_totals"];
    section(
        "Totals",
        ["connections", "channels", "queues", "exchanges", "consumers"]
            .iter()
            .map(|kind| {
                format!("{}{} count: {}", kind[..1].to_uppercase(), &kind[1..kind.len() - 1], totals[*kind])
            })
            .collect(),
    );
    section("Listeners", listener_lines(&overview));
    write(out.trim_end_matches('\n'));
    write("\n");
    Ok(())
}

fn listener_lines(overview: &Value) -> Vec<String> {
    let line = |listener: &Value| {
        format!(
            "Interface: {}, port: {}, protocol: {}",
            text(&listener["ip_address"]),
            text(&listener["port"]),
            text(&listener["protocol"])
        )
    };
    overview["listeners"].as_array().into_iter().flatten().map(line).collect()
}

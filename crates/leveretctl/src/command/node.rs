//! The node itself: is it there, how is it, what does it listen on.
//!
//! Invariant: a check answers by its exit code: 0 when all is well, 69 when it is not.

use super::{Context, write};
use crate::arguments::{Formatter, Options};
use crate::client::connect;
use crate::failure::Failure;
use crate::output::Table;
use clap::Subcommand;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How often a node that is not there yet is asked again.
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
pub(crate) enum Node {
    /// Displays how the node is
    Status,
    /// Succeeds when the node answers
    Ping,
    /// Displays the nodes of the cluster
    ClusterStatus,
    /// Sets the cluster's name
    SetClusterName { name: String },
    /// Waits until the node answers
    AwaitStartup,
    /// Succeeds when the node runs
    CheckRunning,
    /// Tells whether the node runs
    IsRunning,
    /// Tells whether the node is still starting
    IsBooting,
    /// Succeeds when load balancers may send clients to the node
    CheckReadyToServeClients,
    /// Succeeds when the cluster's queues get along without the node
    CheckIfNodeIsQuorumCritical,
    /// Succeeds when mirrored queues get along without the node
    CheckIfNodeIsMirrorSyncCritical,
    /// Succeeds when no alarm is on
    #[command(alias = "check_local_alarms")]
    CheckAlarms,
    /// Succeeds when every port of the node can be connected to
    CheckPortConnectivity,
    /// Succeeds when the node listens on a port
    CheckPortListener { port: u16 },
    /// Succeeds when the node serves a protocol
    CheckProtocolListener { protocol: String },
    /// Succeeds when every virtual host runs
    CheckVirtualHosts,
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
        Node::ClusterStatus => cluster_status(context),
        Node::SetClusterName { name } => {
            context.say(&format!("Setting cluster name to {name} ..."));
            context.client.ask("PUT", "/api/cluster-name", Some(&json!({ "name": name })))?;
            Ok(())
        }
        Node::AwaitStartup => Ok(()),
        Node::CheckRunning => {
            let name = node_name(context)?;
            context.say(&format!("Checking if RabbitMQ is running on node {name} ..."));
            context.say(&format!("RabbitMQ on node {name} is fully booted and running"));
            Ok(())
        }
        Node::IsRunning => {
            let name = node_name(context)?;
            context.say(&format!("Checking if RabbitMQ is running on node {name} ..."));
            write(&format!("RabbitMQ on node {name} is fully booted and running\n"));
            Ok(())
        }
        Node::IsBooting => {
            // A node that answers has started; one that is starting does not answer yet.
            let name = node_name(context)?;
            write(&format!("RabbitMQ on node {name} is fully booted (check with is_running)\n"));
            Ok(())
        }
        Node::CheckReadyToServeClients => {
            check(context, "ready-to-serve-clients")?;
            context.say("The node is ready to serve clients");
            Ok(())
        }
        Node::CheckIfNodeIsQuorumCritical => check(context, "node-is-quorum-critical"),
        Node::CheckIfNodeIsMirrorSyncCritical => check(context, "node-is-mirror-sync-critical"),
        Node::CheckAlarms => {
            let name = node_name(context)?;
            context.say(&format!("Asking node {name} to report any local resource alarms ..."));
            check(context, "alarms")?;
            context.say(&format!("Node {name} reported no alarms, local or clusterwide"));
            Ok(())
        }
        Node::CheckPortConnectivity => check_ports(context),
        Node::CheckPortListener { port } => {
            check(context, &format!("port-listener/{port}"))?;
            context.say(&format!("A listener for port {port} is running"));
            Ok(())
        }
        Node::CheckProtocolListener { protocol } => {
            check(context, &format!("protocol-listener/{}", crate::client::segment(&protocol)))?;
            context.say(&format!("A listener for protocol {protocol} is running"));
            Ok(())
        }
        Node::CheckVirtualHosts => check(context, "virtual-hosts"),
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

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn node_name(context: &Context) -> Result<String, Failure> {
    let overview = context.client.get("/api/overview")?;
    Ok(text(&overview["node"]))
}

fn await_startup(options: &Options) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(options.timeout);
    loop {
        // The token appears with the node, so it is looked for each time.
        let target = crate::target::Target::find(options);
        let asked = target.and_then(|target| {
            let timeout = Duration::from_secs(options.timeout.clamp(1, 5));
            crate::client::Client { target, timeout }.get("/api/whoami")
        });
        match asked {
            Ok(_) => return Ok(()),
            Err(failure) if Instant::now() >= deadline => return Err(failure),
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

fn ping(context: &Context) -> Result<(), Failure> {
    let address = &context.client.target.address;
    context.say(&format!("Will ping the node at {address}. Timeout: {} ms.", context.options.timeout * 1000));
    context.client.get("/api/whoami")?;
    context.say("Ping succeeded");
    Ok(())
}

fn check(context: &Context, path: &str) -> Result<(), Failure> {
    context.client.get(&format!("/api/health/checks/{path}")).map(|_| ())
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

fn check_ports(context: &Context) -> Result<(), Failure> {
    let overview = context.client.get("/api/overview")?;
    let name = text(&overview["node"]);
    context.say(&format!("Testing TCP connections to all active listeners on node {name} ..."));
    let mut refused = Vec::new();
    for listener in overview["listeners"].as_array().into_iter().flatten() {
        let (ip, port) = (text(&listener["ip_address"]), text(&listener["port"]));
        let host = match ip.as_str() {
            "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "[::1]".to_owned(),
            ip if ip.contains(':') => format!("[{ip}]"),
            ip => ip.to_owned(),
        };
        let address = format!("{host}:{port}");
        if connect(&address, context.client.timeout).is_err() {
            refused.push(address);
        }
    }
    if !refused.is_empty() {
        return Err(Failure::unavailable(format!("cannot connect to {}", refused.join(", "))));
    }
    context.say(&format!("Successfully connected to all active listeners on node {name}."));
    Ok(())
}

fn status(context: &Context) -> Result<(), Failure> {
    let overview = context.client.get("/api/overview")?;
    let nodes = context.client.get("/api/nodes")?;
    let node = &nodes[0];
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

fn cluster_status(context: &Context) -> Result<(), Failure> {
    let overview = context.client.get("/api/overview")?;
    let nodes = context.client.get("/api/nodes")?;
    let all: Vec<&Value> = nodes.as_array().into_iter().flatten().collect();
    let names: Vec<String> = all.iter().map(|node| text(&node["name"])).collect();
    if context.options.formatter == Formatter::Json {
        let alarms: Vec<&str> = all.iter().flat_map(|node| alarms_on(node)).collect();
        let body = json!({
            "cluster_name": overview["cluster_name"],
            "disk_nodes": names,
            "ram_nodes": [],
            "running_nodes": names,
            "partitions": {},
            "alarms": alarms,
            "listeners": overview["listeners"],
        });
        write(&format!("{body}\n"));
        return Ok(());
    }
    let asked = names.first().cloned().unwrap_or_default();
    context.say(&format!("Cluster status of node {asked} ..."));
    let alarms: Vec<&str> = all.iter().flat_map(|node| alarms_on(node)).collect();
    let alarms = if alarms.is_empty() { "(none)".to_owned() } else { alarms.join("\n") };
    let names = names.join("\n");
    write(&format!(
        "Basics\n\nCluster name: {}\n\nDisk Nodes\n\n{names}\n\nRunning Nodes\n\n{names}\n\nNetwork Partitions\n\n(none)\n\n\
         Alarms\n\n{alarms}\n\nListeners\n\n{}\n",
        text(&overview["cluster_name"]),
        listener_lines(&overview).join("\n")
    ));
    Ok(())
}

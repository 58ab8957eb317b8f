//! Health checks.
//!
//! Invariant: a check answers by its exit code: 0 when all is well, 69 when it is not.

use super::node::{node_name, text};
use super::{Context, poll, write};
use crate::arguments::Options;
use crate::client::{connect, refusal, segment};
use crate::failure::Failure;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
pub(crate) enum Check {
    /// Succeeds when the node runs
    #[command(name = "check_running")]
    Running,
    /// Tells whether the node runs
    #[command(name = "is_running")]
    IsRunning,
    /// Tells whether the node is still starting
    #[command(name = "is_booting")]
    IsBooting,
    /// Succeeds when load balancers may send clients to the node
    #[command(name = "check_ready_to_serve_clients")]
    ReadyToServeClients,
    /// Succeeds when no alarm is on in the cluster
    #[command(name = "check_alarms")]
    Alarms,
    /// Succeeds when no alarm of the node is on
    #[command(name = "check_local_alarms")]
    LocalAlarms,
    /// Succeeds when every port of the node can be connected to
    #[command(name = "check_port_connectivity")]
    PortConnectivity,
    /// Succeeds when the node listens on a port
    #[command(name = "check_port_listener")]
    PortListener { port: u16 },
    /// Succeeds when the node serves a protocol
    #[command(name = "check_protocol_listener")]
    ProtocolListener { protocol: String },
    /// Succeeds when every virtual host runs
    #[command(name = "check_virtual_hosts")]
    VirtualHosts,
    /// Succeeds when no quorum queue and not the catalog would stop with the node
    #[command(name = "check_if_node_is_quorum_critical")]
    QuorumCritical,
    /// Succeeds when no mirrored queue would stop with the node
    #[command(name = "check_if_node_is_mirror_sync_critical")]
    MirrorSyncCritical,
    /// Waits until no quorum queue and not the catalog would stop with the node
    AwaitOnlineQuorumPlusOne,
}

/// Commands that also work while no node runs.
pub(crate) fn without_node(check: &Check, options: &Options) -> Option<Result<(), Failure>> {
    match check {
        Check::AwaitOnlineQuorumPlusOne => Some(await_quorum(options)),
        _ => None,
    }
}

pub(crate) fn run(context: &Context, asked: Check) -> Result<(), Failure> {
    match asked {
        Check::Running => {
            let name = node_name(context)?;
            context.say(&format!("Checking if RabbitMQ is running on node {name} ..."));
            context.say(&format!("RabbitMQ on node {name} is fully booted and running"));
            Ok(())
        }
        Check::IsRunning => {
            let name = node_name(context)?;
            context.say(&format!("Checking if RabbitMQ is running on node {name} ..."));
            write(&format!("RabbitMQ on node {name} is fully booted and running\n"));
            Ok(())
        }
        Check::IsBooting => {
            // A node that answers has started; one that is starting does not answer yet.
            let name = node_name(context)?;
            write(&format!("RabbitMQ on node {name} is fully booted (check with is_running)\n"));
            Ok(())
        }
        Check::ReadyToServeClients => {
            check(context, "ready-to-serve-clients")?;
            context.say("The node is ready to serve clients");
            Ok(())
        }
        Check::Alarms => {
            let name = node_name(context)?;
            context.say(&format!("Asking node {name} to report any local resource alarms ..."));
            check(context, "alarms")?;
            context.say(&format!("Node {name} reported no alarms, local or clusterwide"));
            Ok(())
        }
        Check::LocalAlarms => {
            let name = node_name(context)?;
            context.say(&format!("Asking node {name} to report any local resource alarms ..."));
            check(context, "local-alarms")?;
            context.say(&format!("Node {name} reported no local alarms"));
            Ok(())
        }
        Check::PortConnectivity => check_ports(context),
        Check::PortListener { port } => {
            check(context, &format!("port-listener/{port}"))?;
            context.say(&format!("A listener for port {port} is running"));
            Ok(())
        }
        Check::ProtocolListener { protocol } => {
            check(context, &format!("protocol-listener/{}", segment(&protocol)))?;
            context.say(&format!("A listener for protocol {protocol} is running"));
            Ok(())
        }
        Check::VirtualHosts => check(context, "virtual-hosts"),
        Check::QuorumCritical => quorum_critical(context),
        Check::MirrorSyncCritical => mirror_critical(context),
        // Done without a context.
        Check::AwaitOnlineQuorumPlusOne => await_quorum(&context.options),
    }
}

fn quorum_critical(context: &Context) -> Result<(), Failure> {
    let name = node_name(context)?;
    context.say(&format!("Checking if node {name} is critical for quorum of any quorum queues ..."));
    critical(context, "node-is-quorum-critical", &format!("would lose quorum if node {name} is stopped"))?;
    context.say(&format!("Node {name} reported no quorum queues with minimum quorum"));
    Ok(())
}

fn mirror_critical(context: &Context) -> Result<(), Failure> {
    let name = node_name(context)?;
    context.say(&format!(
        "Checking if node {name} is critical for data safety of any classic mirrored queues ..."
    ));
    critical(
        context,
        "node-is-mirror-sync-critical",
        &format!("would lose its only synchronised replica if node {name} is stopped"),
    )?;
    context
        .say(&format!("Node {name} reported no classic mirrored queues without online synchronised mirrors"));
    Ok(())
}

fn await_quorum(options: &Options) -> Result<(), Failure> {
    let seconds = options.timeout;
    let text = format!(
        "Will wait for a quorum + 1 of nodes to be online for all quorum queues for {seconds} seconds..."
    );
    super::say(options, &text);
    poll(options, |client| client.get("/api/health/checks/node-is-quorum-critical").map(drop))
}

fn check(context: &Context, path: &str) -> Result<(), Failure> {
    context.client.get(&format!("/api/health/checks/{path}")).map(|_| ())
}

/// A check that names the queues it fails for.
fn critical(context: &Context, path: &str, what: &str) -> Result<(), Failure> {
    let answer = context.client.send("GET", &format!("/api/health/checks/{path}"), None, &[])?;
    if answer.status == 200 {
        return Ok(());
    }
    let queues = answer.body["queues"].as_array().into_iter().flatten();
    let lines: Vec<String> =
        queues.map(|queue| format!("{} {what}", text(&queue["readable_name"]))).collect();
    if lines.is_empty() { Err(refusal(&answer)) } else { Err(Failure::unavailable(lines.join("\n"))) }
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

//! Nodes in the catalog: what coming, going and forgetting does to the rows, and the form of a cluster's
//! snapshot.
//!
//! `cargo test -p broker --test catalog_nodes -- --ignored` writes the fixtures anew. That is right only while
//! no released version has written this format.

mod catalog;

use broker::catalog::{Binding, Catalog, Command, Destination, Event, Node, Outcome, Remains};
use catalog::every::{self, table};
use catalog::picture::assert_same;
use std::path::PathBuf;
use types::{ConnectionId, FieldValue, NodeId, QueueId};

const SNAPSHOT: &[u8] = include_bytes!("fixtures/catalog-v2.snapshot");
const COMMANDS: &[u8] = include_bytes!("fixtures/commands-v1-cluster.bin");

fn node(id: u64, name: &str, boot: u64) -> Node {
    let addr = format!("127.0.0.{id}:25672");
    Node { id: NodeId(id), name: name.into(), addr, boot, up: true, feature_level: 1 }
}

fn declare(name: &str, durable: bool, exclusive: bool) -> Command {
    Command::DeclareQueue {
        vhost: "v".into(),
        name: name.into(),
        server_named: false,
        durable,
        auto_delete: false,
        exclusive,
        connection: ConnectionId(u64::from(exclusive) * 9),
        arguments: table(&[]),
        user: "u".into(),
    }
}

fn at(home: u64, command: Command) -> Command {
    Command::DeclareAt { home: NodeId(home), command: Box::new(command) }
}

fn delayed(home: u64) -> Command {
    let exchange = Command::DeclareExchange {
        vhost: "v".into(),
        name: format!("delayed {home}").as_str().into(),
        kind: "x-delayed-message".into(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: table(&[("x-delayed-type", FieldValue::text("direct"))]),
        user: "u".into(),
    };
    at(home, exchange)
}

fn bind(queue: &str) -> Command {
    let binding = Binding {
        source: "amq.direct".into(),
        destination: Destination::Queue(queue.into()),
        routing_key: "k".into(),
        arguments: table(&[]),
    };
    Command::Bind { vhost: "v".into(), binding }
}

/// A cluster of three with queues of all sorts.
fn commands() -> Vec<Command> {
    let mut commands = every::commands();
    commands.push(Command::FormCluster { cluster: 0xC0FFEE << 64 | 7, node: node(1, "a", 11) });
    commands.push(Command::PutNode { node: node(2, "b", 22) });
    commands.push(Command::PutNode { node: node(3, "c", 33) });
    for home in 1..=3 {
        commands.push(at(home, declare(&format!("durable {home}"), true, false)));
        commands.push(at(home, declare(&format!("transient {home}"), false, false)));
        commands.push(at(home, declare(&format!("exclusive {home}"), false, true)));
        commands.push(delayed(home));
        commands.push(bind(&format!("durable {home}")));
        commands.push(bind(&format!("transient {home}")));
    }
    commands
}

fn cluster() -> Catalog {
    let mut catalog = Catalog::new();
    commands().into_iter().for_each(|command| drop(apply(&mut catalog, command)));
    catalog
}

fn apply(catalog: &mut Catalog, command: Command) -> Vec<Event> {
    let mut events = Vec::new();
    catalog.apply(command, &mut events).unwrap();
    events
}

fn refused(catalog: &mut Catalog, command: Command) -> String {
    let before = catalog.encode();
    let error = catalog.apply(command, &mut Vec::new()).unwrap_err();
    assert_eq!(catalog.encode(), before, "a refused command changed something");
    error.explanation
}

fn names(catalog: &Catalog, home: u64) -> Vec<String> {
    let vhost = catalog.vhost("v").unwrap();
    let there = vhost.queues.values().filter(|queue| queue.home == NodeId(home));
    there.map(|queue| queue.name.as_str().to_owned()).collect()
}

fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat()
}

fn node_commands() -> Vec<Command> {
    let lost = Command::NodeLost { id: NodeId(2), boot: 22 };
    let forget = Command::ForgetNode { id: NodeId(2) };
    commands().into_iter().skip(every::commands().len()).chain([lost, forget]).collect()
}

#[test]
#[ignore = "writes the fixtures"]
fn write_fixtures() {
    let write = |name: &str, bytes: &[u8]| {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name].iter().collect();
        std::fs::write(path, bytes).unwrap();
    };
    write("catalog-v2.snapshot", &cluster().encode());
    write("commands-v1-cluster.bin", &node_commands().iter().flat_map(encoded).collect::<Vec<u8>>());
}

#[test]
fn the_snapshot_of_a_cluster_is_the_known_one() {
    assert_eq!(cluster().encode(), SNAPSHOT, "the snapshot's bytes changed");
    assert_same(&Catalog::decode(SNAPSHOT).unwrap(), &cluster());
    for end in (0..SNAPSHOT.len()).step_by(3) {
        Catalog::decode(&SNAPSHOT[..end]).expect_err("a part is not the whole");
    }
}

#[test]
fn the_commands_of_a_cluster_are_the_known_ones() {
    assert_eq!(node_commands().iter().flat_map(encoded).collect::<Vec<u8>>(), COMMANDS);
    for command in node_commands() {
        let bytes = encoded(&command);
        assert_eq!(Command::decode(&bytes[4..]).unwrap(), command);
        for end in 4..bytes.len() {
            Command::decode(&bytes[4..end]).expect_err("a part is not the whole");
        }
    }
    let nested = at(1, at(2, declare("x", true, false)));
    let error = Command::decode(&encoded(&nested)[4..]).unwrap_err();
    assert!(error.reason.contains("within another one"), "{error}");
}

#[test]
fn a_snapshot_with_a_home_that_is_no_node_is_refused() {
    let mut catalog = cluster();
    catalog.nodes.remove(&NodeId(3));
    let error = Catalog::decode(&catalog.encode()).unwrap_err();
    assert!(error.reason.contains("home 3 is no node of the cluster"), "{error}");
}

#[test]
fn forming_a_cluster_gives_everything_a_home() {
    let catalog = cluster();
    assert!(catalog.homes().all(|(_, home)| home != NodeId(0)));
    assert!(names(&catalog, 1).contains(&"q".to_owned()));
    let again = Command::FormCluster { cluster: 9, node: node(4, "d", 44) };
    assert!(refused(&mut cluster(), again).contains("belongs to a cluster already"));
    let mut alone = Catalog::new();
    let join = Command::PutNode { node: node(4, "d", 44) };
    assert!(refused(&mut alone, join).contains("no cluster to join"));
}

#[test]
fn a_lost_node_takes_along_what_it_held_in_memory() {
    let mut catalog = cluster();
    let stale = apply(&mut catalog, Command::NodeLost { id: NodeId(2), boot: 21 });
    assert!(stale.is_empty(), "an older start was lost, not this one");
    let events = apply(&mut catalog, Command::NodeLost { id: NodeId(2), boot: 22 });
    assert_eq!(names(&catalog, 2), ["durable 2"]);
    assert!(!catalog.nodes[&NodeId(2)].up);
    let unbound = events.iter().filter(|event| matches!(event, Event::Unbound { .. })).count();
    assert_eq!(unbound, 1, "the binding of the transient queue went along");
    assert_eq!(names(&catalog, 3).len(), 3);
    // The exclusive row is gone from the connection's list too.
    let owned = apply(&mut catalog, Command::DeleteExclusive { connection: ConnectionId(9) });
    let gone = owned.iter().filter(|event| matches!(event, Event::QueueDeleted(_))).count();
    assert_eq!(gone, 2);
}

#[test]
fn a_restart_that_was_faster_than_the_loss_takes_the_same_along() {
    let mut catalog = cluster();
    apply(&mut catalog, Command::PutNode { node: node(2, "b", 23) });
    assert_eq!(names(&catalog, 2), ["durable 2"]);
    let late = apply(&mut catalog, Command::NodeLost { id: NodeId(2), boot: 22 });
    assert!(late.is_empty() && catalog.nodes[&NodeId(2)].up);
    let moved = Node { addr: "10.0.0.1:1".into(), ..node(2, "b", 23) };
    let events = apply(&mut catalog, Command::PutNode { node: moved.clone() });
    assert_eq!(events, [Event::NodeChanged(moved.into())]);
}

#[test]
fn a_new_disk_under_an_old_name_takes_its_place() {
    let mut catalog = cluster();
    let newcomer = Command::PutNode { node: node(7, "b", 77) };
    assert!(refused(&mut catalog, newcomer.clone()).contains("'b' is taken by a node that is running"));
    apply(&mut catalog, Command::NodeLost { id: NodeId(2), boot: 22 });
    let events = apply(&mut catalog, newcomer);
    assert_eq!(names(&catalog, 7), ["durable 2"]);
    assert!(!catalog.nodes.contains_key(&NodeId(2)));
    let moved = events.iter().filter(|event| matches!(event, Event::QueueMoved { from: NodeId(2), .. }));
    assert_eq!(moved.count(), 2, "the queue and the one of the delayed exchange");
}

#[test]
fn a_forgotten_node_takes_its_queues_along() {
    let mut catalog = cluster();
    apply(&mut catalog, Command::ForgetNode { id: NodeId(2) });
    assert!(names(&catalog, 2).is_empty() && !catalog.nodes.contains_key(&NodeId(2)));
    assert!(catalog.homes().all(|(_, home)| catalog.nodes.contains_key(&home)));
    apply(&mut catalog, Command::ForgetNode { id: NodeId(3) });
    assert!(refused(&mut catalog, Command::ForgetNode { id: NodeId(1) }).contains("the last node"));
}

#[test]
fn an_existing_queue_keeps_its_home() {
    let mut catalog = cluster();
    let mut events = Vec::new();
    let outcome = catalog.apply(at(3, declare("durable 1", true, false)), &mut events).unwrap();
    let Outcome::Queue { queue, created } = outcome else { panic!("{outcome:?}") };
    assert_eq!((queue.home, created), (NodeId(1), false));
    let nowhere = at(9, declare("new", true, false));
    assert!(refused(&mut catalog, nowhere).contains("node 9 does not belong to the cluster"));
    let id = catalog.vhost("v").unwrap().queue("durable 1").unwrap().id;
    assert_ne!(id, QueueId(0));
}

#[test]
fn what_is_left_for_one_node_is_a_catalog_of_its_own() {
    let Remains { catalog, lost, behind } = cluster().alone(NodeId(2));
    assert!(behind.is_empty(), "nothing is mirrored");
    let gone: Vec<&str> = lost.iter().map(|queue| queue.name.as_str()).collect();
    assert!(gone.contains(&"durable 1") && gone.contains(&"durable 3") && gone.contains(&"q"), "{gone:?}");
    assert!(!gone.iter().any(|name| name.starts_with("transient") || name.starts_with("exclusive")));
    assert_eq!(names(&catalog, 0), ["durable 2"]);
    assert!(catalog.homes().all(|(_, home)| home == NodeId(0)));
    assert_same(&Catalog::decode(&catalog.encode()).unwrap(), &catalog);
    let mut again = catalog;
    apply(&mut again, Command::FormCluster { cluster: 9, node: node(2, "b", 23) });
    assert_eq!(names(&again, 2), ["durable 2"]);
}

#[test]
fn a_node_that_understands_less_than_all_others_cannot_join() {
    let mut catalog = Catalog::new();
    assert!(catalog.admits("n1", 1).is_ok(), "there is nothing in use yet");
    let current = |id, name| Node { feature_level: 2, ..node(id, name, 1) };
    for command in [
        Command::FormCluster { cluster: 7, node: current(1, "n1") },
        Command::PutNode { node: current(2, "n2") },
    ] {
        catalog.apply(command, &mut Vec::new()).unwrap();
    }
    assert!(catalog.admits("n3", 2).is_ok() && catalog.admits("n3", 3).is_ok());
    let why = catalog.admits("n3", 1).unwrap_err();
    assert!(
        why.starts_with("node 'n3' has feature level 1, this cluster uses level 2: start the node"),
        "{why}"
    );
    // While the cluster is being upgraded, nodes of the older version come and go.
    catalog.apply(Command::PutNode { node: node(3, "n3", 1) }, &mut Vec::new()).unwrap();
    assert!(catalog.admits("n4", 1).is_ok() && catalog.admits("n4", 0).is_err());
}

//! The commands of a cluster.

use crate::others::{NODES, start};
use crate::server::{Server, data_dir, run};
use broker::catalog::Command;
use types::{ConnectionId, FieldTable, NodeId};

fn declare(server: &Server, name: &str, home: u64) {
    let command = Command::DeclareQueue {
        vhost: "/".into(),
        name: name.into(),
        server_named: false,
        durable: true,
        auto_delete: false,
        exclusive: false,
        connection: ConnectionId(0),
        arguments: FieldTable::new(),
        user: "guest".into(),
    };
    let command = Command::DeclareAt { home: NodeId(home), command: Box::new(command) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(server.broker.change(command)).unwrap();
}

#[test]
fn the_status_of_a_cluster_has_rabbitmqs_sections() {
    let (server, others) = start();
    let status = server.out("cluster_status");
    let address = server.address.rsplit_once(':').unwrap().1;
    for text in [
        "Cluster status of node leveret@test ...\nBasics\n\nCluster name: leveret@test\n\nDisk Nodes\n\n",
        "Disk Nodes\n\nleveret@test\nleveret@b\nc\n\nRunning Nodes\n\nleveret@test\nleveret@b\nc\n\nVersions\n\n",
        "leveret@b: Leveret 1.2.3\n",
        "Alarms\n\n(none)\n\nNetwork Partitions\n\n(none)\n\nCatalog\n\n",
        "Leader: leveret@b, term: 3, version: 9, majority: yes\n",
        "Node: leveret@b, state: up, votes: yes, lag: 4, homes: 1\nNode: c, state: up, votes: yes, homes: 2\n",
        &format!("Node: leveret@test, interface: 127.0.0.1, port: {address}, protocol: http\n"),
    ] {
        assert!(status.contains(text), "{text}: {status}");
    }
    {
        let mut state = others.0.lock().unwrap();
        (state.c_is_down, state.no_majority, state.disk_alarm) = (true, true, true);
        state.not_ready = Some("alone".to_owned());
    }
    let status = server.out("-q cluster_status");
    for text in [
        "Not ready for clients: alone\n",
        "Running Nodes\n\nleveret@test\nleveret@b\n\n",
        "Free disk space alarm on node leveret@b\n",
        "Node leveret@test cannot communicate with c\n",
        "majority: no\n",
        "Node: c, state: down, votes: yes, homes: 2\n",
    ] {
        assert!(status.contains(text), "{text}: {status}");
    }
    let json = server.out("cluster_status --formatter json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["disk_nodes"], serde_json::json!(NODES));
    assert_eq!(json["running_nodes"], serde_json::json!(["leveret@test", "leveret@b"]));
    let alarm = serde_json::json!([{"type": "resource_limit", "resource": "disk", "node": "leveret@b"}]);
    assert_eq!(json["alarms"], alarm);
    assert_eq!(json["partitions"], serde_json::json!({"leveret@test": ["c"]}));
    assert_eq!(json["versions"]["c"]["rabbitmq_version"], "1.2.3");
    assert_eq!(json["listeners"]["leveret@test"].as_array().unwrap().len(), 2);
    assert_eq!((&json["catalog"]["term"], &json["nodes"][2]["state"]), (&3.into(), &"down".into()));
}

#[test]
fn nodes_are_waited_for() {
    let (server, others) = start();
    let text = "Will wait for at least 3 nodes to join the cluster. Timeout: 60 seconds.\n";
    assert_eq!(server.out("await_online_nodes 3"), text);
    others.0.lock().unwrap().c_is_down = true;
    let late = server.ctl("-t 0 await_online_nodes 3");
    assert_eq!((late.code, late.err.as_str()), (70, "Error:\ntimed out while waiting: 2 of 3 nodes run\n"));
    assert_eq!(server.ctl("await_online_nodes 0").code, 64);
    others.0.lock().unwrap().not_ready = Some("alone".to_owned());
    assert_eq!(server.ctl("-t 0 await_startup").code, 69, "clients are not to come yet");
    server.out("check_running");
    std::thread::scope(|scope| {
        scope.spawn(|| server.out("-t 30 await_startup"));
        others.0.lock().unwrap().not_ready = None;
    });
}

#[test]
fn nodes_are_forgotten_and_leave() {
    let (server, others) = start();
    assert_eq!(server.out("forget_cluster_node c"), "Removing node c from the cluster\n");
    server.out("forget_cluster_node --force rabbit@b");
    assert_eq!(server.out("-q leave"), "");
    server.out("leave --force");
    let asked = ["forget c false", "forget leveret@b true", "leave false", "leave true"];
    assert_eq!(others.0.lock().unwrap().asked, asked);
    others.0.lock().unwrap().refusal = Some("2 queues would be lost: 'a', 'b'".to_owned());
    for line in ["forget_cluster_node c", "leave"] {
        let refused = server.ctl(line);
        assert_eq!((refused.code, refused.err.as_str()), (65, "Error:\n2 queues would be lost: 'a', 'b'\n"));
    }
    let unknown = server.ctl("forget_cluster_node rabbit@nowhere");
    assert_eq!(unknown.code, 65);
    assert!(unknown.err.contains("no node 'rabbit@nowhere'"), "{}", unknown.err);
    assert_eq!(server.ctl("forget_cluster_node --offline c").code, 64);
    assert_eq!(Server::start().ctl("leave").code, 65, "there is no cluster to leave");
}

#[test]
fn queues_are_listed_by_their_homes() {
    let (server, others) = start();
    for (name, home) in [("q1", 1), ("q2", 2), ("q3", 3)] {
        declare(&server, name, home);
    }
    others.0.lock().unwrap().c_is_down = true;
    for (line, text) in [
        (
            "-q list_queues name node state messages",
            "name\tnode\tstate\tmessages\nq1\tleveret@test\trunning\t0\nq2\tleveret@b\trunning\t0\nq3\tc\tdown\t\n",
        ),
        ("-s list_queues --online name home", "q1\tleveret@test\nq2\tleveret@b\n"),
        ("-s list_queues --offline name", "q3\n"),
        ("-s list_queues --online --offline name", "q1\nq2\nq3\n"),
        ("-s list_queues --local name", "q1\n"),
        ("-s list_queues --local --offline name", ""),
    ] {
        assert_eq!(server.out(line), text, "{line}");
    }
    let lost = server.ctl("purge_queue q3");
    let text = "home node 'c' of durable queue 'q3' in vhost '/' is down or inaccessible";
    assert_eq!(lost.code, 65);
    assert!(lost.err.contains(text), "{}", lost.err);
    let lost = server.ctl("delete_queue q3");
    assert!(lost.err.contains(text), "{}", lost.err);
    assert!(server.ctl("purge_queue q4").err.contains("not_found"));
}

#[test]
fn checks_look_at_the_whole_cluster() {
    let (server, others) = start();
    others.0.lock().unwrap().disk_alarm = true;
    assert_eq!(server.ctl("check_alarms").code, 69);
    server.out("check_local_alarms");
    assert_eq!(server.out("-s alarms"), "leveret@b\tdisk\n");
    server.out("await_online_quorum_plus_one");
    others.0.lock().unwrap().c_is_down = true;
    let critical = server.ctl("check_if_node_is_quorum_critical");
    assert_eq!(critical.code, 69);
    assert!(critical.err.contains("majority"), "{}", critical.err);
    assert_eq!(server.ctl("-t 0 await_online_quorum_plus_one").code, 69);
    assert!(server.out("status").contains("Node name: leveret@test"));
}

#[test]
fn what_is_done_in_another_way_is_told_also_without_a_node() {
    let dir = data_dir();
    for (line, text) in [
        ("join_cluster rabbit@other", "--join other:PORT"),
        ("join_cluster --ram rabbit@other", "--join other:PORT"),
        ("stop_app", "SIGTERM"),
        ("start_app", "start the node's process"),
        ("reset", "leave"),
        ("force_reset", "leave"),
        ("change_cluster_node_type ram", "no RAM nodes"),
        ("rename_cluster_node a b", "--node-name"),
        ("update_cluster_nodes a", "nothing to do"),
        ("force_boot", "nothing to do"),
    ] {
        let outcome = run(&dir, &line.split(' ').collect::<Vec<_>>(), "");
        assert_eq!(outcome.code, 64, "{line}");
        assert!(outcome.err.contains(text), "{line}: {}", outcome.err);
        assert_eq!(outcome.err.trim_end().lines().count(), 2, "one line behind 'Error:': {}", outcome.err);
    }
    std::fs::remove_dir_all(dir).unwrap();
}

//! The node's state, checks, ways to log in, and wrong command lines.

use crate::server::{Server, data_dir, run};
use std::sync::atomic::Ordering;

#[test]
fn a_running_node_passes_its_checks() {
    let server = Server::start();
    assert!(server.out("ping").ends_with("Ping succeeded\n"));
    for line in [
        "-q ping",
        "-q check_running",
        "-q check_alarms",
        "-q check_local_alarms",
        "-q check_port_connectivity",
        "-q check_virtual_hosts",
        "-q check_ready_to_serve_clients",
        "-q check_if_node_is_quorum_critical",
        "-q check_if_node_is_mirror_sync_critical",
        "-q check_protocol_listener http",
        "-q await_startup",
        "-n rabbit@host -q ping",
    ] {
        assert_eq!(server.out(line), "", "{line}");
    }
    assert_eq!(server.ctl("check_port_listener 1").code, 69);
    let status = server.out("status");
    for text in [
        "Status of node leveret@test ...",
        "RabbitMQ version: 3.13.7",
        "Alarms\n\n(none)",
        "Free disk space: ",
        "protocol: http",
    ] {
        assert!(status.contains(text), "{text}: {status}");
    }
    assert!(server.out("status --formatter json").contains("\"rabbitmq_version\":\"3.13.7\""));
    let cluster = server.out("cluster_status");
    assert!(cluster.contains("Running Nodes\n\nleveret@test\n"), "{cluster}");
    assert!(server.out("cluster_status --formatter json").contains("\"running_nodes\":[\"leveret@test\"]"));
    server.broker.alarms().set_memory(u64::MAX);
    assert_eq!(server.ctl("check_alarms").code, 69);
    assert_eq!(server.out("-s alarms"), "leveret@test\tmemory\n");
}

#[test]
fn a_stopping_node_runs_but_is_not_ready() {
    let server = Server::start();
    let running = "RabbitMQ on node leveret@test is fully booted and running\n";
    assert_eq!(server.out("-q is_running"), running);
    server.stopping.store(true, Ordering::Relaxed);
    assert_eq!(server.out("-q is_running"), running);
    assert_eq!(server.out("-q check_running"), "");
    let refused = server.ctl("check_ready_to_serve_clients");
    assert_eq!((refused.code, refused.err.as_str()), (69, "Error:\nthe node is stopping\n"));
}

#[test]
fn a_token_that_is_not_this_nodes_is_refused() {
    let server = Server::start();
    let path = server.data_dir.join(".ctl-token");
    let text = std::fs::read_to_string(&path).unwrap();
    let (address, secret) = text.trim_end().split_once('\n').unwrap();
    let table = [
        (format!("{address}\n{}\n", "0".repeat(secret.len())), 65, "Login failed"),
        (format!("{address}\n"), 69, "is not a token file"),
        (String::new(), 69, "is not a token file"),
    ];
    for (content, code, reason) in table {
        std::fs::write(&path, &content).unwrap();
        let outcome = server.ctl("check_running");
        assert_eq!(outcome.code, code, "{content:?}: {}", outcome.err);
        assert!(outcome.err.contains(reason), "{content:?}: {}", outcome.err);
    }
    // With a password the file is not needed.
    let url = format!("http://guest:guest@{address}");
    assert_eq!(server.words(&["--url", &url, "check_running"]).code, 0);
}

#[test]
fn a_node_that_is_not_there_is_unavailable() {
    let dir = data_dir();
    for words in [
        &["ping"][..],
        &["--url", "http://127.0.0.1:1", "--user", "guest", "--password", "guest", "ping"],
        &["-t", "0", "await_startup"],
    ] {
        assert_eq!(run(&dir, words, "").code, 69, "{words:?}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_user_logs_in_with_a_password() {
    let server = Server::start();
    let dir = data_dir();
    let url = format!("http://{}", server.address);
    let with_login = format!("http://guest:guest@{}", server.address);
    let table = [
        (vec!["--url", &url, "--user", "guest", "--password", "guest", "ping"], 0),
        (vec!["--url", &with_login, "ping"], 0),
        (vec!["--url", &url, "--user", "guest", "--password", "wrong", "ping"], 65),
        (vec!["--url", "ftp://x", "--user", "u", "ping"], 64),
        (vec!["--password", "x", "ping"], 64),
    ];
    for (words, code) in table {
        let outcome = run(&dir, &words, "");
        assert_eq!(outcome.code, code, "{words:?}: {}", outcome.err);
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    let dir = data_dir();
    for (words, code) in
        [(&["bogus"][..], 64), (&[], 64), (&["add_user"], 64), (&["ping", "--bogus"], 64), (&["--help"], 0)]
    {
        assert_eq!(run(&dir, words, "").code, code, "{words:?}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

//! Nodes that cannot be members are told why, and what to do.

use integration_tests::{
    Broker, Cluster, SECRET, TestDir, WAIT, Waiting, wait_for, with_cluster, with_cluster_of,
};
use std::process::Command;

fn stranger(cluster: &Cluster, dir: &TestDir, secret: &str) -> Command {
    let addr = cluster.addr(0).replace(".1:", ".77:");
    let flags = [
        "--node-name",
        "stranger",
        "--cluster-addr",
        &addr,
        "--cluster-secret",
        secret,
        "--join",
        cluster.addr(0),
    ];
    Broker::command_in(dir.path(), &flags)
}

#[test]
fn a_node_with_another_secret_stays_out_and_both_sides_say_so() {
    with_cluster(async |cluster| {
        let dir = TestDir::new("secret");
        let stranger = Waiting::start(stranger(cluster, &dir, "not the secret of this cluster"));
        stranger.says("secret").await;
        wait_for(WAIT, "the member's line", async || cluster.node(0).log().contains("secret")).await;
        assert!(!stranger.log().contains(" started: node "), "it serves nobody:\n{}", stranger.log());
        let channel = cluster.connect(0).await.confirm_channel().await;
        channel.queue("q").await;
        assert!(channel.publish("", "q", "m").await.is_ack(), "the cluster is unharmed");
    });
}

#[test]
fn a_node_with_definitions_of_its_own_is_told_to_start_empty() {
    with_cluster(async |cluster| {
        let dir = TestDir::new("definitions");
        let mut alone = Broker::start_at(dir.path().to_owned(), &[]);
        alone.connect().await.channel().await.durable_queue("mine").await;
        alone.end(libc::SIGTERM);
        alone.keep_data();
        let mut stranger = Waiting::start(stranger(cluster, &dir, SECRET));
        assert_eq!(stranger.code().await, Some(1));
        let log = stranger.log();
        assert!(log.contains("definitions of its own") && log.contains("empty data directory"), "{log}");
    });
}

#[test]
fn a_member_of_another_cluster_stays_out_and_both_sides_say_so() {
    with_cluster_of(1, &[], async |cluster| {
        let mut other = Cluster::new(1, &[]);
        other.start_all();
        other.connect(0).await.channel().await.durable_queue("theirs").await;
        other.end(0, libc::SIGTERM);
        let (dir, addr) = (other.data_dir(0).to_owned(), other.addr(0).to_owned());
        let both = format!("{addr},{}", cluster.addr(0));
        let flags =
            ["--node-name", "n9", "--cluster-addr", &addr, "--cluster-secret", SECRET, "--join", &both];
        let stranger = Waiting::start(Broker::command_in(&dir, &flags));
        // It goes on as what it is, and so does the other.
        stranger.says(" started: node ").await;
        stranger.says("another cluster").await;
        wait_for(WAIT, "a line on the other side", async || {
            cluster.node(0).log().contains("another cluster")
        })
        .await;
        let channel = cluster.connect(0).await.channel().await;
        channel.queue("ours").await;
        assert!(channel.look("theirs").await.is_err());
    });
}

#[test]
fn a_members_data_is_not_served_by_a_node_that_is_alone() {
    with_cluster(async |cluster| {
        cluster.connect(2).await.channel().await.durable_queue("q").await;
        cluster.end(2, libc::SIGTERM);
        let text = Broker::refusal_in(cluster.data_dir(2), &[]);
        assert!(text.contains("--cluster-addr"), "{text}");
        // And nothing is lost by the attempt.
        cluster.start_some(&[2]);
        cluster.connect(2).await.channel().await.look("q").await.expect("it is there");
    });
}

#[test]
fn what_is_missing_or_taken_is_told_by_its_key() {
    with_cluster_of(1, &[], async |cluster| {
        let dir = TestDir::new("keys");
        let free = cluster.addr(0).replace(".1:", ".78:");
        for (flags, words) in [
            (vec!["--cluster-addr", &free], ["cluster-addr", "cluster-secret-file"]),
            (vec!["--join", cluster.addr(0)], ["join", "cluster-addr"]),
            (
                vec!["--cluster-addr", cluster.addr(0), "--cluster-secret", SECRET],
                ["cluster-addr", "--cluster-addr"],
            ),
            (vec!["--cluster-addr", &free, "--cluster-secret", "short"], ["cluster-secret", "16"]),
        ] {
            let text = Broker::refusal_in(dir.path(), &flags);
            assert!(words.iter().all(|word| text.contains(word)), "{flags:?}: {text}");
        }
    });
}

#[test]
fn two_processes_on_one_members_data_are_refused() {
    with_cluster(async |cluster| {
        let addr = cluster.addr(0).replace(".1:", ".79:");
        let flags = [
            "--node-name",
            "twin",
            "--cluster-addr",
            &addr,
            "--cluster-secret",
            SECRET,
            "--join",
            cluster.addr(1),
        ];
        let text = Broker::refusal_in(cluster.data_dir(0), &flags);
        assert!(text.contains("data-dir") || text.contains("in use"), "{text}");
        cluster.connect(0).await.channel().await.queue("unharmed").await;
    });
}

#[test]
fn a_copy_of_a_members_data_is_told_and_harms_no_other_member() {
    with_cluster(async |cluster| {
        cluster.end(2, libc::SIGTERM);
        let copy = TestDir::new("copy");
        let copied = Command::new("cp").arg("-r").arg(cluster.data_dir(2)).arg(copy.path()).status();
        assert!(copied.expect("cp runs").success());
        cluster.start_some(&[2]);
        let twin = Waiting::start(stranger(cluster, &copy, SECRET));
        // One of the two is in; the other members and their clients do not suffer.
        wait_for(WAIT, "the twin's or a member's word", async || {
            let logs = [twin.log(), cluster.node(0).log(), cluster.node(2).log()];
            logs.iter()
                .any(|log| log.contains("same id") || log.contains("two nodes") || log.contains("own id"))
        })
        .await;
        let channel = cluster.connect(1).await.confirm_channel().await;
        channel.durable_queue("q").await;
        assert!(channel.publish_persistent("", "q", "m").await.is_ack());
        assert_eq!(cluster.connect(0).await.channel().await.bodies("q").await, ["m"]);
    });
}

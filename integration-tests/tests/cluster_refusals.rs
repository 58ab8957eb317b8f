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

/// A copy of a node's data, made while it is stopped.
fn copy_of(cluster: &Cluster, at: usize) -> TestDir {
    let copy = TestDir::new("copy");
    let copied = Command::new("cp").arg("-r").arg(cluster.data_dir(at)).arg(copy.path()).status();
    assert!(copied.expect("cp runs").success());
    copy
}

/// It ends and says why.
async fn prove_told_of_twin(mut second: Waiting) {
    assert_eq!(second.code().await, Some(1), "{}", second.log());
    let log = second.log();
    assert!(log.contains("data-dir") && log.contains("with a copy of it"), "{log}");
    assert!(!log.contains(" started: node "), "it serves nobody:\n{log}");
}

#[test]
fn a_copy_of_a_members_data_is_refused_while_the_member_runs() {
    with_cluster(async |cluster| {
        cluster.connect(2).await.channel().await.durable_queue("of the third").await;
        cluster.end(2, libc::SIGTERM);
        let copy = copy_of(cluster, 2);
        cluster.start_some(&[2]);
        // On the same connections throughout: nobody notices.
        let home = cluster.connect(2).await.confirm_channel().await;
        let other = cluster.connect(1).await.confirm_channel().await;
        for round in ["once", "again"] {
            prove_told_of_twin(Waiting::start(stranger(cluster, &copy, SECRET))).await;
            assert!(cluster.node(2).log().contains("two nodes have the id"), "{}", cluster.node(2).log());
            assert!(other.publish_persistent("", "of the third", round).await.is_ack());
            assert_eq!(home.bodies("of the third").await, [round]);
        }
        assert!(!cluster.node(0).log().contains("started anew"), "no link was replaced");
    });
}

#[test]
fn a_copy_that_took_its_members_place_stays_while_it_runs() {
    with_cluster(async |cluster| {
        cluster.connect(2).await.channel().await.durable_queue("of the third").await;
        cluster.end(2, libc::SIGTERM);
        let copy = copy_of(cluster, 2);
        let first = Waiting::start(stranger(cluster, &copy, SECRET));
        first.says(" started: node ").await;
        for _ in 0..2 {
            prove_told_of_twin(Waiting::start(cluster.command_with(2, &[]))).await;
            let channel = cluster.connect(1).await.confirm_channel().await;
            assert!(channel.publish_persistent("", "of the third", "m").await.is_ack());
            assert_eq!(channel.bodies("of the third").await, ["m"]);
        }
        assert!(first.log().contains("two nodes have the id"), "{}", first.log());
        // Once the copy is gone the member is itself again.
        drop(first);
        cluster.start_some(&[2]);
        let channel = cluster.connect(1).await.confirm_channel().await;
        wait_for(WAIT, "its queue", async || {
            channel.publish_persistent("", "of the third", "m").await.is_ack()
        })
        .await;
    });
}

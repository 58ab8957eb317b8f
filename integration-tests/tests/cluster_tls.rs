//! Mutual TLS between nodes: certificates are needed as well as the secret.

use crate::authority::Authority;
use integration_tests::{Broker, Cluster, SECRET, TestDir, WAIT, Waiting, wait_for, with_cluster_of};
use std::process::Command;

/// The flags of a node that shows `shows`'s certificate and trusts `trusts`.
fn tls_flags(shows: &Authority, trusts: &Authority) -> Vec<String> {
    let (cert, key, ca) = (shows.file("cert.pem"), shows.file("key.pem"), trusts.file("ca.pem"));
    let pairs = [
        ("--cluster-tls-cert", cert.as_str()),
        ("--cluster-tls-key", &key),
        ("--cluster-tls-ca", &ca),
        ("--cluster-tls-name", "localhost"),
    ];
    pairs.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
}

fn with_tls(authority: &Authority, test: impl AsyncFnOnce(&mut Cluster)) {
    let flags = tls_flags(authority, authority);
    with_cluster_of(3, &flags.iter().map(String::as_str).collect::<Vec<_>>(), test);
}

/// A node that knows the secret and has these flags.
fn stranger(cluster: &Cluster, dir: &TestDir, tls: &[String]) -> Command {
    let addr = cluster.addr(0).replace(".1:", ".77:");
    let own = ["--node-name", "stranger", "--cluster-addr", &addr, "--cluster-secret", SECRET];
    let join = ["--join", cluster.addr(0)];
    let flags: Vec<&str> = own.into_iter().chain(join).chain(tls.iter().map(String::as_str)).collect();
    Broker::command_in(dir.path(), &flags)
}

/// What was declared and sent through one node comes out of another.
async fn prove_works(cluster: &Cluster, queue: &str) {
    let channel = cluster.connect(0).await.confirm_channel().await;
    channel.durable_queue(queue).await;
    let body = "x".repeat(300_000);
    let other = cluster.connect(1).await.confirm_channel().await;
    assert!(other.publish_persistent("", queue, &body).await.is_ack());
    assert_eq!(cluster.connect(2).await.channel().await.bodies(queue).await, [body]);
}

/// It does not get in, both sides say `theirs` and `ours`, and the cluster goes on.
async fn prove_refused(cluster: &Cluster, tls: &[String], theirs: &str, ours: &str) {
    let dir = TestDir::new("tls-stranger");
    let stranger = Waiting::start(stranger(cluster, &dir, tls));
    stranger.says(theirs).await;
    wait_for(WAIT, "the member's line", async || cluster.node(0).log().contains(ours)).await;
    assert!(!stranger.log().contains(" started: node "), "it serves nobody:\n{}", stranger.log());
    let (_, status) = cluster.node(0).http("GET", "/api/cluster/status", "").await;
    assert!(!status.contains("stranger"), "{status}");
}

#[test]
fn nodes_with_certificates_of_one_authority_are_a_cluster() {
    let authority = Authority::new();
    with_tls(&authority, async |cluster| {
        prove_works(cluster, "first").await;
        cluster.end(2, libc::SIGKILL);
        cluster.start_some(&[2]);
        prove_works(cluster, "again").await;
        // A new node gets in with the secret and a certificate.
        let new = cluster.add();
        cluster.start_some(&[new]);
        cluster.connect(new).await.channel().await.look("again").await.expect("it is a member");
    });
}

#[test]
fn a_node_without_a_certificate_is_refused_and_both_sides_say_so() {
    let authority = Authority::new();
    with_tls(&authority, async |cluster| {
        let words = "it speaks TLS, and TLS between nodes is not set up here";
        prove_refused(cluster, &[], words, "TLS failed").await;
        prove_works(cluster, "unharmed").await;
    });
}

#[test]
fn a_node_with_a_certificate_of_another_authority_is_refused_and_both_sides_say_so() {
    let (authority, other) = (Authority::new(), Authority::new());
    with_tls(&authority, async |cluster| {
        // It trusts the cluster, and the cluster does not trust it; then neither trusts the other.
        prove_refused(cluster, &tls_flags(&other, &authority), "TLS failed", "TLS failed").await;
        prove_refused(cluster, &tls_flags(&other, &other), "TLS failed", "TLS failed").await;
        prove_works(cluster, "unharmed").await;
    });
}

#[test]
fn a_node_with_tls_does_not_join_a_cluster_without() {
    let authority = Authority::new();
    with_cluster_of(3, &[], async |cluster| {
        let words = "it speaks TLS, and TLS between nodes is not set up here";
        prove_refused(cluster, &tls_flags(&authority, &authority), "TLS failed", words).await;
        prove_works(cluster, "unharmed").await;
    });
}

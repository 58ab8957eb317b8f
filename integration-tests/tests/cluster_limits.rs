//! Limits of connections count the clients of all nodes.

use integration_tests::{Client, Cluster, WAIT, refusal, wait_for, with_cluster};

async fn open(cluster: &Cluster, node: usize, login: &str, vhost: &str) -> lapin::Result<Client> {
    Client::connect_to(&format!("amqp://{login}@{}/{vhost}", cluster.node(node).amqp)).await
}

/// A user with full rights in `/` and in the vhost `small`.
async fn furnish(cluster: &Cluster) {
    let node = cluster.node(0);
    node.http_put("/api/vhosts/small", "{}").await;
    node.http_put("/api/users/ann", r#"{"password":"secret","tags":""}"#).await;
    for vhost in ["%2F", "small"] {
        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        node.http_put(&format!("/api/permissions/{vhost}/ann"), all).await;
    }
}

#[test]
fn a_users_and_a_vhosts_limits_count_the_clients_of_all_nodes() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        let limit = r#"{"value":2}"#;
        cluster.node(1).http_put("/api/user-limits/ann/max-connections", limit).await;
        cluster.node(2).http_put("/api/vhost-limits/small/max-connections", limit).await;
        let ann = [
            open(cluster, 0, "ann:secret", "%2f").await.expect("the first"),
            open(cluster, 1, "ann:secret", "%2f").await.expect("the second"),
        ];
        for node in 0..3 {
            let (code, why) = refusal(open(cluster, node, "ann:secret", "%2f").await.map(drop));
            assert!(
                code == 530 && why.contains("user connection limit (2) is reached"),
                "{node}: {code} {why}"
            );
            open(cluster, node, "guest:guest", "%2f").await.expect("others are not limited").end().await;
        }
        let small = [
            open(cluster, 1, "guest:guest", "small").await.expect("the first"),
            open(cluster, 2, "guest:guest", "small").await.expect("the second"),
        ];
        for node in 0..3 {
            let (code, why) = refusal(open(cluster, node, "guest:guest", "small").await.map(drop));
            assert!(code == 530 && why.contains("connection limit (2) is reached"), "{node}: {code} {why}");
        }
        // Room that one node gives is room at all of them.
        for client in ann {
            client.end().await;
        }
        wait_for(WAIT, "room", async || open(cluster, 2, "ann:secret", "%2f").await.is_ok()).await;
        // What was connected to a node that is gone does not count.
        cluster.end(2, libc::SIGKILL);
        wait_for(WAIT, "room", async || open(cluster, 0, "guest:guest", "small").await.is_ok()).await;
        drop(small);
    });
}

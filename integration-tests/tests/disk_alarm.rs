//! A disk with too little room blocks who publishes, tells it why, and leaves the others alone.

use integration_tests::{Broker, Channel, WAIT, wait_for, with_broker, with_broker_args, with_restarts};
use serde_json::Value;

/// More than any disk has.
const NEVER_ENOUGH: [&str; 2] = ["--disk-free-limit", "18446744073709551615"];

async fn node(broker: &Broker) -> Value {
    let (status, body) = broker.http("GET", "/api/nodes", "").await;
    assert_eq!(status, 200, "{body}");
    let mut nodes: Value = serde_json::from_str(&body).expect("JSON");
    nodes[0].take()
}

async fn fill(channel: &Channel, queue: &str) {
    channel.durable_queue(queue).await;
    for body in ["one", "two"] {
        channel.publish_persistent("", queue, body).await;
    }
}

#[test]
fn a_publisher_is_blocked_with_the_reason_and_consumers_go_on() {
    with_restarts(&[], async |broker| {
        fill(&broker.connect().await.confirm_channel().await, "q").await;
        broker.end(libc::SIGTERM);
        broker.start_again(&NEVER_ENOUGH);
        wait_for(WAIT, "the alarm", async || broker.log().contains("disk alarm")).await;
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.send(&integration_tests::publish_frames(1, ("", "q"), 0, &[0x10, 0, 2], b"blocked")).await;
        let blocked = peer.next_method().await;
        assert_eq!(blocked.ids(), (10, 60), "connection.blocked");
        assert_eq!(blocked.fields().text(), "low on disk");
        let channel = broker.connect().await.channel().await;
        channel.sync().await;
        assert_eq!(channel.bodies("q").await[..2], ["one", "two"], "who consumes is not blocked");
        channel.durable_queue("declared under the alarm").await;
    });
}

#[test]
fn the_api_tells_of_the_alarm_and_of_the_room() {
    with_broker_args(&NEVER_ENOUGH, async |broker| {
        wait_for(WAIT, "the alarm", async || node(broker).await["disk_free_alarm"] == true).await;
        let node = node(broker).await;
        assert_eq!(node["disk_free_limit"], u64::MAX);
        assert!(node["disk_free"].as_u64().is_some_and(|bytes| bytes > 0 && bytes < u64::MAX), "{node}");
        for check in ["alarms", "local-alarms"] {
            let (status, body) = broker.http("GET", &format!("/api/health/checks/{check}"), "").await;
            assert_eq!(status, 503, "{check}: {body}");
            assert!(body.contains(r#""resource":"disk""#), "{check}: {body}");
        }
    });
}

#[test]
fn without_an_alarm_all_is_well() {
    with_broker(async |broker| {
        wait_for(WAIT, "a look at the disk", async || node(broker).await["disk_free"].is_u64()).await;
        let node = node(broker).await;
        assert_eq!((&node["disk_free_alarm"], &node["disk_free_limit"]), (&false.into(), &50_000_000.into()));
        assert_eq!(broker.http("GET", "/api/health/checks/local-alarms", "").await.0, 200);
    });
}

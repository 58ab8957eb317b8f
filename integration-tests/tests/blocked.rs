//! A memory alarm blocks who publishes, tells it why, and leaves the others alone.

use integration_tests::{wait_for, with_broker_args};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_publisher_is_blocked_and_consumers_go_on() {
    // So small a share of the memory that the alarm is on from the start.
    with_broker_args(&["--memory-high-watermark", "0.00001"], async |broker| {
        let publisher = broker.connect().await;
        let channel = publisher.channel().await;
        channel.queue("q").await;
        assert!(!publisher.0.status().blocked(), "nobody is blocked before he publishes");
        wait_for(LIMIT, "the alarm", async || broker.log().contains("memory alarm")).await;
        channel.publish("", "q", "m").await;
        wait_for(LIMIT, "connection.blocked", async || publisher.0.status().blocked()).await;
        let other = broker.connect().await.channel().await;
        other.await_depth("q", 1).await;
        assert_eq!(other.bodies("q").await, ["m"]);
    });
}

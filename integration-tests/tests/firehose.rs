//! The firehose: copies of what is published and delivered go to `amq.rabbitmq.trace`.

use integration_tests::{Deliveries, header, text, with_broker};
use lapin::BasicProperties;

#[test]
fn publishes_and_deliveries_are_copied_while_it_is_on() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let watcher = client.channel().await;
        watcher.bound_queue("seen", "amq.rabbitmq.trace", "#").await;
        let channel = client.channel().await;
        channel.queue("q").await;
        channel.publish("", "q", "not seen").await;
        assert_eq!(channel.bodies("q").await, ["not seen"]);
        broker.http_put("/api/vhosts/%2f", r#"{"tracing":true}"#).await;
        let mut consumer = channel.consume("q", "").await;
        let properties = BasicProperties::default().with_message_id("7".into());
        channel.publish_with("", "q", b"m", properties).await;
        consumer.delivery().await.ack(Default::default()).await.expect("ack");
        watcher.await_depth("seen", 2).await;
        let mut seen = watcher.take_all("seen").await;
        seen.sort_by_key(|delivery| delivery.routing_key.to_string());
        let keys: Vec<&str> = seen.iter().map(|delivery| delivery.routing_key.as_str()).collect();
        assert_eq!(keys, ["deliver.q", "publish."]);
        for copy in &seen {
            assert_eq!(copy.data, b"m");
            assert_eq!(copy.exchange.as_str(), "amq.rabbitmq.trace");
            assert_eq!(header(copy, "exchange_name"), Some(text("")));
            assert!(header(copy, "properties").is_some() && header(copy, "routing_keys").is_some());
        }
        broker.http_put("/api/vhosts/%2f", r#"{"tracing":false}"#).await;
        channel.publish("", "q", "not seen").await;
        consumer.delivery().await;
        watcher.sync().await;
        assert_eq!(watcher.depth("seen").await, 0);
    });
}

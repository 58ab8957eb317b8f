//! Direct exchanges: the routing key must be the binding key, byte by byte.

use integration_tests::with_broker;

#[test]
fn a_message_goes_to_the_queues_bound_with_its_key() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.exchange("d", "direct").await;
        channel.bound_queue("a", "d", "red").await;
        channel.bound_queue("b", "d", "red").await;
        channel.bound_queue("c", "d", "Red").await;
        channel.publish("d", "red", "m").await;
        assert_eq!(channel.bodies("a").await, ["m"]);
        assert_eq!(channel.bodies("b").await, ["m"]);
        assert!(channel.bodies("c").await.is_empty());
    });
}

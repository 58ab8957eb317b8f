//! The user-id property must be the user's own name.

use integration_tests::with_broker;
use lapin::BasicProperties;

#[test]
fn only_the_own_name_is_taken() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        channel.queue("q").await;
        let own = BasicProperties::default().with_user_id("guest".into());
        // Twice, since the second of equal messages goes another way.
        for _ in 0..2 {
            assert!(channel.publish_with("", "q", b"m", own.clone()).await.is_ack());
            let delivery = channel.take("q").await.expect("a message");
            assert_eq!(delivery.properties.user_id().as_ref().map(|user| user.as_str()), Some("guest"));
        }
        for name in ["somebody", "", "Guest"] {
            let channel = client.confirm_channel().await;
            let other = BasicProperties::default().with_user_id(name.into());
            let refused = channel.refused_publish("", "q", other).await;
            let expected = format!(
                "PRECONDITION_FAILED - user_id property set to '{name}' but authenticated user was 'guest'"
            );
            assert_eq!(refused, (406, expected));
        }
        assert_eq!(client.channel().await.depth("q").await, 0);
    });
}

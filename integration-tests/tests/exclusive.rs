//! Exclusive queues and exclusive consumers.

use integration_tests::{Deliveries, WAIT, refusal, wait_for, with_broker};
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

const EXCLUSIVE: QueueDeclareOptions = QueueDeclareOptions {
    exclusive: true,
    passive: false,
    durable: false,
    auto_delete: false,
    nowait: false,
};

#[test]
fn only_the_connection_that_declared_it_may_use_it() {
    with_broker(async |broker| {
        let owner = broker.connect().await;
        let channel = owner.channel().await;
        channel.declare("q", EXCLUSIVE, FieldTable::default()).await.expect("declared");
        owner.channel().await.look("q").await.expect("another channel of the same connection may");
        let other = broker.connect().await;
        let expected = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It \
                        could be originally declared on another connection or the exclusive property value does \
                        not match that of the original declaration.";
        let locked = (405, expected.to_owned());
        let table: [&str; 7] = ["declare", "passive", "get", "consume", "purge", "delete", "bind"];
        for what in table {
            let channel = other.channel().await;
            let refused = match what {
                "declare" => refusal(channel.declare("q", EXCLUSIVE, FieldTable::default()).await),
                "passive" => refusal(channel.look("q").await),
                "get" => refusal(channel.basic_get("q".into(), Default::default()).await),
                "consume" => {
                    refusal(channel.consume_with("q", "", Default::default(), FieldTable::default()).await)
                }
                "purge" => refusal(channel.queue_purge("q".into(), Default::default()).await),
                "delete" => refusal(channel.queue_delete("q".into(), Default::default()).await),
                _ => refusal(channel.bind_with("q", "amq.fanout", "", FieldTable::default()).await),
            };
            assert_eq!(refused, locked, "{what}");
        }
        // Publishing to it is everybody's right.
        let publisher = other.channel().await;
        publisher.publish("", "q", "m").await;
        publisher.sync().await;
        channel.await_depth("q", 1).await;
    });
}

#[test]
fn it_goes_with_its_connection() {
    with_broker(async |broker| {
        let watcher = broker.connect().await;
        for graceful in [true, false] {
            let name = format!("q-{graceful}");
            if graceful {
                let owner = broker.connect().await;
                let channel = owner.channel().await;
                channel.declare(&name, EXCLUSIVE, FieldTable::default()).await.expect("declared");
                owner.end().await;
            } else {
                let mut owner = broker.peer().await;
                owner.channel(1).await;
                let declare = integration_tests::Payload::method(50, 10).short(0).text(&name).octet(4);
                assert_eq!(owner.call(1, declare.longtext(b"")).await.ids(), (50, 11));
                drop(owner);
            }
            wait_for(WAIT, "the queue to go", async || {
                let looked = watcher.channel().await.look(&name).await;
                looked.is_err() && refusal(looked).0 == 404
            })
            .await;
        }
    });
}

#[test]
fn it_does_not_go_with_its_channel() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let first = client.channel().await;
        first.declare("q", EXCLUSIVE, FieldTable::default()).await.expect("declared");
        first.close(200, "".into()).await.expect("channel.close-ok");
        client.channel().await.look("q").await.expect("it is there");
    });
}

#[test]
fn a_shared_queue_cannot_be_taken_as_exclusive() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        client.channel().await.queue("shared").await;
        let channel = client.channel().await;
        let (code, text) = refusal(channel.declare("shared", EXCLUSIVE, FieldTable::default()).await);
        assert_eq!(code, 405);
        assert!(
            text.starts_with("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'shared'"),
            "{text}"
        );
    });
}

#[test]
fn an_exclusive_consumer_keeps_others_out_until_it_leaves() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let first = client.channel().await;
        first.queue("q").await;
        let alone = BasicConsumeOptions { exclusive: true, ..Default::default() };
        let mut consumer =
            first.consume_with("q", "alone", alone, FieldTable::default()).await.expect("alone");
        for options in [alone, BasicConsumeOptions::default()] {
            let channel = client.channel().await;
            let refused = refusal(channel.consume_with("q", "", options, FieldTable::default()).await);
            assert_eq!(refused, (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use".to_owned()));
        }
        first.publish("", "q", "m").await;
        assert_eq!(consumer.delivery().await.data, b"m");
        first.basic_cancel("alone".into(), Default::default()).await.expect("basic.cancel-ok");
        let second = client.channel().await;
        let _next = second.consume("q", "next").await;
        // Where somebody consumes, nobody can be alone.
        let third = client.channel().await;
        let refused = refusal(third.consume_with("q", "", alone, FieldTable::default()).await);
        assert_eq!(refused.0, 403);
    });
}

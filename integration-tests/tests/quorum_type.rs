//! `x-queue-type: quorum` as a client sees it.

use integration_tests::{Deliveries, Payload, arguments, refusal, text, with_broker};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

fn quorum() -> FieldTable {
    arguments([("x-queue-type", text("quorum"))])
}

fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..Default::default() }
}

#[test]
fn it_takes_and_gives_messages() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.declare("q", durable(), quorum()).await.expect("declared");
        channel.prefetch(10).await;
        let mut consumer = channel.consume("q", "").await;
        for number in 0..50 {
            assert!(channel.publish("", "q", &number.to_string()).await.is_ack());
            let delivery = consumer.delivery().await;
            assert_eq!(delivery.data, number.to_string().as_bytes());
            delivery.ack(Default::default()).await.expect("ack");
        }
    });
}

#[test]
fn what_it_cannot_be_is_refused() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let table = [
            (QueueDeclareOptions::default(), "non-durable"),
            (QueueDeclareOptions { auto_delete: true, ..durable() }, "auto-delete"),
            (QueueDeclareOptions { exclusive: true, ..durable() }, "exclusive-owner"),
        ];
        for (options, property) in table {
            let refused = refusal(client.channel().await.declare("q", options, quorum()).await);
            let expected =
                format!("PRECONDITION_FAILED - invalid property '{property}' for queue 'q' in vhost '/'");
            assert_eq!(refused, (406, expected));
        }
        let (code, text) = refusal(client.channel().await.declare("", durable(), quorum()).await);
        assert_eq!(code, 406);
        assert!(
            text.starts_with("PRECONDITION_FAILED - Cannot declare a server-named queue for type"),
            "{text}"
        );
    });
}

#[test]
fn another_type_is_another_queue() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        client.channel().await.declare("q", durable(), quorum()).await.expect("declared");
        let refused = refusal(client.channel().await.declare("q", durable(), FieldTable::default()).await);
        let expected = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received \
                        none but current is the value 'quorum' of type 'longstr'";
        assert_eq!(refused, (406, expected.to_owned()));
    });
}

#[test]
fn conditional_deletes_and_global_prefetch_are_not_implemented() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        client.channel().await.declare("q", durable(), quorum()).await.expect("declared");
        let table = [
            (QueueDeleteOptions { if_unused: true, ..Default::default() }, "if-unused"),
            (QueueDeleteOptions { if_empty: true, ..Default::default() }, "if-empty"),
        ];
        for (options, flag) in table {
            let client = broker.connect().await;
            let refused = refusal(client.channel().await.queue_delete("q".into(), options).await);
            let expected = format!(
                "NOT_IMPLEMENTED - cannot delete queue 'q' in vhost '/'. queue.delete operations with {flag} flag \
                 set are not supported by quorum queues"
            );
            assert_eq!(refused, (540, expected));
        }
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        let global = Payload::method(60, 10).long(0).short(5).octet(1);
        assert_eq!(peer.call(1, global).await.ids(), (60, 11));
        peer.method(1, Payload::method(60, 20).short(0).text("q").text("").octet(0).longtext(b"")).await;
        let close = peer.next_close().await;
        assert_eq!((close.channel, close.code), (0, 540));
        assert_eq!(close.text, "NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos");
        assert_eq!(
            client.channel().await.queue_delete("q".into(), Default::default()).await.expect("deleted"),
            0
        );
    });
}

//! basic.ack, reject and nack: one, many, none, twice.

use integration_tests::{Broker, Channel, Client, Close, Payload, publish_frames, with_broker};
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};

/// A channel that holds messages 1 to `count`.
async fn holding(client: &Client, count: usize) -> Channel {
    let channel = client.channel().await;
    channel.queue("q").await;
    channel.queue_purge("q".into(), Default::default()).await.expect("purged");
    for number in 1..=count {
        channel.publish("", "q", &number.to_string()).await;
    }
    for _ in 0..count {
        channel.get("q").await.expect("a message");
    }
    channel
}

/// What comes back when the channel closes: what it had not settled.
async fn left(client: &Client, channel: Channel) -> Vec<String> {
    channel.close(200, "".into()).await.expect("channel.close-ok");
    client.channel().await.bodies("q").await
}

#[test]
fn acks_settle_one_or_all_up_to_it() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let table: [(u64, bool, &[&str]); 4] =
            [(3, false, &["1", "2", "4", "5"]), (3, true, &["4", "5"]), (5, true, &[]), (0, true, &[])];
        for (tag, multiple, expected) in table {
            let channel = holding(&client, 5).await;
            channel.basic_ack(tag, BasicAckOptions { multiple }).await.expect("ack");
            assert_eq!(left(&client, channel).await, expected, "ack {tag} multiple {multiple}");
            let channel = holding(&client, 5).await;
            let nack = BasicNackOptions { multiple, requeue: false };
            channel.basic_nack(tag, nack).await.expect("nack");
            assert_eq!(left(&client, channel).await, expected, "nack {tag} multiple {multiple}");
        }
        let channel = holding(&client, 3).await;
        channel.basic_reject(2, BasicRejectOptions { requeue: false }).await.expect("reject");
        assert_eq!(left(&client, channel).await, ["1", "3"]);
    });
}

#[test]
fn acks_in_any_order_leave_the_rest() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = holding(&client, 9).await;
        for tag in [9, 1, 5, 4] {
            channel.basic_ack(tag, BasicAckOptions::default()).await.expect("ack");
        }
        channel.basic_ack(6, BasicAckOptions { multiple: true }).await.expect("ack");
        assert_eq!(left(&client, channel).await, ["7", "8"]);
    });
}

/// A peer that has settled messages 1 and 2, says `method` of `tag` and is told what is wrong.
async fn refused_settle(broker: &Broker, queue: &str, method: Payload) -> Close {
    let mut peer = broker.peer().await;
    peer.channel(1).await;
    peer.queue(1, queue).await;
    for _ in 0..2 {
        peer.send(&publish_frames(1, ("", queue), 0, &[0, 0], b"m")).await;
        let get = Payload::method(60, 70).short(0).text(queue).octet(0);
        assert_eq!(peer.call(1, get).await.ids(), (60, 71));
        assert_eq!(peer.content().await.1, b"m");
    }
    peer.method(1, Payload::method(60, 80).longlong(2).octet(1)).await;
    peer.method(1, method).await;
    peer.next_close().await
}

#[test]
fn an_unknown_tag_closes_the_channel() {
    with_broker(async |broker| {
        let settle = |method, tag: u64, flags| Payload::method(60, method).longlong(tag).octet(flags);
        let table = [(80, 1, 0), (80, 99, 0), (80, 99, 1), (80, 0, 0), (120, 1, 0), (120, 7, 1), (90, 1, 0)];
        for (number, (method, tag, flags)) in table.into_iter().enumerate() {
            let close = refused_settle(broker, &format!("q{number}"), settle(method, tag, flags)).await;
            assert_eq!(
                (close.channel, close.code, close.ids),
                (1, 406, (60, method)),
                "{method} {tag} {flags}"
            );
            assert_eq!(close.text, format!("PRECONDITION_FAILED - unknown delivery tag {tag}"));
        }
    });
}

#[test]
fn a_tag_belongs_to_its_channel() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = holding(&client, 1).await;
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.method(1, Payload::method(60, 80).longlong(1).octet(0)).await;
        assert_eq!(peer.next_close().await.code, 406);
        assert_eq!(left(&client, channel).await, ["1"]);
    });
}

#[test]
fn no_ack_deliveries_have_nothing_to_settle() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        peer.send(&publish_frames(1, ("", "q"), 0, &[0, 0], b"m")).await;
        let get = Payload::method(60, 70).short(0).text("q").octet(1);
        let got = peer.call(1, get).await;
        assert_eq!((got.ids(), got.fields().longlong()), ((60, 71), 1));
        peer.method(1, Payload::method(60, 80).longlong(1).octet(0)).await;
        assert_eq!(peer.next_close().await.text, "PRECONDITION_FAILED - unknown delivery tag 1");
    });
}

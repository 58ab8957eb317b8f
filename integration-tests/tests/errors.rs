//! The words of refusals, as a table: situation, code, text.
//!
//! Texts are RabbitMQ's. More of them stand beside their feature; the catalog's own tests have the rest.

use integration_tests::{Broker, Close, Payload, Peer, frame, publish_frames, with_broker};

fn declare_queue(name: &str, flags: u8, arguments: &[u8]) -> Payload {
    Payload::method(50, 10).short(0).text(name).octet(flags).longtext(arguments)
}

fn declare_exchange(name: &str, kind: &str, flags: u8) -> Payload {
    Payload::method(40, 10).short(0).text(name).text(kind).octet(flags).longtext(b"")
}

fn bind(queue: &str, exchange: &str, key: &str) -> Payload {
    Payload::method(50, 20).short(0).text(queue).text(exchange).text(key).octet(0).longtext(b"")
}

fn consume(queue: &str, tag: &str, flags: u8) -> Payload {
    Payload::method(60, 20).short(0).text(queue).text(tag).octet(flags).longtext(b"")
}

fn get(queue: &str) -> Payload {
    Payload::method(60, 70).short(0).text(queue).octet(0)
}

fn long_field(name: &str, value: i64) -> Vec<u8> {
    Payload::default().field(name, b'l', &value.to_be_bytes()).0
}

fn text_field(name: &str, value: &str) -> Vec<u8> {
    Payload::default().field(name, b'S', &Payload::default().longtext(value.as_bytes()).0).0
}

/// A peer with channel 1 open.
async fn peer_on_channel(broker: &Broker) -> Peer {
    let mut peer = broker.peer().await;
    peer.channel(1).await;
    peer
}

/// Sends a method on channel 1 and gives the close that follows.
async fn refused(broker: &Broker, method: Payload) -> Close {
    let mut peer = peer_on_channel(broker).await;
    peer.method(1, method).await;
    peer.next_close().await
}

#[test]
fn methods_on_things_that_are_not_there_or_not_so() {
    with_broker(async |broker| {
        let mut setup = peer_on_channel(broker).await;
        setup.queue(1, "q").await;
        let no_queue = "NOT_FOUND - no queue 'none' in vhost '/'";
        let no_exchange = "NOT_FOUND - no exchange 'none' in vhost '/'";
        let default = "ACCESS_REFUSED - operation not permitted on the default exchange";
        let table: Vec<(&str, Payload, u16, &str)> = vec![
            ("passive queue", declare_queue("none", 1, b""), 404, no_queue),
            ("consume", consume("none", "", 0), 404, no_queue),
            ("get", get("none"), 404, no_queue),
            ("purge", Payload::method(50, 30).short(0).text("none").octet(0), 404, no_queue),
            ("bind queue", bind("none", "amq.direct", "k"), 404, no_queue),
            ("bind exchange", bind("q", "none", "k"), 404, no_exchange),
            ("passive exchange", declare_exchange("none", "direct", 1), 404, no_exchange),
            ("bind to the default exchange", bind("q", "", "k"), 403, default),
            ("declare the default exchange", declare_exchange("", "direct", 0), 403, default),
            ("delete the default exchange", Payload::method(40, 20).short(0).text("").octet(0), 403, default),
            (
                "delete a system exchange",
                Payload::method(40, 20).short(0).text("amq.direct").octet(0),
                403,
                "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
            ),
            (
                "reserved exchange name",
                declare_exchange("amq.own", "direct", 0),
                403,
                "ACCESS_REFUSED - exchange name 'amq.own' contains reserved prefix 'amq.*'",
            ),
            (
                "unknown exchange type",
                declare_exchange("x", "odd", 0),
                406,
                "PRECONDITION_FAILED - unknown exchange type 'odd'",
            ),
            (
                "another type",
                declare_exchange("amq.direct", "fanout", 2),
                406,
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received \
                 'fanout' but current is 'direct'",
            ),
            (
                "commit without select",
                Payload::method(90, 20),
                406,
                "PRECONDITION_FAILED - channel is not transactional",
            ),
        ];
        for (what, method, code, text) in table {
            let ids = method.ids();
            let expected = Close { channel: 1, code, text: text.to_owned(), ids };
            assert_eq!(refused(broker, method).await, expected, "{what}");
        }
    });
}

#[test]
fn methods_that_end_the_connection() {
    with_broker(async |broker| {
        let qos = |size| Payload::method(60, 10).long(size).short(1).octet(0);
        let table: Vec<(&str, Payload, u16, &str)> = vec![
            ("prefetch size", qos(10), 540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)"),
            ("flow", Payload::method(20, 20).octet(0), 540, "NOT_IMPLEMENTED - active=false"),
            (
                "second open",
                Payload::method(20, 10).text(""),
                504,
                "CHANNEL_ERROR - second 'channel.open' seen",
            ),
            (
                "a method of servers",
                Payload::method(50, 11).text("q").long(0).long(0),
                503,
                "COMMAND_INVALID - unimplemented method",
            ),
        ];
        for (what, method, code, text) in table {
            let ids = method.ids();
            let expected = Close { channel: 0, code, text: text.to_owned(), ids };
            assert_eq!(refused(broker, method).await, expected, "{what}");
        }
    });
}

#[test]
fn methods_on_channels_that_are_not_open() {
    with_broker(async |broker| {
        let expected = "CHANNEL_ERROR - expected 'channel.open'";
        for (channel, method) in [(1, declare_queue("q", 0, b"")), (5, get("q")), (2047, consume("q", "", 0))]
        {
            let mut peer = broker.peer().await;
            let ids = method.ids();
            peer.method(channel, method).await;
            let close = peer.next_close().await;
            assert_eq!((close.channel, close.code, close.text.as_str(), close.ids), (0, 504, expected, ids));
        }
        let mut peer = broker.peer().await;
        peer.send(&publish_frames(3, ("", "q"), 0, &[0, 0], b"m")).await;
        let close = peer.next_close().await;
        assert_eq!((close.code, close.text.as_str(), close.ids), (504, expected, (60, 40)));
    });
}

#[test]
fn bad_queue_arguments() {
    with_broker(async |broker| {
        let table: [(&str, Vec<u8>, &str); 9] = [
            ("x-expires", long_field("x-expires", 0), "{value_zero,0}"),
            ("x-message-ttl", long_field("x-message-ttl", -1), "{value_negative,-1}"),
            ("x-max-length", long_field("x-max-length", -5), "{value_negative,-5}"),
            (
                "x-max-length-bytes",
                text_field("x-max-length-bytes", "1"),
                "\"expected integer, got longstr\"",
            ),
            ("x-max-priority", long_field("x-max-priority", 256), "{max_value_exceeded,256}"),
            ("x-overflow", text_field("x-overflow", "odd"), "invalid_overflow"),
            (
                "x-single-active-consumer",
                text_field("x-single-active-consumer", "true"),
                "{unacceptable_type,longstr}",
            ),
            (
                "x-dead-letter-routing-key",
                text_field("x-dead-letter-routing-key", "k"),
                "routing_key_but_no_dlx_defined",
            ),
            ("x-queue-type", text_field("x-queue-type", "odd"), "\"unsupported queue type 'odd'\""),
        ];
        for (name, arguments, why) in table {
            let close = refused(broker, declare_queue("q", 0, &arguments)).await;
            let expected =
                format!("PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/': {why}");
            assert_eq!((close.channel, close.code, close.text), (1, 406, expected));
        }
    });
}

#[test]
fn bad_messages() {
    with_broker(async |broker| {
        let expiration = |value: &str| Payload::default().short(0x0100).text(value).0;
        let user = Payload::default().short(0x0010).text("somebody").0;
        let invalid =
            |value: &str, why: &str| format!("PRECONDITION_FAILED - invalid expiration '{value}': {why}");
        let table = [
            (expiration("soon"), invalid("soon", "no_integer")),
            (expiration("-1"), invalid("-1", "{value_negative,-1}")),
            (expiration("1.5"), invalid("1.5", "{leftover_string,\".5\"}")),
            (expiration(""), invalid("", "no_integer")),
            (
                user,
                "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'"
                    .into(),
            ),
        ];
        for (properties, expected) in table {
            let mut peer = peer_on_channel(broker).await;
            peer.send(&publish_frames(1, ("", "q"), 0, &properties, b"m")).await;
            let close = peer.next_close().await;
            assert_eq!((close.channel, close.code, close.ids), (1, 406, (60, 40)), "{expected}");
            assert_eq!(close.text, expected);
        }
        let mut peer = peer_on_channel(broker).await;
        peer.send(&publish_frames(1, ("none", "q"), 0, &[0, 0], b"m")).await;
        let close = peer.next_close().await;
        assert_eq!((close.code, close.text.as_str()), (404, "NOT_FOUND - no exchange 'none' in vhost '/'"));
    });
}

#[test]
fn a_consumer_tag_is_used_once_in_a_channel() {
    with_broker(async |broker| {
        let mut peer = peer_on_channel(broker).await;
        peer.queue(1, "q").await;
        peer.channel(2).await;
        for channel in [1, 2] {
            assert_eq!(peer.call(channel, consume("q", "same", 0)).await.ids(), (60, 21));
        }
        peer.method(1, consume("q", "same", 0)).await;
        let close = peer.next_close().await;
        assert_eq!((close.channel, close.code, close.ids), (0, 530, (60, 20)));
        assert_eq!(close.text, "NOT_ALLOWED - attempt to reuse consumer tag 'same'");
    });
}

#[test]
fn a_message_above_the_limit_is_refused_before_its_body() {
    integration_tests::with_broker_args(&["--max-message-size", "1000"], async |broker| {
        for size in [1001_u64, 2 << 30] {
            let mut peer = peer_on_channel(broker).await;
            peer.method(1, Payload::method(60, 40).short(0).text("").text("q").octet(0)).await;
            let header = Payload::default().short(60).short(0).longlong(size).short(0);
            // What still comes of it does no harm.
            peer.send(&[frame(2, 1, &header.0), frame(3, 1, &[7; 500])].concat()).await;
            let close = peer.next_close().await;
            assert_eq!((close.channel, close.code, close.ids), (1, 406, (60, 40)));
            let expected =
                format!("PRECONDITION_FAILED - message size {size} is larger than configured max size 1000");
            assert_eq!(close.text, expected);
            peer.channel(1).await;
        }
        let mut peer = peer_on_channel(broker).await;
        peer.queue(1, "q").await;
        peer.send(&publish_frames(1, ("", "q"), 0, &[0, 0], &[7; 1000])).await;
        peer.sync(1).await;
        peer.send(&publish_frames(1, ("", "q"), 0, &[0, 0], &[7; 1001])).await;
        assert_eq!(peer.next_close().await.code, 406);
    });
}

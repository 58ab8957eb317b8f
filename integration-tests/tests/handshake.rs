//! The way in: protocol header, start, login, tune, open.

use integration_tests::{Frame, FrameReader, Payload, Peer, with_broker};
use std::collections::BTreeMap;

/// Top-level fields of a table: name to type and bytes of text, table or boolean.
fn fields_of(table: &[u8]) -> BTreeMap<String, (u8, Vec<u8>)> {
    let mut reader = FrameReader(table);
    let mut fields = BTreeMap::new();
    while !reader.0.is_empty() {
        let name = reader.text();
        let kind = reader.octet();
        let value = match kind {
            b'S' | b'F' => reader.longtext().to_vec(),
            b't' => vec![reader.octet()],
            other => panic!("{name} is of type {}", char::from(other)),
        };
        fields.insert(name, (kind, value));
    }
    fields
}

async fn start(peer: &mut Peer) -> Frame {
    peer.send(b"AMQP\0\0\x09\x01").await;
    let start = peer.next_method().await;
    assert_eq!(start.ids(), (10, 10));
    start
}

fn start_ok(mechanism: &str, response: &[u8]) -> Payload {
    Payload::method(10, 11).longtext(b"").text(mechanism).longtext(response).text("en_US")
}

#[test]
fn start_tells_who_the_broker_is_and_what_it_can() {
    with_broker(async |broker| {
        let mut peer = Peer::connect(broker.amqp).await;
        let start = start(&mut peer).await;
        let mut fields = start.fields();
        assert_eq!((fields.octet(), fields.octet()), (0, 9));
        let properties = fields_of(fields.longtext());
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let expected =
            ["capabilities", "cluster_name", "copyright", "information", "platform", "product", "version"];
        assert_eq!(names, expected);
        assert_eq!(properties["product"].1, b"RabbitMQ");
        assert!(properties["version"].1.starts_with(b"3.13"));
        let capabilities = fields_of(&properties["capabilities"].1);
        for name in [
            "publisher_confirms",
            "exchange_exchange_bindings",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
            "consumer_priorities",
            "authentication_failure_close",
            "per_consumer_qos",
            "direct_reply_to",
        ] {
            assert_eq!(capabilities[name], (b't', vec![1]), "{name}");
        }
        let mut mechanisms: Vec<&[u8]> = fields.longtext().split(|byte| *byte == b' ').collect();
        mechanisms.sort_unstable();
        assert_eq!(mechanisms, [b"AMQPLAIN".as_slice(), b"PLAIN"]);
        assert_eq!(fields.longtext(), b"en_US");
    });
}

#[test]
fn plain_and_amqplain_let_guest_in() {
    with_broker(async |broker| {
        let table = Payload::default();
        let table = table.field("LOGIN", b'S', &Payload::default().longtext(b"guest").0);
        let table = table.field("PASSWORD", b'S', &Payload::default().longtext(b"guest").0);
        for (mechanism, response) in [("PLAIN", b"\0guest\0guest".as_slice()), ("AMQPLAIN", &table.0)] {
            let mut peer = Peer::connect(broker.amqp).await;
            peer.log_in(mechanism, response).await;
            let tune = peer.next_method().await;
            assert_eq!(tune.ids(), (10, 30), "{mechanism}");
            let mut fields = tune.fields();
            assert_eq!((fields.short(), fields.long(), fields.short()), (2047, 131_072, 60));
            peer.tune_ok((100, 4096, 0)).await;
            let open_ok = peer.call(0, Payload::method(10, 40).text("/").text("").octet(0)).await;
            assert_eq!(open_ok.ids(), (10, 41), "{mechanism}");
        }
    });
}

#[test]
fn other_headers_get_the_right_one_and_a_close() {
    with_broker(async |broker| {
        let headers: [&[u8; 8]; 6] = [
            b"AMQP\x00\x01\x00\x00",
            b"AMQP\x03\x01\x00\x00",
            b"AMQP\x00\x00\x09\x02",
            b"GET / HT",
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
            b"garbage!",
        ];
        for header in headers {
            let mut peer = Peer::connect(broker.amqp).await;
            peer.send(header).await;
            let answer = peer.rest().await;
            assert_eq!(answer, b"AMQP\0\0\x09\x01", "{header:?}");
        }
        // Byte by byte it is the same.
        let mut peer = Peer::connect(broker.amqp).await;
        for byte in b"AMQP\0\0\x09\x01" {
            peer.send(&[*byte]).await;
        }
        assert_eq!(peer.next_method().await.ids(), (10, 10));
    });
}

#[test]
fn a_wrong_login_is_told_to_clients_that_understand() {
    with_broker(async |broker| {
        for (user, password) in [("guest", "wrong"), ("nobody", "guest"), ("", "")] {
            let mut peer = Peer::connect(broker.amqp).await;
            peer.log_in("PLAIN", format!("\0{user}\0{password}").as_bytes()).await;
            let close = peer.next_close().await;
            assert_eq!((close.code, close.ids), (403, (0, 0)));
            let expected = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details \
                            see the broker logfile.";
            assert_eq!(close.text, expected);
            assert!(peer.rest().await.is_empty());
        }
    });
}

#[test]
fn others_just_see_their_socket_closed() {
    with_broker(async |broker| {
        let responses: [(&str, &[u8]); 4] =
            [("PLAIN", b"\0guest\0wrong"), ("PLAIN", b"nonsense"), ("ODD", b""), ("AMQPLAIN", b"\x04ab")];
        for (mechanism, response) in responses {
            let mut peer = Peer::connect(broker.amqp).await;
            start(&mut peer).await;
            peer.method(0, start_ok(mechanism, response)).await;
            assert!(peer.rest().await.is_empty(), "{mechanism} {response:?}");
        }
    });
}

#[test]
fn a_vhost_must_exist() {
    with_broker(async |broker| {
        for (vhost, expected) in [
            ("none", "NOT_ALLOWED - vhost none not found"),
            ("", "NOT_ALLOWED - vhost  not found"),
            ("//", "NOT_ALLOWED - vhost // not found"),
        ] {
            let mut peer = Peer::connect(broker.amqp).await;
            peer.log_in("PLAIN", b"\0guest\0guest").await;
            assert_eq!(peer.next_method().await.ids(), (10, 30));
            peer.tune_ok((2047, 131_072, 0)).await;
            peer.method(0, Payload::method(10, 40).text(vhost).text("").octet(0)).await;
            let close = peer.next_close().await;
            assert_eq!((close.code, close.text.as_str(), close.ids), (530, expected, (10, 40)));
        }
    });
}

#[test]
fn steps_out_of_order_end_the_connection() {
    with_broker(async |broker| {
        let steps: [(&str, Payload); 3] = [
            ("tune-ok first", Payload::method(10, 31).short(0).long(0).short(0)),
            ("open first", Payload::method(10, 40).text("/").text("").octet(0)),
            ("a channel first", Payload::method(20, 10).text("")),
        ];
        for (what, step) in steps {
            let mut peer = Peer::connect(broker.amqp).await;
            start(&mut peer).await;
            let channel = u16::from(what == "a channel first");
            peer.method(channel, step).await;
            let rest = peer.rest().await;
            assert!(rest.is_empty() || rest.first() == Some(&1), "{what}: {rest:?}");
        }
    });
}

#[test]
fn a_second_open_is_a_channel_error() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.method(0, Payload::method(10, 40).text("/").text("").octet(0)).await;
        let close = peer.next_close().await;
        assert_eq!((close.code, close.ids), (504, (10, 40)));
        assert_eq!(close.text, "CHANNEL_ERROR - unexpected method in connection state running");
    });
}

#[test]
fn the_secret_can_be_updated() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        let update = Payload::method(10, 70).longtext(b"new secret").text("it expires");
        assert_eq!(peer.call(0, update).await.ids(), (10, 71));
        peer.channel(1).await;
    });
}

#[test]
fn small_frames_are_kept_in_both_directions() {
    with_broker(async |broker| {
        let mut peer = Peer::connect(broker.amqp).await;
        peer.log_in("PLAIN", b"\0guest\0guest").await;
        peer.tune_and_open((2047, 4096, 0), "/").await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        let body: Vec<u8> = (0..20_000_u32).map(|number| number as u8).collect();
        let publish = Payload::method(60, 40).short(0).text("").text("q").octet(0);
        peer.method(1, publish).await;
        let header = Payload::default().short(60).short(0).longlong(body.len() as u64).short(0);
        peer.send(&integration_tests::frame(2, 1, &header.0)).await;
        for part in body.chunks(4088) {
            peer.send(&integration_tests::frame(3, 1, part)).await;
        }
        let get = Payload::method(60, 70).short(0).text("q").octet(1);
        assert_eq!(peer.call(1, get).await.ids(), (60, 71));
        assert_eq!(peer.next_method().await.kind, 2);
        let mut came = Vec::new();
        let mut sizes = Vec::new();
        while came.len() < body.len() {
            let part = peer.next_method().await;
            sizes.push(part.payload.len());
            came.extend(part.payload);
        }
        assert_eq!(sizes, [4088, 4088, 4088, 4088, 3648]);
        assert!(came == body);
    });
}

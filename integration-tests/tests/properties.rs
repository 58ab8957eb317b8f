//! Properties and headers arrive byte by byte as they were sent.

use integration_tests::{Payload, Peer, publish_frames, with_broker};

/// One field of every type a table may hold.
fn every_type() -> Vec<u8> {
    let text = |value: &[u8]| Payload::default().longtext(value).0;
    let inner = Payload::default().field("in", b't', &[1]).field("void", b'V', b"");
    let array =
        Payload::default().octet(b'I').long(7).octet(b'S').longtext(b"x").octet(b'V').octet(b'A').long(0);
    Payload::default()
        .field("bool", b't', &[0])
        .field("i8", b'b', &[0x80])
        .field("u8", b'B', &[0xff])
        .field("i16", b's', &[0x80, 0])
        .field("u16", b'u', &[0xff, 0xfe])
        .field("i32", b'I', &[0x80, 0, 0, 1])
        .field("u32", b'i', &[0xff, 0, 0, 1])
        .field("i64", b'l', &[0x80, 0, 0, 0, 0, 0, 0, 1])
        .field("f32", b'f', &1.5_f32.to_be_bytes())
        .field("nan", b'd', &f64::NAN.to_be_bytes())
        .field("f64", b'd', &(-0.0_f64).to_be_bytes())
        .field("decimal", b'D', &[2, 0, 0, 1, 0])
        .field("text", b'S', &text("żółć".as_bytes()))
        .field("not utf8", b'S', &text(&[0xff, 0, 0xfe]))
        .field("binary", b'x', &text(&[0, 1, 2, 255]))
        .field("time", b'T', &u64::MAX.to_be_bytes())
        .field("void", b'V', b"")
        .field("table", b'F', &text(&inner.0))
        .field("empty table", b'F', &text(b""))
        .field("array", b'A', &text(&array.0))
        .field("", b't', &[1])
        .field("twice", b'I', &[0, 0, 0, 1])
        .field("twice", b'I', &[0, 0, 0, 2])
        .0
}

/// All fourteen properties.
fn every_property() -> Vec<u8> {
    Payload::default()
        .short(0xfffc)
        .text("text/plain")
        .text("gzip")
        .longtext(&every_type())
        .octet(2)
        .octet(9)
        .text("correlation")
        .text("reply.here")
        .text("3600000")
        .text("message id")
        .longlong(1_700_000_000)
        .text("type")
        .text("guest")
        .text("app")
        .text("cluster")
        .0
}

/// Publishes with properties, gets it back, and gives the properties that came.
async fn there_and_back(peer: &mut Peer, properties: &[u8]) -> Vec<u8> {
    peer.send(&publish_frames(1, ("", "q"), 0, properties, b"body")).await;
    let get = Payload::method(60, 70).short(0).text("q").octet(1);
    assert_eq!(peer.call(1, get).await.ids(), (60, 71));
    let (came, body) = peer.content().await;
    assert_eq!(body, b"body");
    came
}

#[test]
fn everything_comes_back_as_it_was() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        let full = every_property();
        assert_eq!(there_and_back(&mut peer, &full).await, full);
        assert_eq!(there_and_back(&mut peer, &[0, 0]).await, [0, 0]);
        let empty_headers = Payload::default().short(0x2000).longtext(b"").0;
        assert_eq!(there_and_back(&mut peer, &empty_headers).await, empty_headers);
    });
}

#[test]
fn each_property_alone_comes_back_as_it_was() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        for bit in 2..16_u16 {
            let alone = Payload::default().short(1 << bit);
            let alone = match bit {
                13 => alone.longtext(&every_type()),
                12 | 11 => alone.octet(1),
                6 => alone.longlong(7),
                8 => alone.text("9000000"),
                4 => alone.text("guest"),
                _ => alone.text("value"),
            };
            assert_eq!(there_and_back(&mut peer, &alone.0).await, alone.0, "bit {bit}");
        }
    });
}

#[test]
fn redelivered_and_dead_lettered_headers_keep_their_bytes() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        let headers = every_type();
        let properties = Payload::default().short(0x2000).longtext(&headers).0;
        peer.send(&publish_frames(1, ("", "q"), 0, &properties, b"m")).await;
        for round in 0..2_u64 {
            let get = Payload::method(60, 70).short(0).text("q").octet(0);
            assert_eq!(peer.call(1, get).await.ids(), (60, 71));
            assert_eq!(peer.content().await.0, properties, "round {round}");
            peer.method(1, Payload::method(60, 90).longlong(round + 1).octet(1)).await;
            peer.sync(1).await;
        }
    });
}

#[test]
fn a_key_and_an_exchange_of_any_bytes_come_back() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        let key = "ü".repeat(127);
        let bind =
            Payload::method(50, 20).short(0).text("q").text("amq.direct").text(&key).octet(0).longtext(b"");
        assert_eq!(peer.call(1, bind).await.ids(), (50, 21));
        peer.send(&publish_frames(1, ("amq.direct", &key), 0, &[0, 0], b"")).await;
        let get = Payload::method(60, 70).short(0).text("q").octet(1);
        let got = peer.call(1, get).await;
        assert_eq!(got.ids(), (60, 71));
        let mut fields = got.fields();
        fields.longlong();
        assert_eq!((fields.octet(), fields.text(), fields.text()), (0, "amq.direct".to_owned(), key));
        assert!(peer.content().await.1.is_empty());
    });
}

//! Bytes that no honest client sends: the right error or a closed socket, and others unharmed.

use integration_tests::{Broker, Payload, Peer, frame, publish_frames, with_broker, with_broker_args};
use std::time::{Duration, Instant};

/// A client that did nothing wrong still works.
async fn others_are_unharmed(broker: &Broker) {
    let channel = broker.connect().await.confirm_channel().await;
    channel.queue("honest").await;
    assert!(channel.publish("", "honest", "m").await.is_ack());
    assert_eq!(channel.bodies("honest").await, ["m"]);
}

/// Numbers that look random, the same in each run.
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    }
}

#[test]
fn frames_with_a_fault_get_the_error_that_fits() {
    with_broker(async |broker| {
        let mut wrong_end = frame(1, 1, &Payload::method(20, 10).text("").0);
        *wrong_end.last_mut().expect("a frame") = 0;
        let oversized = Payload::default().octet(3).short(1).long(140_000).0;
        let table: Vec<(&str, Vec<u8>, u16, &str)> = vec![
            (
                "wrong end mark",
                wrong_end,
                501,
                "FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}",
            ),
            (
                "oversized",
                oversized,
                501,
                "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,140000,131064}",
            ),
            (
                "unknown type",
                frame(7, 0, b"abc"),
                501,
                "FRAME_ERROR - type 7, all octets = <<\"abc\">>: unknown_frame",
            ),
            ("empty method", frame(1, 1, b""), 501, "FRAME_ERROR - type 1, all octets = <<>>: unknown_frame"),
        ];
        for (what, bytes, code, text) in table {
            let mut peer = broker.peer().await;
            peer.send(&bytes).await;
            let close = peer.next_close().await;
            assert_eq!((close.channel, close.code, close.text.as_str()), (0, code, text), "{what}");
            assert!(peer.rest().await.is_empty(), "{what}: the socket is closed");
        }
        others_are_unharmed(broker).await;
    });
}

#[test]
fn content_out_of_turn_is_an_unexpected_frame() {
    with_broker(async |broker| {
        let publish = frame(1, 1, &Payload::method(60, 40).short(0).text("").text("q").octet(0).0);
        let header =
            |class, size| frame(2, 1, &Payload::default().short(class).short(0).longlong(size).short(0).0);
        let qos = frame(1, 1, &Payload::method(60, 10).long(0).short(0).octet(0).0);
        let body = frame(3, 1, b"body");
        let table: Vec<(&str, Vec<u8>)> = vec![
            ("header alone", header(60, 4)),
            ("body alone", body.clone()),
            ("method for header", [publish.clone(), qos.clone()].concat()),
            ("method for body", [publish.clone(), header(60, 4), qos].concat()),
            ("header of another class", [publish.clone(), header(50, 4)].concat()),
            ("body before header", [publish.clone(), body.clone()].concat()),
            ("longer than announced", [publish.clone(), header(60, 2), body].concat()),
        ];
        for (what, bytes) in table {
            let mut peer = broker.peer().await;
            peer.channel(1).await;
            peer.send(&bytes).await;
            let close = peer.next_close().await;
            let code = if what == "longer than announced" { 501 } else { 505 };
            assert_eq!((close.channel, close.code), (0, code), "{what}: {}", close.text);
        }
        others_are_unharmed(broker).await;
    });
}

#[test]
fn garbage_at_any_moment_ends_only_its_own_connection() {
    with_broker(async |broker| {
        for seed in 0..60_u64 {
            let mut random = noise(seed + 1);
            let bytes: Vec<u8> = (0..2_000).map(|_| random()).collect();
            let mut peer = match seed % 3 {
                0 => Peer::connect(broker.amqp).await,
                1 => broker.peer().await,
                _ => {
                    let mut peer = broker.peer().await;
                    peer.channel(1).await;
                    peer
                }
            };
            // Frames around noise reach further than noise itself.
            let framed = if seed % 2 == 0 { bytes } else { frame(1 + (seed % 4) as u8, 1, &bytes) };
            peer.send(&framed).await;
            // It may still wait for the rest of a frame; either way it must not disturb others.
            drop(peer);
        }
        others_are_unharmed(broker).await;
    });
}

#[test]
fn every_method_cut_short_or_too_long_is_survived() {
    with_broker(async |broker| {
        let methods = [
            Payload::method(50, 10).short(0).text("q").octet(0).longtext(b"").0,
            Payload::method(40, 10).short(0).text("x").text("direct").octet(0).longtext(b"").0,
            Payload::method(50, 20).short(0).text("q").text("amq.direct").text("k").octet(0).longtext(b"").0,
            Payload::method(60, 20).short(0).text("q").text("t").octet(0).longtext(b"").0,
            Payload::method(60, 40).short(0).text("").text("q").octet(0).0,
            Payload::method(60, 120).longlong(1).octet(0).0,
        ];
        for method in &methods {
            for length in 4..method.len() {
                let mut peer = broker.peer().await;
                peer.channel(1).await;
                peer.send(&frame(1, 1, &method[..length])).await;
                let close = peer.next_close().await;
                assert!([501, 502].contains(&close.code), "{length} bytes of {method:?}: {}", close.text);
            }
        }
        others_are_unharmed(broker).await;
    });
}

#[test]
fn tables_nested_without_end_are_refused() {
    with_broker(async |broker| {
        let before = broker.resident_bytes();
        for depth in [20, 150, 250, 5_000, 9_000] {
            let mut table = Vec::new();
            for _ in 0..depth {
                table = Payload::default().field("t", b'F', &Payload::default().longtext(&table).0).0;
            }
            let mut peer = broker.peer().await;
            peer.channel(1).await;
            let declare =
                Payload::method(50, 10).short(0).text(&format!("deep-{depth}")).octet(4).longtext(&table);
            peer.method(1, declare).await;
            let answer = peer.next_method().await;
            let refused = answer.ids() == (10, 50);
            assert!(refused || answer.ids() == (50, 11), "depth {depth}: {:?}", answer.ids());
            assert_eq!(refused, depth > 200, "depth {depth}");
        }
        let grown = broker.resident_bytes().saturating_sub(before);
        assert!(grown < 50 << 20, "grown by {} MiB", grown >> 20);
        others_are_unharmed(broker).await;
    });
}

#[test]
fn an_announced_body_that_never_comes_costs_nothing() {
    with_broker(async |broker| {
        let before = broker.resident_bytes();
        let mut peers = Vec::new();
        for number in 0..50 {
            let mut peer = broker.peer().await;
            peer.channel(1).await;
            peer.method(1, Payload::method(60, 40).short(0).text("").text("q").octet(0)).await;
            // As much as is allowed; one byte of it comes.
            let header = Payload::default().short(60).short(0).longlong(134_217_728).short(0);
            peer.send(&frame(2, 1, &header.0)).await;
            peer.send(&frame(3, 1, &[number])).await;
            peer.channel(2).await;
            peers.push(peer);
        }
        let grown = broker.resident_bytes().saturating_sub(before);
        assert!(grown < 100 << 20, "50 x 128 MiB announced: grown by {} MiB", grown >> 20);
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.method(1, Payload::method(60, 40).short(0).text("").text("q").octet(0)).await;
        let header = Payload::default().short(60).short(0).longlong(2 << 30).short(0);
        peer.send(&frame(2, 1, &header.0)).await;
        assert_eq!(peer.next_close().await.code, 406);
        others_are_unharmed(broker).await;
    });
}

#[test]
fn half_frames_wait_without_harm_and_go_with_their_socket() {
    with_broker(async |broker| {
        let mut peers = Vec::new();
        for cut in 1..40 {
            let mut peer = broker.peer().await;
            peer.channel(1).await;
            let bytes = publish_frames(1, ("", "honest"), 0, &[0, 0], b"half a message");
            peer.send(&bytes[..cut]).await;
            peers.push(peer);
        }
        others_are_unharmed(broker).await;
        drop(peers);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.depth("honest").await, 0);
    });
}

#[test]
fn a_handshake_that_takes_too_long_is_cut_off() {
    with_broker(async |broker| {
        let start = Instant::now();
        let mut silent = Peer::connect(broker.amqp).await;
        let mut slow = Peer::connect(broker.amqp).await;
        let loris = async {
            for byte in b"AMQP\0\0\x09" {
                slow.send(&[*byte]).await;
                tokio::time::sleep(Duration::from_millis(1_000)).await;
            }
            wait_for_end(&mut slow).await
        };
        let (first, second) = tokio::join!(wait_for_end(&mut silent), loris);
        assert!(first.is_empty() && second.is_empty());
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(9), "{took:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
        others_are_unharmed(broker).await;
    });
}

/// Reads to the end, for longer than `rest` has patience.
async fn wait_for_end(peer: &mut Peer) -> Vec<u8> {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(25), peer.stream.read_to_end(&mut bytes)).await;
    // A reset is an end as well.
    let _ = read.expect("the broker closes the socket");
    bytes
}

#[test]
fn ten_thousand_channels_are_borne() {
    with_broker(async |broker| {
        let before = broker.resident_bytes();
        let mut peers = Vec::new();
        for _ in 0..5 {
            let mut peer = broker.peer().await;
            let bytes: Vec<u8> = (1..=2_000).flat_map(integration_tests::open_channel).collect();
            peer.send(&bytes).await;
            for _ in 1..=2_000 {
                assert_eq!(peer.next_method().await.ids(), (20, 11));
            }
            peers.push(peer);
        }
        let grown = broker.resident_bytes().saturating_sub(before);
        assert!(grown < 200 << 20, "grown by {} MiB", grown >> 20);
        others_are_unharmed(broker).await;
        for peer in &mut peers {
            peer.sync(2_000).await;
        }
    });
}

#[test]
fn one_connection_cannot_fill_the_memory_with_unread_replies() {
    with_broker_args(&["--threads", "2"], async |broker| {
        use tokio::io::AsyncWriteExt;
        let before = broker.resident_bytes();
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        let qos = frame(1, 1, &Payload::method(60, 10).long(0).short(0).octet(0).0);
        let many = qos.repeat(10_000);
        // Asks for replies and reads none, until the broker takes no more or 200 MB were sent.
        let mut sent = 0;
        while sent < 200 << 20 {
            let write = tokio::time::timeout(Duration::from_secs(2), peer.stream.write(&many)).await;
            match write {
                Ok(Ok(count)) => sent += count,
                _ => break,
            }
        }
        let grown = broker.resident_bytes().saturating_sub(before);
        assert!(grown < 64 << 20, "{} MiB sent, grown by {} MiB", sent >> 20, grown >> 20);
        others_are_unharmed(broker).await;
    });
}

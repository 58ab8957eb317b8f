//! Tests of the session: a broker's bytes over a socket pair, in pieces of every size.
//!
//! Invariant: what is expected is written by hand, and the same for every cut.

use std::io::Write;
use std::net::TcpListener;

use super::*;
use crate::error::Scope;
use crate::wire::{BASIC_DELIVER, BASIC_GET_OK};

const WAIT: Duration = Duration::from_secs(10);

/// A session, and the broker's end of its socket.
fn pair() -> (Session, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (broker, _) = listener.accept().expect("a connection waits");
    let session = Session {
        stream,
        inbox: Vec::new(),
        outbox: Vec::new(),
        events: VecDeque::new(),
        replies: VecDeque::new(),
        content: None,
        frame_bytes_max: 4096,
        timeout: WAIT,
    };
    (session, broker)
}

/// Header and body frames as the publish encoder makes them.
fn content(properties: &[u8], body: &[u8]) -> Vec<u8> {
    let message =
        Publish { channel: 1, exchange: "", routing_key: "", persistent: false, frame_bytes_max: 4096 };
    let mut bytes = Vec::new();
    encode::publish_with(&mut bytes, &message, properties, body);
    let publish_bytes = 4 + 2 + 1 + 1 + 1 + FRAME_OVERHEAD_BYTES;
    bytes.split_off(publish_bytes)
}

fn message(id: MethodId, tag: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::method(&mut bytes, 1, id, |args| {
        if id == BASIC_DELIVER {
            args.short("consumer");
        }
        args.u64(tag).u8(1).short("exchange").short("key");
        if id == BASIC_GET_OK {
            args.u32(3);
        }
    });
    bytes.extend(content(&[0x10, 0, 2], body));
    bytes
}

fn delivery(tag: u64, body: &[u8]) -> Delivery {
    Delivery { tag, redelivered: true, properties: vec![0x10, 0, 2], body: body.to_vec() }
}

#[test]
fn messages_confirms_and_replies_come_apart_whatever_the_cut() {
    let large: Vec<u8> = (0..9000_u32).map(|at| at as u8).collect();
    let mut stream = message(BASIC_DELIVER, 1, &large);
    stream.extend([wire::FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END]);
    encode::method(&mut stream, 1, wire::BASIC_NACK, |args| {
        args.u64(7).u8(1);
    });
    stream.extend(message(BASIC_GET_OK, 2, b"got"));
    stream.extend(message(BASIC_DELIVER, 3, b""));
    for piece in [1, 7, 1000, stream.len()] {
        let (mut session, mut broker) = pair();
        let bytes = stream.clone();
        let writer = std::thread::spawn(move || {
            broker.set_nodelay(true).expect("a socket");
            bytes.chunks(piece).for_each(|chunk| broker.write_all(chunk).expect("the session reads"));
            broker
        });
        let got = session.get("q").expect("an answer");
        assert_eq!(got, Some(delivery(2, b"got")), "piece {piece}");
        let first = session.next(WAIT).expect("no error");
        assert!(matches!(&first, Some(Event::Delivered(first)) if *first == delivery(1, &large)), "{piece}");
        let second = session.next(WAIT).expect("no error");
        assert!(matches!(second, Some(Event::Confirmed { tag: 7, multiple: true, is_ack: false })));
        let third = session.next(WAIT).expect("no error");
        assert!(matches!(&third, Some(Event::Delivered(third)) if *third == delivery(3, b"")));
        assert!(session.next(Duration::ZERO).expect("no error").is_none());
        drop(writer.join());
    }
}

#[test]
fn a_close_keeps_the_brokers_words() {
    let (mut session, mut broker) = pair();
    let mut bytes = Vec::new();
    encode::method(&mut bytes, 1, wire::CHANNEL_CLOSE, |args| {
        args.u16(404).short("NOT_FOUND").u16(50).u16(10);
    });
    broker.write_all(&bytes).expect("the session reads");
    let error = session.call(wire::QUEUE_DECLARE, wire::QUEUE_DECLARE_OK, |_| {}).expect_err("it was closed");
    assert!(matches!(error, Error::Closed { scope: Scope::Channel, code: 404, .. }), "{error}");
}

#[test]
fn streams_that_lie_are_errors() {
    let whole = message(BASIC_DELIVER, 1, b"body");
    let mut wrong_end = whole.clone();
    *wrong_end.last_mut().expect("not empty") = 0;
    let body_alone = whole[whole.len() - 12..].to_vec();
    let mut method_inside = whole[..whole.len() - 12].to_vec();
    method_inside.extend(&whole);
    for bytes in [wrong_end, body_alone, method_inside] {
        let (mut session, mut broker) = pair();
        broker.write_all(&bytes).expect("the session reads");
        assert!(session.next(WAIT).is_err(), "{bytes:?}");
    }
}

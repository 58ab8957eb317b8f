//! Tests of the scanner: mixed streams, every cut, and streams that lie.
//!
//! Invariant: the expected counts are computed from the list of messages, never from the scanner.

use super::*;
use crate::wire::{BASIC_ACK, encode};

#[derive(Default)]
struct Seen {
    stamps: Vec<u64>,
    methods: Vec<MethodId>,
}

impl Sink for Seen {
    fn stamped(&mut self, stamp_ns: u64) {
        self.stamps.push(stamp_ns);
    }

    fn method(&mut self, method: Method<'_>) -> Result<()> {
        self.methods.push(method.id);
        Ok(())
    }
}

/// A delivery as a broker writes it: made from the publish encoder by changing the method.
fn deliver(out: &mut Vec<u8>, consumer: &str, tag: u64, body: &[u8]) {
    encode::method(out, 1, BASIC_DELIVER, |args| {
        args.short(consumer).u64(tag).u8(0).short("").short("q");
    });
    content(out, body);
}

fn content(out: &mut Vec<u8>, body: &[u8]) {
    let mut publish = Vec::new();
    let message = encode::Publish {
        channel: 1,
        exchange: "",
        routing_key: "",
        persistent: false,
        frame_bytes_max: 4096,
    };
    encode::publish(&mut publish, &message, body);
    let method_bytes = 4 + 2 + 1 + 1 + 1 + FRAME_OVERHEAD_BYTES;
    out.extend_from_slice(&publish[method_bytes..]);
}

fn body(stamp_ns: u64, length: usize) -> Vec<u8> {
    let mut body = vec![0; length.max(8)];
    body[..8].copy_from_slice(&stamp_ns.to_be_bytes());
    body.truncate(length);
    body
}

/// Deliveries of all kinds with other methods between them, and the number of deliveries.
fn mixed_stream() -> (Vec<u8>, u64, Vec<u64>) {
    let mut out = Vec::new();
    let mut stamps = Vec::new();
    let mut tag = 0;
    let lengths = [16, 16, 16, 0, 16, 7, 8, 8, 8, 4088, 4089, 9000, 16, 16, 100, 100, 100];
    for (at, length) in lengths.into_iter().enumerate() {
        tag += 1;
        let stamp_ns = if at % 3 == 0 { 0 } else { 1000 + at as u64 };
        if stamp_ns != 0 && length >= 8 {
            stamps.push(stamp_ns);
        }
        deliver(&mut out, if at % 5 == 4 { "longer-tag" } else { "c" }, tag, &body(stamp_ns, length));
        if at % 4 == 1 {
            encode::method(&mut out, 1, BASIC_ACK, |args| {
                args.u64(1).u8(0);
            });
            out.extend_from_slice(&[FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END]);
        }
    }
    (out, tag, stamps)
}

/// Feeds the stream in reads of `step` bytes, as a socket would.
fn scan_in_steps(stream: &[u8], step: usize) -> (Scanner, Seen) {
    let (mut scanner, mut seen) = (Scanner::default(), Seen::default());
    let mut pending = Vec::new();
    for piece in stream.chunks(step) {
        pending.extend_from_slice(piece);
        let used = scanner.scan(&pending, &mut seen).expect("a correct stream");
        pending.drain(..used);
    }
    assert!(pending.is_empty(), "bytes left over at step {step}");
    (scanner, seen)
}

#[test]
fn counts_do_not_depend_on_the_cuts() {
    let (stream, deliveries, stamps) = mixed_stream();
    for step in (1..300).chain([1000, 4096, stream.len()]) {
        let (scanner, seen) = scan_in_steps(&stream, step);
        assert_eq!(scanner.deliveries, deliveries, "step {step}");
        assert_eq!(scanner.last_tag, deliveries, "step {step}");
        assert_eq!(seen.stamps, stamps, "step {step}");
        assert_eq!(seen.methods, [BASIC_ACK; 4], "step {step}");
    }
}

#[test]
fn messages_alike_take_the_short_way_and_count_the_same() {
    let mut stream = Vec::new();
    for tag in 1..=1000 {
        deliver(&mut stream, "c", tag, &body(tag % 2 * tag, 16));
    }
    let (scanner, seen) = scan_in_steps(&stream, 1777);
    assert!(scanner.shape.is_some());
    assert_eq!((scanner.deliveries, scanner.last_tag), (1000, 1000));
    assert_eq!(seen.stamps, (1..=1000).step_by(2).collect::<Vec<u64>>());
}

#[test]
fn a_body_shorter_than_a_stamp_has_none() {
    let mut stream = Vec::new();
    for tag in 1..=10 {
        deliver(&mut stream, "c", tag, &[0xFF; 7]);
    }
    let (scanner, seen) = scan_in_steps(&stream, stream.len());
    assert_eq!(scanner.deliveries, 10);
    assert!(seen.stamps.is_empty(), "the end mark and the next frame are not a stamp: {:?}", seen.stamps);
}

#[test]
fn a_returned_message_is_not_a_delivery() {
    let mut stream = Vec::new();
    encode::method(&mut stream, 1, BASIC_RETURN, |args| {
        args.u16(312).short("NO_ROUTE").short("").short("q");
    });
    content(&mut stream, &body(5, 16));
    let (scanner, seen) = scan_in_steps(&stream, 9);
    assert_eq!(scanner.deliveries, 0);
    assert_eq!(seen.methods, [BASIC_RETURN]);
    assert!(seen.stamps.is_empty());
}

#[test]
fn streams_that_lie_are_errors() {
    let mut good = Vec::new();
    deliver(&mut good, "c", 1, &body(0, 16));
    let mut wrong_end = good.clone();
    *wrong_end.last_mut().expect("not empty") = 0;
    let header_alone = good[good.len() - 24 - 22..].to_vec();
    let body_alone = good[good.len() - 24..].to_vec();
    let cases = [
        ("end mark", wrong_end),
        ("header first", header_alone),
        ("body first", body_alone),
        ("type", vec![9, 0, 0, 0, 0, 0, 0, FRAME_END]),
        ("length", vec![1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("no method", vec![1, 0, 0, 0, 0, 0, 2, 0, 60, FRAME_END]),
    ];
    for (what, stream) in cases {
        assert!(Scanner::default().scan(&stream, &mut Seen::default()).is_err(), "{what}");
    }
}

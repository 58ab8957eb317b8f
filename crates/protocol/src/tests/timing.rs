//! What the two hottest functions cost: `cargo test --release -p protocol timing -- --ignored --nocapture`.

use crate::deliver::put_delivery;
use crate::frame::{FrameKind, put_frame};
use crate::publish::{put_route, whole_publish};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 20_000;
const MESSAGES: u32 = 64;

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn report(name: &str, mut run: impl FnMut()) {
    let best = (0..400).map(|_| {
        let start = Instant::now();
        (0..ROUNDS / MESSAGES).for_each(|_| run());
        start.elapsed().as_nanos() as f64 / f64::from(ROUNDS / MESSAGES * MESSAGES)
    });
    println!("{name}: {:.1} ns", best.fold(f64::INFINITY, f64::min));
}

#[test]
#[ignore = "measures"]
fn timing() {
    for size in [16, 128, 1024] {
        let body = vec![7; size];
        let mut publishes = Vec::new();
        for _ in 0..MESSAGES {
            let mut method = vec![0, 60, 0, 40, 0, 0];
            put_route(&mut method, b"", b"queue-name-1");
            method.push(0);
            put_frame(&mut publishes, FrameKind::Method, 1, &method);
            let header = [&[0, 60, 0, 0][..], &(size as u64).to_be_bytes(), &[0x10, 0, 2]].concat();
            put_frame(&mut publishes, FrameKind::Header, 1, &header);
            put_frame(&mut publishes, FrameKind::Body, 1, &body);
        }
        report(&format!("whole_publish, body {size}"), || {
            let mut rest = black_box(&publishes[..]);
            while let Some((publish, used)) = whole_publish(rest, 131_072) {
                black_box(publish);
                rest = &rest[used..];
            }
        });
        let (tag, route) = (&b"amq.ctag-0123456789abcdef"[..], &b"\x00\x0cqueue-name-1"[..]);
        let mut out = Vec::with_capacity(1 << 20);
        report(&format!("put_delivery, body {size}"), || {
            out.clear();
            for delivery_tag in 0..u64::from(MESSAGES) {
                let (tag, route, body) = (black_box(tag), black_box(route), black_box(&body[..]));
                put_delivery(
                    &mut out,
                    1,
                    tag,
                    delivery_tag,
                    false,
                    route,
                    black_box(&[0x10, 0, 2]),
                    body,
                    131_072,
                );
            }
            black_box(&out);
        });
    }
}

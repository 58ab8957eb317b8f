//! Single links: order, backpressure and frames of all sizes.

use crate::certificates::Authority;
use crate::node::{LIMIT, identity, run, secret};
use bytes::Bytes;
use clustering::transport::{Link, LinkClass, LinkReader, LinkWriter, TransportConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const MIB: usize = 1024 * 1024;

fn sealed() -> TransportConfig {
    TransportConfig::new(secret())
}

fn with_tls() -> TransportConfig {
    TransportConfig { tls: Some(Authority::new().member()), ..sealed() }
}

type Ends = (LinkReader, LinkWriter);

/// Both ends of a data link: of who dialled, and of the other side.
async fn pair(config: &TransportConfig) -> (Ends, Ends) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (me, other) = (identity(1, 10), identity(2, 20));
    let accepting = async {
        let (socket, _) = listener.accept().await.unwrap();
        Link::accept(socket, &other, config, &|_, _| Ok(())).await.unwrap()
    };
    let (dialled, accepted) =
        tokio::join!(Link::dial(addr, LinkClass::Data, Some(2), &me, config), accepting);
    let (dialled, accepted) = (dialled.unwrap(), accepted);
    assert_eq!((&dialled.peer, &accepted.peer), (&other, &me));
    (dialled.split().unwrap(), accepted.split().unwrap())
}

/// The next frames, at least `count`.
async fn frames(reader: &mut LinkReader, count: usize) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while frames.len() < count {
        assert!(reader.read(&mut |frame| frames.push(frame)).await.unwrap(), "closed after {}", frames.len());
    }
    frames
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

async fn a_large_frame(config: &TransportConfig, bytes: usize) {
    let ((_reader, writer), (mut far, _writer)) = pair(config).await;
    let body = pattern(bytes);
    assert!(writer.put(|frame| frame.extend_from_slice(b"before")));
    assert!(writer.put(|frame| frame.extend_from_slice(&body)));
    assert!(writer.put(|frame| frame.extend_from_slice(b"after")));
    let start = Instant::now();
    writer.flush();
    let came = frames(&mut far, 3).await;
    assert!(came[0] == "before" && came[1] == body && came[2] == "after");
    // Copying it once for each record would take minutes.
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    assert_eq!(writer.buffered_bytes(), 0);
}

#[test]
fn a_frame_of_200_mib_passes() {
    run(a_large_frame(&sealed(), 200 * MIB));
}

#[test]
fn a_frame_of_64_mib_passes_inside_tls() {
    run(a_large_frame(&with_tls(), 64 * MIB));
}

/// Many frames both ways at once, over a link whose readers are slow at first.
async fn many_frames(config: &TransportConfig, count: u32) {
    let (one, two) = pair(config).await;
    let side = |(mut reader, writer): Ends| async move {
        let sending = tokio::spawn(async move {
            let mut most = 0;
            for at in 0..count {
                let length = (at % 300) as usize;
                assert!(writer.put(|frame| {
                    frame.extend_from_slice(&at.to_le_bytes());
                    frame.resize(frame.len() + length, at as u8);
                }));
                if at % 17 == 0 {
                    writer.flush();
                }
                if writer.is_full() {
                    most = most.max(writer.buffered_bytes());
                    writer.flush();
                    writer.room().await;
                }
            }
            writer.flush();
            writer.room().await;
            most
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut next = 0;
        while next < count {
            let mut each = |frame: Bytes| {
                assert_eq!(frame[..4], next.to_le_bytes());
                assert_eq!(frame.len(), 4 + (next % 300) as usize);
                assert!(frame[4..].iter().all(|byte| *byte == next as u8));
                next += 1;
            };
            assert!(reader.read(&mut each).await.unwrap());
        }
        let most = sending.await.unwrap();
        (most, reader)
    };
    let ((one, _near), (two, _far)) = tokio::join!(side(one), side(two));
    for most in [one, two] {
        // It was full at times, and never by more than a frame.
        assert!(most > MIB && most < MIB + 1_000, "{most}");
    }
}

#[test]
fn many_small_frames_stay_in_order_under_backpressure_both_ways() {
    run(many_frames(&sealed(), 150_000));
}

#[test]
fn and_inside_tls() {
    run(many_frames(&with_tls(), 100_000));
}

#[test]
fn frames_of_several_threads_are_whole_and_each_thread_s_are_in_order() {
    const THREADS: u8 = 4;
    const COUNT: u32 = 20_000;
    run(async {
        let ((_reader, writer), (mut far, _writer)) = pair(&sealed()).await;
        for thread in 0..THREADS {
            let writer = writer.clone();
            std::thread::spawn(move || {
                for at in 0..COUNT {
                    writer.put(|frame| {
                        frame.push(thread);
                        frame.extend_from_slice(&at.to_le_bytes());
                        frame.resize(frame.len() + (at % 50) as usize, thread);
                    });
                    if at % 3 == 0 {
                        writer.flush();
                    }
                    while writer.is_full() {
                        std::thread::sleep(Duration::from_micros(100));
                    }
                }
                writer.flush();
            });
        }
        let mut next = [0u32; THREADS as usize];
        while next.iter().any(|next| *next < COUNT) {
            let mut each = |frame: Bytes| {
                let next = &mut next[usize::from(frame[0])];
                assert_eq!(frame[1..5], next.to_le_bytes());
                assert_eq!(frame.len(), 5 + (*next % 50) as usize);
                *next += 1;
            };
            assert!(far.read(&mut each).await.unwrap());
        }
    });
}

#[test]
fn who_waits_for_room_is_called_each_time_there_is_again() {
    run(async {
        let ((_reader, writer), (mut far, _writer)) = pair(&sealed()).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let (counted, again) = (calls.clone(), writer.clone());
        writer.on_room(Box::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            assert!(again.buffered_bytes() < 256 * 1024);
            // What is called may write.
            again.put(|frame| frame.push(9));
            again.flush();
        }));
        for round in 1..=3 {
            let mut count = 0;
            while !writer.is_full() {
                writer.put(|frame| frame.resize(frame.len() + 10_000, 1));
                count += 1;
                // Nobody reads: the socket takes some, and then no more.
                writer.flush();
            }
            assert_eq!(calls.load(Ordering::SeqCst), round - 1);
            let start = Instant::now();
            let mut came = frames(&mut far, count).await.len();
            while came < count + 1 {
                assert!(start.elapsed() < LIMIT);
                came += frames(&mut far, 1).await.len();
            }
            assert_eq!((calls.load(Ordering::SeqCst), came), (round, count + 1));
        }
        writer.put(|frame| frame.push(1));
        writer.flush();
        frames(&mut far, 1).await;
        assert_eq!(calls.load(Ordering::SeqCst), 3, "it was not full");
    });
}

#[test]
fn a_closed_link_takes_nothing_and_keeps_nobody_waiting() {
    run(async {
        let ((mut reader, writer), (mut far, _writer)) = pair(&sealed()).await;
        while !writer.is_full() {
            writer.put(|frame| frame.resize(frame.len() + 10_000, 1));
            writer.flush();
        }
        let waiting = tokio::spawn({
            let writer = writer.clone();
            async move { writer.room().await }
        });
        tokio::task::yield_now().await;
        writer.close();
        waiting.await.unwrap();
        assert!(writer.is_closed() && !writer.put(|_| ()) && writer.buffered_bytes() == 0);
        assert!(!reader.read(&mut drop).await.unwrap());
        // The other side sees it end, in the middle of something or not.
        while far.read(&mut drop).await.unwrap_or(false) {}
        let ((reader, writer), (mut far, _writer)) = pair(&sealed()).await;
        drop(reader);
        assert!(writer.is_closed());
        assert!(!far.read(&mut drop).await.unwrap());
    });
}

#[test]
fn a_frame_is_put_in_whole_or_not_at_all() {
    run(async {
        let ((_reader, writer), (mut far, far_writer)) = pair(&sealed()).await;
        let fails = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            writer.put(|frame| {
                frame.extend_from_slice(b"half");
                panic!("on purpose");
            })
        }));
        assert!(fails.is_err());
        assert!(writer.put(|_| ()) && writer.put(|frame| frame.push(1)));
        writer.flush();
        assert_eq!(frames(&mut far, 2).await, [Bytes::new(), Bytes::from_static(&[1])]);
        // Who takes away what others put in has spoilt the link.
        far_writer.put(|frame| frame.push(1));
        assert!(!far_writer.put(|frame| frame.clear()) && far_writer.is_closed());
    });
}

#[test]
fn a_frame_that_is_too_long_closes_the_link() {
    run(async {
        let ((_reader, writer), (mut far, _writer)) = pair(&sealed()).await;
        assert!(!writer.put(|frame| frame.resize(frame.len() + 256 * MIB + 1, 0)));
        assert!(writer.is_closed());
        assert!(!far.read(&mut drop).await.unwrap());
    });
}

#[test]
fn small_records_work_as_well() {
    run(async {
        let config = TransportConfig { record_bytes: 100, ..sealed() };
        let ((_reader, writer), (mut far, _writer)) = pair(&config).await;
        let body = pattern(100_000);
        writer.put(|frame| frame.extend_from_slice(&body));
        writer.flush();
        assert!(frames(&mut far, 1).await[0] == body);
    });
}

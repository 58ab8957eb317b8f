//! How fast a data link is over loopback: MB/s and frames/s for several sizes of frames, and how much of a
//! processor both ends together need for a GB, which other load on the machine changes less.
//!
//! `cargo run --profile quick -p clustering --example data_link [-- SECONDS [tls]]`

use clustering::identity::{ClusterId, NodeIdentity, WIRE_VERSION};
use clustering::secret::ClusterSecret;
use clustering::transport::{Link, LinkClass, LinkReader, LinkWriter, TransportConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

#[allow(dead_code)]
#[path = "../tests/transport/certificates.rs"]
mod certificates;

/// Small frames are put in this many bytes at a time before they are flushed.
const BATCH_BYTES: usize = 64 * 1024;

fn identity(id: u64) -> NodeIdentity {
    NodeIdentity {
        id,
        name: format!("rabbit@{id}"),
        cluster: ClusterId(1),
        boot: id,
        wire: WIRE_VERSION,
        version: String::new(),
        addr: SocketAddr::from(([127, 0, 0, 1], 1)),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Both ends of a data link.
async fn links(config: &TransportConfig) -> (Link, Link) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let accepting = async {
        let (socket, _) = listener.accept().await.expect("a connection");
        Link::accept(socket, &identity(2), config, &|_, _| Ok(())).await.expect("a link")
    };
    let me = identity(1);
    let (dialled, accepted) = tokio::join!(Link::dial(addr, LinkClass::Data, None, &me, config), accepting);
    (dialled.expect("a link"), accepted)
}

/// Reads until the link closes: frames and bytes.
async fn read(mut reader: LinkReader) -> (u64, u64) {
    let (mut frames, mut bytes) = (0, 0);
    let mut each = |frame: bytes::Bytes| {
        frames += 1;
        bytes += frame.len() as u64;
    };
    while reader.read(&mut each).await.unwrap_or(false) {}
    (frames, bytes)
}

/// Writes frames until it is told to stop.
async fn write(writer: LinkWriter, frame: Vec<u8>, stop: Arc<AtomicBool>) {
    let batch = (BATCH_BYTES / frame.len()).max(1);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..batch {
            writer.put(|buffer| buffer.extend_from_slice(&frame));
        }
        writer.flush();
        if writer.is_full() {
            writer.room().await;
        }
    }
    while writer.buffered_bytes() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writer.close();
}

/// Processor time of this process so far, seconds (Linux: fields 14 and 15 of its stat, in 1/100 s).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn measure(config: &TransportConfig, frame_bytes: usize, seconds: u64) {
    let (dialled, accepted) = runtime().block_on(links(config));
    let reading = std::thread::spawn(move || {
        runtime().block_on(async { read(accepted.split().expect("the link's ends").0).await })
    });
    let stop = Arc::new(AtomicBool::new(false));
    let (start, used) = (Instant::now(), processor_seconds());
    let writing = std::thread::spawn({
        let stop = stop.clone();
        move || {
            runtime().block_on(async {
                let (reader, writer) = dialled.split().expect("the link's ends");
                let nothing = tokio::spawn(read(reader));
                write(writer, vec![7; frame_bytes], stop).await;
                let _ = nothing.await;
            });
        }
    });
    std::thread::sleep(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    writing.join().expect("the writing thread");
    let (frames, bytes) = reading.join().expect("the reading thread");
    let took = start.elapsed().as_secs_f64();
    let (rate, frames_rate) = (bytes as f64 / took / 1e6, frames as f64 / took);
    let used = (processor_seconds() - used) / (bytes as f64 / 1e9);
    let rates = format!("{rate:>6.0} MB/s {frames_rate:>10.0} frames/s");
    println!("frames of {frame_bytes:>7} bytes: {rates} {used:>6.2} processor s/GB");
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut config = TransportConfig::new(ClusterSecret::new("correct horse battery").expect("a secret"));
    if arguments.iter().any(|argument| argument == "tls") {
        config.tls = Some(certificates::Authority::new().member());
    }
    for frame_bytes in [100, 1_000, 16_000, 250_000, 4_000_000] {
        measure(&config, frame_bytes, seconds);
    }
}

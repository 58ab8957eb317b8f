//! Writes the first corpus of every target: `cargo run --example seeds` in this directory.

use bytes::Bytes;
use protocol::Method;
use protocol::deliver::{put_ack, put_body, put_content_header, put_deliver, put_nack};
use protocol::frame::{FrameKind, PROTOCOL_HEADER, put_frame, put_heartbeat};
use protocol::publish::put_route;
use std::fs;
use types::properties::OwnedProperties;
use types::{FieldTable, FieldValue};

fn keep(target: &str, name: &str, bytes: &[u8]) {
    let folder = format!("{}/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(&folder).expect("the corpus folder can be made");
    fs::write(format!("{folder}/{name}"), bytes).expect("the seed can be written");
}

/// Logs as the storage wrote them, and with their checksums made right by the target.
fn logs() {
    for which in ["good", "torn", "flipped", "newer"] {
        let manifest = env!("CARGO_MANIFEST_DIR");
        let path = format!("{manifest}/../crates/storage/tests/fixtures/wal-v1-{which}.wal");
        let file = fs::read(path).expect("the fixture is there");
        for mend in 0..4 {
            keep("wal", &format!("{which}-{mend}"), &[&[mend], &file[..1024]].concat());
        }
    }
}

fn table() -> FieldTable {
    let inner: FieldTable = [("k", FieldValue::Void), ("n", FieldValue::I8(-3))].into_iter().collect();
    [
        ("bool", FieldValue::Bool(true)),
        ("u8", FieldValue::U8(200)),
        ("i16", FieldValue::I16(-300)),
        ("u16", FieldValue::U16(60_000)),
        ("i32", FieldValue::I32(-70_000)),
        ("u32", FieldValue::U32(4_000_000_000)),
        ("i64", FieldValue::I64(i64::MIN)),
        ("f32", FieldValue::F32(1.5)),
        ("f64", FieldValue::F64(-2.25)),
        ("decimal", FieldValue::Decimal(2, 12_345)),
        ("text", FieldValue::text("text")),
        ("octets", FieldValue::Binary(Bytes::from_static(&[0, 255]))),
        ("array", FieldValue::Array(vec![FieldValue::I32(1), FieldValue::Table(inner.clone())])),
        ("time", FieldValue::Timestamp(1_700_000_000)),
        ("table", FieldValue::Table(inner)),
    ]
    .into_iter()
    .collect()
}

fn methods() -> Vec<Method> {
    let (ticket, nowait) = (0, false);
    let text = String::from;
    vec![
        Method::ConnectionStartOk {
            client_properties: table(),
            mechanism: text("PLAIN"),
            response: Bytes::from_static(b"\0guest\0guest"),
            locale: text("en_US"),
        },
        Method::ConnectionTuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 60 },
        Method::ConnectionOpen { virtual_host: text("/") },
        Method::ChannelOpen,
        Method::ConnectionClose { reply_code: 200, reply_text: text("bye"), class_id: 0, method_id: 0 },
        Method::ExchangeDeclare {
            ticket,
            exchange: text("e"),
            kind: text("topic"),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait,
            arguments: table(),
        },
        Method::QueueDeclare {
            ticket,
            queue: text("q"),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait,
            arguments: table(),
        },
        Method::QueueBind {
            ticket,
            queue: text("q"),
            exchange: text("e"),
            routing_key: text("a.#"),
            nowait,
            arguments: FieldTable::new(),
        },
        Method::BasicConsume {
            ticket,
            queue: text("q"),
            consumer_tag: text("t"),
            no_local: false,
            no_ack: true,
            exclusive: false,
            nowait,
            arguments: FieldTable::new(),
        },
        Method::BasicQos { prefetch_size: 0, prefetch_count: 10, global: false },
        Method::BasicAck { delivery_tag: 1, multiple: true },
        Method::BasicNack { delivery_tag: 2, multiple: false, requeue: true },
        Method::BasicReject { delivery_tag: 3, requeue: false },
        Method::ConfirmSelect { nowait },
        Method::TxCommit,
    ]
}

fn publish(channel: u16, properties: &[u8], body: &[u8]) -> Vec<u8> {
    let mut method = vec![0, 60, 0, 40, 0, 0];
    put_route(&mut method, b"ex", b"key");
    method.push(1);
    let mut out = Vec::new();
    put_frame(&mut out, FrameKind::Method, channel, &method);
    put_content_header(&mut out, channel, properties, body.len() as u64);
    put_body(&mut out, channel, body, 16);
    out
}

/// The files that the broker's own tests keep.
fn keep_catalog_forms() {
    let snapshot = include_bytes!("../../crates/broker/tests/fixtures/catalog-v1.snapshot");
    keep("catalog", "snapshot", snapshot);
    let mut commands: &[u8] = include_bytes!("../../crates/broker/tests/fixtures/commands-v1.bin");
    while let Some((length, rest)) = commands.split_first_chunk::<4>() {
        let (command, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        // One of each sort: the second byte says which.
        keep("catalog", &format!("command-{}", command[1]), command);
        commands = rest;
    }
    keep("catalog", "empty", &[1, 0, 0, 0, 0, 0]);
}

/// The log, the snapshot and the chunk that the broker's tests keep, as the parts that the target takes.
fn keep_queue_logs() {
    let read = |name: &str| {
        let path = format!("{}/../crates/broker/tests/fixtures/{name}.bin", env!("CARGO_MANIFEST_DIR"));
        fs::read(path).expect("the fixture is there")
    };
    let part = |kind: u8, bytes: &[u8]| [&[kind][..], &(bytes.len() as u16).to_le_bytes(), bytes].concat();
    let mut parts = Vec::new();
    let log = read("queue-log-v1");
    let mut rest = log.as_slice();
    let mut next = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (bytes, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        rest = behind;
        Some(bytes)
    };
    while let (Some(head), Some(chunk)) = (next(), next()) {
        if !chunk.is_empty() {
            parts.extend(part(0, chunk));
        }
        parts.extend(part(2, head));
    }
    let snapshot = part(1, &read("queue-snapshot-v1"));
    for settings in [0, 31] {
        keep("queue_log", &format!("log-{settings}"), &[&[settings][..], &parts].concat());
        keep("queue_log", &format!("snapshot-{settings}"), &[&[settings][..], &parts, &snapshot].concat());
    }
    keep("queue_log", "lost-block", &[&[0][..], &parts, &part(3, &[])].concat());
}

fn main() {
    logs();
    keep_queue_logs();
    let mut encoded = Vec::new();
    table().encode(&mut encoded);
    keep("table", "every-type", &encoded);
    keep("table", "empty", &[0; 4]);

    let mut start = PROTOCOL_HEADER.to_vec();
    for (place, method) in methods().into_iter().enumerate() {
        let mut frame = Vec::new();
        method.put(&mut frame, u16::from(place > 2));
        keep("method", method.name(), &frame[7..frame.len() - 1]);
        keep("frame", method.name(), &frame);
        if place < 3 {
            start.extend_from_slice(&frame);
        }
    }
    keep("handshake", "plain", &start);
    keep("handshake", "header", &PROTOCOL_HEADER);

    let short = |text: &str| Some(Box::<[u8]>::from(text.as_bytes()));
    let full = OwnedProperties {
        content_type: short("text/plain"),
        headers: Some(table()),
        delivery_mode: Some(2),
        priority: Some(5),
        correlation_id: short("c"),
        expiration: short("1000"),
        timestamp: Some(1),
        user_id: short("guest"),
        ..OwnedProperties::default()
    };
    keep("properties", "some", &full.encode());
    keep("properties", "none", &[0, 0]);

    keep("content", "empty", &publish(1, &[0, 0], b""));
    keep("content", "one-frame", &publish(1, &[0x10, 0, 2], b"hello"));
    keep("content", "frames", &publish(1, &full.encode(), b"hello, hello, hello"));

    keep_catalog_forms();

    let mut out = Vec::new();
    put_heartbeat(&mut out);
    put_deliver(&mut out, 1, b"tag", 1, false, b"\x02ex\x03key");
    put_ack(&mut out, 1, 1, false);
    put_nack(&mut out, 1, 1, false, true);
    keep("frame", "mixed", &out);

    for name in
        ["blocks-v1-good", "blocks-v1-flipped", "blocks-v1-short", "blocks-v1-head", "blocks-v2-newer"]
    {
        keep("block", name, &block_seed(name));
    }
}

/// The first block of a fixture, as the target takes it: log, location, file.
fn block_seed(name: &str) -> Vec<u8> {
    let path = format!("{}/../crates/storage/tests/fixtures/{name}.blk", env!("CARGO_MANIFEST_DIR"));
    let mut seed = 1_u64.to_le_bytes().to_vec();
    seed.extend_from_slice(&storage::Location { file: 7, offset: 32, length: 48 }.encode());
    seed.extend(fs::read(&path).expect("the fixture can be read"));
    seed
}

//! The data directory: one broker at a time, and no start on what cannot be read, unless the operator says
//! so.

use integration_tests::{Broker, Channel, WAIT, persistent, wait_for, with_restarts};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files of a directory under the data directory whose names end so, in order.
fn files(data_dir: &Path, below: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir.join(below)).expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    files.sort();
    files
}

/// Where in the write-ahead log some bytes are.
fn find_in_log(data_dir: &Path, wanted: &[u8]) -> (PathBuf, u64) {
    let found = files(data_dir, "wal", ".wal").into_iter().find_map(|path| {
        let bytes = std::fs::read(&path).expect("a file of the log");
        let at = bytes.windows(wanted.len()).position(|part| part == wanted)?;
        Some((path, at as u64))
    });
    found.expect("the log has these bytes")
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).expect("the file opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x20], at).expect("it is written");
}

#[track_caller]
fn one_line(text: &str, words: &[&str]) {
    assert_eq!(text.lines().count(), 1, "{text}");
    for word in words {
        assert!(text.contains(word), "it must name {word}: {text}");
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_second_broker_on_the_same_directory_gives_up() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        channel.publish_persistent("", "q", "m").await;
        let dir = broker.data_dir().to_owned();
        one_line(&Broker::refusal_in(&dir, &[]), &[&name(&dir), "in use by another broker"]);
        one_line(&Broker::refusal_in(&dir, &["--accept-damage"]), &[&name(&dir), "in use"]);
        // The first one did not notice.
        channel.publish_persistent("", "q", "n").await;
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.bodies("q").await, ["m", "n"]);
    });
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let scratch = std::env::temp_dir().join(format!("leveret-unusable-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("a directory");
    let file = scratch.join("file");
    std::fs::write(&file, "not a directory").expect("a file");
    one_line(&Broker::refusal_in(&file, &[]), &["data-dir", &name(&file)]);
    let below = file.join("below");
    one_line(&Broker::refusal_in(&below, &[]), &["data-dir", &name(&below)]);
    // Something else stands where the broker has to write.
    for (taken, kind) in [("lock", "directory"), ("wal", "file"), ("blocks", "file"), ("paged", "file")] {
        let dir = scratch.join(format!("with-{taken}"));
        std::fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join(taken);
        match kind {
            "directory" => std::fs::create_dir(&path).expect("a directory"),
            _ => std::fs::write(&path, "").expect("a file"),
        }
        one_line(&Broker::refusal_in(&dir, &[]), &[&name(&path)]);
    }
    std::fs::remove_dir_all(scratch).expect("it goes");
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _: u32| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn files_of_a_newer_format_are_refused_and_left_alone() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        channel.publish_persistent("", "q", "m").await;
        broker.end(libc::SIGTERM);
        let dir = broker.data_dir().to_owned();
        let log = files(&dir, "wal", ".wal").pop().expect("a file of the log");
        let good = std::fs::read(&log).expect("its bytes");
        let mut newer = good.clone();
        newer[8..12].copy_from_slice(&9u32.to_le_bytes());
        newer[12..16].fill(0);
        let checksum = crc32c(&newer[..128]);
        newer[12..16].copy_from_slice(&checksum.to_le_bytes());
        std::fs::write(&log, &newer).expect("it is written");
        for flags in [&[][..], &["--accept-damage"]] {
            one_line(&Broker::refusal_in(&dir, flags), &[&name(&log), "format version 9", "knows version 1"]);
            assert!(std::fs::read(&log).expect("its bytes") == newer, "nothing was changed");
        }
        std::fs::write(&log, &good).expect("it is written");
        broker.start_again(&[]);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.bodies("q").await, ["m"]);
    });
}

#[test]
fn damage_of_the_log_is_refused_until_it_is_accepted() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        for number in 0..30 {
            channel.publish_persistent("", "q", &format!("<message {number}>")).await;
        }
        broker.end(libc::SIGKILL);
        let dir = broker.data_dir().to_owned();
        let (log, at) = find_in_log(&dir, b"<message 17>");
        flip(&log, at);
        one_line(&Broker::refusal_in(&dir, &[]), &[&name(&log), "is damaged at byte", "--accept-damage"]);
        broker.start_again(&["--accept-damage"]);
        assert!(broker.log().contains("data are lost") && broker.log().contains(&name(&log)), "it tells");
        let channel = broker.connect().await.confirm_channel().await;
        let found = channel.bodies("q").await;
        let expected: Vec<String> =
            (0..30).filter(|number| *number != 17).map(|number| format!("<message {number}>")).collect();
        assert_eq!(found, expected);
        channel.publish_persistent("", "q", "new").await;
        // What was accepted is not asked about again.
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.bodies("q").await.last().map(String::as_str), Some("new"));
    });
}

#[test]
fn what_was_being_written_when_the_broker_was_killed_is_no_damage() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        for number in 0..10 {
            channel.publish_persistent("", "q", &format!("<message {number}>")).await;
        }
        broker.end(libc::SIGKILL);
        let (log, at) = find_in_log(broker.data_dir(), b"<message 9>");
        flip(&log, at);
        broker.start_again(&[]);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.depth("q").await, 9);
    });
}

/// A queue of which much is in blocks.
async fn paged_queue(broker: &Broker) {
    let channel: Channel = broker.connect().await.confirm_channel().await;
    channel.durable_queue("q").await;
    let body = vec![b'x'; 50_000];
    for number in 0..400u32 {
        let body = [number.to_string().as_bytes(), &body].concat();
        let options = Default::default();
        channel.basic_publish("".into(), "q".into(), options, &body, persistent()).await.expect("it is sent");
    }
    channel.wait_for_confirms().await.expect("all are confirmed");
    wait_for(WAIT, "blocks", async || {
        let blocks = files(broker.data_dir(), "blocks", ".blk");
        let length = |path: &PathBuf| std::fs::metadata(path).map_or(0, |data| data.len());
        blocks.iter().map(length).sum::<u64>() > 12_000_000
    })
    .await;
    // The log says so, since a confirm of the same queue comes later.
    channel.publish_persistent("", "q", "last").await;
}

#[test]
fn a_lost_block_file_is_refused_until_it_is_accepted() {
    const FLAGS: [&str; 2] = ["--message-memory", "2000000"];
    with_restarts(&FLAGS, async |broker| {
        paged_queue(broker).await;
        broker.end(libc::SIGKILL);
        let dir = broker.data_dir().to_owned();
        let block = files(&dir, "blocks", ".blk").remove(0);
        std::fs::remove_file(&block).expect("it goes");
        let file = block.file_name().expect("a name").to_string_lossy().into_owned();
        one_line(&Broker::refusal_in(&dir, &FLAGS), &["queue 'q' in vhost '/'", &file, "--accept-damage"]);
        broker.start_again(&[&FLAGS[..], &["--accept-damage"]].concat());
        assert!(broker.log().contains("messages are lost: queue 'q'"), "it tells");
        let channel = broker.connect().await.channel().await;
        let bodies = channel.bodies("q").await;
        assert!(!bodies.is_empty() && bodies.len() < 401, "some are lost: {}", bodies.len());
        assert_eq!(bodies.last().map(String::as_str), Some("last"));
        let numbers = bodies[..bodies.len() - 1].iter().map(|body| body.trim_end_matches('x').parse::<u32>());
        let numbers: Vec<u32> = numbers.map(|number| number.expect("a number")).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "the rest is in order: {numbers:?}");
    });
}

//! Files that version 1 of the formats wrote: they have to be read for ever, and broken ones refused.
//!
//! `cargo test -p broker --test catalog_fixtures -- --ignored` writes them anew. That is right only while no
//! released version has written this format.

mod catalog;

use broker::catalog::{Catalog, Command};
use catalog::every::commands;
use catalog::picture::assert_same;
use std::path::PathBuf;

const SNAPSHOT: &[u8] = include_bytes!("fixtures/catalog-v1.snapshot");
const COMMANDS: &[u8] = include_bytes!("fixtures/commands-v1.bin");
/// As `catalog-v1.snapshot`, but a queue has another name than the bindings to it say.
const LOST_QUEUE: &[u8] = include_bytes!("fixtures/catalog-v1-lost-queue.snapshot");
/// As `catalog-v1.snapshot`, but of a format that is not known.
const NEWER: &[u8] = include_bytes!("fixtures/catalog-v99.snapshot");
/// As `commands-v1.bin`, but each command lacks its last byte.
const CUT_COMMANDS: &[u8] = include_bytes!("fixtures/commands-v1-cut.bin");

fn every_command() -> Vec<Command> {
    let mut commands = commands();
    commands.push(Command::Restart);
    commands
}

fn known_catalog() -> Catalog {
    let mut catalog = Catalog::new();
    for command in commands() {
        catalog.apply(command, &mut Vec::new()).unwrap();
    }
    catalog
}

fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes
}

/// One command after the other, each with its length in four bytes before it.
fn joined(commands: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let with_length = |bytes: Vec<u8>| [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat();
    commands.flat_map(with_length).collect()
}

fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (part, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        parts.push(part);
        bytes = rest;
    }
    assert!(bytes.is_empty());
    parts
}

fn place_of(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

#[test]
#[ignore = "writes the fixtures"]
fn write_fixtures() {
    let write = |name: &str, bytes: &[u8]| {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name].iter().collect();
        std::fs::write(path, bytes).unwrap();
    };
    let snapshot = known_catalog().encode();
    write("catalog-v1.snapshot", &snapshot);
    write("commands-v1.bin", &joined(every_command().iter().map(encoded)));
    let cut = |command: &Command| {
        let mut bytes = encoded(command);
        bytes.pop();
        bytes
    };
    write("commands-v1-cut.bin", &joined(every_command().iter().map(cut)));
    let mut lost = snapshot.clone();
    let at = place_of(&lost, b"\x07passing");
    lost[at + 7] = b'G';
    write("catalog-v1-lost-queue.snapshot", &lost);
    let mut newer = snapshot;
    newer[0] = 99;
    write("catalog-v99.snapshot", &newer);
}

#[test]
fn the_snapshot_of_version_1_is_the_known_catalog() {
    assert_same(&Catalog::decode(SNAPSHOT).unwrap(), &known_catalog());
}

#[test]
fn the_commands_of_version_1_are_the_known_ones() {
    let decoded: Vec<Command> =
        split(COMMANDS).into_iter().map(|bytes| Command::decode(bytes).unwrap()).collect();
    assert_eq!(decoded, every_command());
}

#[test]
fn a_change_of_what_is_written_needs_a_new_version() {
    assert!(known_catalog().encode() == SNAPSHOT, "the snapshot's bytes changed");
    assert!(joined(every_command().iter().map(encoded)) == COMMANDS, "the bytes of a command changed");
}

#[test]
fn a_binding_whose_queue_is_lost_is_refused() {
    let error = Catalog::decode(LOST_QUEUE).unwrap_err();
    assert!(error.reason.starts_with("no queue 'passing' in vhost 'v'"), "{error}");
    // The place is that of the binding: the row begins with the sort of destination and the name.
    assert!(LOST_QUEUE[error.at..].starts_with(b"\0\x07passing"), "{error}");
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let error = Catalog::decode(NEWER).unwrap_err();
    assert_eq!(error.to_string(), "a catalog of format 99, known is format 1 at byte 0");
}

#[test]
fn cut_commands_are_refused() {
    for bytes in split(CUT_COMMANDS) {
        assert!(Command::decode(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_snapshot_that_is_cut_or_too_long_is_refused() {
    for end in (0..SNAPSHOT.len()).step_by(3) {
        let error = Catalog::decode(&SNAPSHOT[..end]).expect_err("a part is not the whole");
        assert!(error.at <= end, "{error}");
    }
    let longer = [SNAPSHOT, &[0]].concat();
    let told = Catalog::decode(&longer).unwrap_err().to_string();
    assert_eq!(told, format!("1 bytes too many at byte {}", SNAPSHOT.len()));
}

/// The snapshot with the bytes `wanted`, where they stand first, replaced.
fn patched(wanted: &[u8], by: &[u8]) -> Vec<u8> {
    let at = place_of(SNAPSHOT, wanted);
    [&SNAPSHOT[..at], by, &SNAPSHOT[at + wanted.len()..]].concat()
}

#[test]
fn rows_that_cannot_be_are_refused() {
    let id = known_catalog().vhost("v").unwrap().queue("passing").unwrap().id.0 as u8;
    let passing = |id: u8, durable: u8| [b"\x07passing", &[id, durable][..]].concat();
    for (bytes, reason) in [
        (patched(&passing(id, 0), &passing(0, 0)), "queue id 0 twice or not in 1 to"),
        (patched(&passing(id, 0), &passing(127, 0)), "queue id 127 twice or not in 1 to"),
        (patched(&passing(id, 0), &passing(1, 0)), "queue id 1 twice or not in 1 to"),
        (patched(&passing(id, 0), &passing(id, 7)), "7 is neither yes nor no"),
        (patched(b"\x07passing", b"\x07a......"), "a row twice or out of order"),
        (patched(b"\x09amq.gen-1\x05\0", b"\x09amq.gen-1\x05\x01"), "an exclusive queue that is durable"),
        (patched(b"^(?!amq", b"^(((amq"), "invalid regular expression '^(((amq"),
        (patched(b"\x07delayed\x09\x02", b"\x07delayed\x09\x09"), "a delayed exchange within a delayed one"),
        (patched(b"\x07delayed\x09\x02", b"\x07delayed\x63\x02"), "unknown exchange type 99"),
        (patched(b"passing\x03a.*", b"passing\x03a.\xff"), ""),
    ] {
        match Catalog::decode(&bytes) {
            Err(error) => {
                assert!(!reason.is_empty() && error.reason.starts_with(reason), "{error}: {reason}")
            }
            // Routing keys may hold any bytes.
            Ok(_) => assert_eq!(reason, ""),
        }
    }
    let version = known_catalog().version;
    let mut older = SNAPSHOT.to_vec();
    assert_eq!(u64::from(older[1]), version, "one byte holds it");
    older[1] = 0;
    let told = Catalog::decode(&older).unwrap_err().to_string();
    assert!(told.starts_with("exchange of version"), "{told}");
}

#[test]
fn a_broken_byte_is_refused_or_makes_another_whole_catalog() {
    let mut refused = 0;
    for at in (0..SNAPSHOT.len()).step_by(7) {
        let mut bytes = SNAPSHOT.to_vec();
        bytes[at] ^= 0x81;
        match Catalog::decode(&bytes) {
            Err(error) => {
                refused += 1;
                assert!(error.at <= bytes.len());
            }
            Ok(catalog) => {
                let again = catalog.encode();
                assert_eq!(Catalog::decode(&again).unwrap().encode(), again);
            }
        }
    }
    assert!(refused > 50, "{refused}");
}

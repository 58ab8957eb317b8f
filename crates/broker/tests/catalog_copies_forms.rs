//! The on-disk forms of copies: steps as commands, and the snapshot of a cluster with mirrored queues.
//!
//! `cargo test -p broker --test catalog_copies_forms -- --ignored` writes the fixtures anew. That is right only
//! while no released version has written this format.

mod catalog;

use broker::catalog::copies::{Copies, CopyChange, CopyStep};
use broker::catalog::{Catalog, Command, Queue};
use catalog::mirrored::*;
use catalog::picture::assert_same;
use std::path::PathBuf;
use std::sync::Arc;
use types::{NodeId, QueueId};

const SNAPSHOT: &[u8] = include_bytes!("fixtures/catalog-v3.snapshot");
const COMMANDS: &[u8] = include_bytes!("fixtures/commands-v1-copies.bin");

/// A cluster of four with queues of all sorts, each with copies of its own.
fn mixed() -> Catalog {
    let mut catalog = cluster(4);
    let commands =
        [all(), durable(1, "m"), transient(2, "m passing"), quorum(3, "q", None), durable(4, "plain")];
    commands.into_iter().for_each(|command| drop(apply(&mut catalog, command)));
    assert!(step(&mut catalog, "m", CopyStep::LeaveSync(NodeId(3))));
    assert!(step(&mut catalog, "q", CopyStep::SetMinimum(3)));
    apply(&mut catalog, lost(2, 20));
    catalog
}

fn every_step() -> Vec<CopyStep> {
    let node = NodeId(u64::MAX);
    vec![
        CopyStep::Start,
        CopyStep::Stop,
        CopyStep::AddMirror(node),
        CopyStep::DropMirror(node),
        CopyStep::JoinSync(node),
        CopyStep::LeaveSync(node),
        CopyStep::SetMinimum(u32::MAX),
        CopyStep::HandOver(node),
    ]
}

/// A command for each step, one with all of them, one with none.
fn commands() -> Vec<Command> {
    let change = |step| CopyChange {
        vhost: "v".into(),
        name: "m".into(),
        queue: QueueId(300),
        epoch: 7_000,
        version: 2,
        step,
    };
    let changes: Vec<CopyChange> = every_step().into_iter().map(change).collect();
    let single = changes.iter().map(|change| Command::ChangeCopies { changes: vec![change.clone()] });
    let mut commands: Vec<Command> = single.collect();
    commands.push(Command::ChangeCopies { changes });
    commands.push(Command::ChangeCopies { changes: Vec::new() });
    commands
}

fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat()
}

fn joined() -> Vec<u8> {
    commands().iter().flat_map(encoded).collect()
}

#[test]
#[ignore = "writes the fixtures"]
fn write_fixtures() {
    let write = |name: &str, bytes: &[u8]| {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name].iter().collect();
        std::fs::write(path, bytes).unwrap();
    };
    write("catalog-v3.snapshot", &mixed().encode());
    write("commands-v1-copies.bin", &joined());
}

#[test]
fn the_snapshot_with_copies_is_the_known_one() {
    let read = Catalog::decode(SNAPSHOT).unwrap();
    assert_eq!(read.encode(), SNAPSHOT, "the snapshot's bytes changed");
    assert_eq!(picture(&read, "m"), "1 mirrors 2 3 4, in sync 1 2 4, 3 needed");
    assert_eq!(picture(&read, "m passing"), "1 mirrors 2 3 4, in sync 1 3 4, 3 needed");
    assert_eq!(picture(&read, "q"), "3 mirrors 1 2, in sync 1 2 3, 3 needed");
    assert_eq!(picture(&read, "plain"), "4 alone");
    let Copies { epoch, boot, version, .. } = copies(&read, "m passing");
    assert_eq!((epoch, boot, version), (13, 10, 2));
    // What goes through bytes is what it was.
    assert_same(&Catalog::decode(&mixed().encode()).unwrap(), &mixed());
    for end in 0..SNAPSHOT.len() {
        Catalog::decode(&SNAPSHOT[..end]).expect_err("a part is not the whole");
    }
}

#[test]
fn a_cluster_without_copies_has_the_form_that_older_nodes_read() {
    let mut catalog = cluster(2);
    apply(&mut catalog, durable(1, "m"));
    assert_eq!(catalog.encode()[0], 2);
    apply(&mut catalog, all());
    assert_eq!(catalog.encode()[0], 2);
    settle(&mut catalog);
    assert_eq!(catalog.encode()[0], 3);
}

#[test]
fn the_steps_are_the_known_ones() {
    assert_eq!(joined(), COMMANDS);
    for command in commands() {
        let bytes = encoded(&command);
        assert_eq!(Command::decode(&bytes[4..]).unwrap(), command);
        assert_eq!(bytes[5], 33);
        for end in 4..bytes.len() {
            Command::decode(&bytes[4..end]).expect_err("a part is not the whole");
        }
    }
}

#[test]
fn a_step_that_is_not_known_and_a_minimum_without_end_are_refused() {
    let one = |step| {
        let Command::ChangeCopies { mut changes } = commands().swap_remove(0) else { panic!() };
        changes[0].step = step;
        encoded(&Command::ChangeCopies { changes })[4..].to_vec()
    };
    let mut bytes = one(CopyStep::Start);
    *bytes.last_mut().unwrap() = 8;
    let error = Command::decode(&bytes).unwrap_err();
    assert_eq!(error.reason, "unknown step 8 of a queue's copies");
    let mut bytes = one(CopyStep::SetMinimum(u32::MAX));
    // Of five bytes of seven bits the last one has four.
    *bytes.last_mut().unwrap() = 0x1F;
    let error = Command::decode(&bytes).unwrap_err();
    assert!(error.reason.ends_with("is too high"), "{error}");
}

/// The snapshot of a catalog in which a row's copies are other ones.
fn with_copies(change: impl Fn(&mut Copies)) -> String {
    with_row("m", |row| change(Arc::make_mut(row.copies.as_mut().unwrap())))
}

fn with_row(name: &str, change: impl Fn(&mut Queue)) -> String {
    let mut catalog = mixed();
    let vhost = Arc::make_mut(catalog.vhosts.get_mut(VHOST).unwrap());
    change(Arc::make_mut(vhost.queues.get_mut(name).unwrap()));
    Catalog::decode(&catalog.encode()).expect_err("it cannot be").reason.into_owned()
}

#[test]
fn copies_that_cannot_be_are_refused() {
    let nodes = |ids: &[u64]| nodes(ids);
    for (reason, why) in [
        (with_copies(|copies| copies.epoch = 0), "an epoch that was not given"),
        (with_copies(|copies| copies.epoch = 1_000), "an epoch that was not given"),
        (with_copies(|copies| copies.version = 0), "a number that is 0"),
        (with_copies(|copies| copies.min_in_sync = 0), "a number that is 0"),
        (with_copies(|copies| copies.mirrors = nodes(&[3, 2, 4])), "nodes twice or out of order"),
        (with_copies(|copies| copies.in_sync = nodes(&[1, 1])), "nodes twice or out of order"),
        (with_copies(|copies| copies.mirrors = nodes(&[2, 4, 9])), "a mirror on no node of the cluster"),
        (with_copies(|copies| copies.mirrors = nodes(&[1, 2, 4])), "the home is a mirror"),
        (with_copies(|copies| copies.in_sync = nodes(&[2, 4])), "others in sync than have copies"),
        (with_copies(|copies| copies.mirrors = nodes(&[2])), "others in sync than have copies"),
        (
            with_row("m passing", |row| row.exclusive = Some(types::ConnectionId(1))),
            "an exclusive queue has none",
        ),
    ] {
        assert!(reason.starts_with("copies of queue id ") && reason.ends_with(why), "{reason}, not {why}");
    }
}

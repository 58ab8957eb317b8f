//! Commands and catalogs as bytes: what is written comes back, and goes on as if it had never been away.

mod catalog;

use broker::catalog::{Catalog, Command};
use catalog::any::{any_beginning, any_command};
use catalog::every::{add_vhost, binding, commands, to_queue};
use catalog::picture::{assert_same, durable_rows, routes};
use proptest::prelude::*;
use std::collections::BTreeSet;
use types::FieldTable;

fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes
}

fn every_command() -> Vec<Command> {
    let mut commands = commands();
    commands.push(Command::Restart);
    commands
}

fn full_catalog() -> Catalog {
    let mut catalog = Catalog::new();
    for command in commands() {
        catalog
            .apply(command.clone(), &mut Vec::new())
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
    catalog
}

#[test]
fn every_command_comes_back() {
    let mut numbers = BTreeSet::new();
    for command in every_command() {
        let bytes = encoded(&command);
        assert_eq!(bytes[0], 1);
        numbers.insert(bytes[1]);
        assert_eq!(Command::decode(&bytes).unwrap(), command);
        for end in 0..bytes.len() {
            assert!(Command::decode(&bytes[..end]).is_err(), "{command:?} cut at {end}");
        }
    }
    assert_eq!(numbers, (1..=27).collect());
}

#[test]
fn encoding_appends() {
    let mut bytes = vec![9];
    Command::Restart.encode(&mut bytes);
    assert_eq!(bytes, [9, 1, 27]);
}

#[test]
fn the_drawn_command_has_the_drawn_bytes() {
    let binding = binding("amq.direct", to_queue("q"), "k", FieldTable::new());
    let bytes = encoded(&Command::Bind { vhost: "/".into(), binding });
    assert_eq!(bytes, b"\x01\x19\x01/\x0aamq.direct\x00\x01q\x01k\0\0\0\0");
}

#[test]
fn a_refused_command_says_what_and_where() {
    let told = |bytes: &[u8]| Command::decode(bytes).unwrap_err().to_string();
    assert_eq!(told(&[]), "cut short at byte 0");
    assert_eq!(told(&[2, 27]), "a command of format 2, known is format 1 at byte 0");
    assert_eq!(told(&[1, 99]), "unknown command 99 at byte 1");
    assert_eq!(told(&[1, 27, 0]), "1 bytes too many at byte 2");
    assert_eq!(told(&[1, 2, 2, b'a', 0xff]), "text is not UTF-8 at byte 2");
    let mut long = vec![1, 2, 0x80, 2];
    long.extend([b'a'; 256]);
    assert_eq!(told(&long), "name of 256 bytes, 255 are the most at byte 2");
    // A count that the rest could never hold sets no memory aside.
    let tags = [1, 6, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert_eq!(told(&tags), "18446744073709551615 things announced, room for 0 at byte 4");
}

#[test]
fn a_full_catalog_comes_back() {
    let catalog = full_catalog();
    let bytes = catalog.encode();
    assert_eq!(bytes[0], 1);
    let back = Catalog::decode(&bytes).unwrap();
    assert_same(&catalog, &back);
    assert!(routes(&catalog).iter().filter(|routes| !routes.queues.is_empty()).count() > 50);
}

#[test]
fn an_empty_catalog_comes_back() {
    assert_same(&Catalog::new(), &Catalog::decode(&Catalog::new().encode()).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_command_comes_back(command in any_command()) {
        prop_assert_eq!(Command::decode(&encoded(&command)).unwrap(), command);
    }

    #[test]
    fn a_catalog_that_was_away_goes_on_the_same(
        beginning in any_beginning(),
        commands in prop::collection::vec((any_command(), prop::bool::weighted(0.15)), 1..60),
    ) {
        let mut catalog = Catalog::new();
        catalog.apply(add_vhost("/"), &mut Vec::new()).unwrap();
        for command in beginning {
            let _ = catalog.apply(command, &mut Vec::new());
        }
        let mut twin = catalog.clone();
        for (command, goes_away) in commands {
            if goes_away {
                twin = Catalog::decode(&twin.encode()).unwrap();
            }
            let (mut events, mut twin_events) = (Vec::new(), Vec::new());
            let is_durable = command.is_durable(&catalog);
            let before = (!is_durable).then(|| durable_rows(&catalog));
            let outcome = catalog.apply(command.clone(), &mut events);
            let same_command = Command::decode(&encoded(&command)).unwrap();
            prop_assert_eq!(&outcome, &twin.apply(same_command, &mut twin_events));
            prop_assert_eq!(events, twin_events);
            prop_assert_eq!(catalog.encode(), twin.encode());
            prop_assert_eq!(routes(&catalog), routes(&twin));
            if let Some(before) = before {
                prop_assert_eq!(before, durable_rows(&catalog), "{:?}", command);
            }
        }
        assert_same(&catalog, &Catalog::decode(&catalog.encode()).unwrap());
        assert_same(&catalog, &twin);
    }
}

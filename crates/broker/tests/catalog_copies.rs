//! Copies of mirrored queues: what is wanted of them, what a declare begins with, which steps fit, and what
//! becomes of them when nodes come and go.

mod catalog;

use broker::catalog::copies::{CopyStep, Wanted, balancing_steps, next_steps};
use broker::catalog::{Catalog, Command, Event, Node, Remains};
use catalog::every::table;
use catalog::mirrored::*;
use types::{FieldValue, NodeId};

fn wanted(catalog: &Catalog, name: &str) -> (Vec<u64>, u32) {
    let Wanted { nodes, min_in_sync, .. } = catalog.wanted_copies(&row(catalog, name));
    (nodes.iter().map(|node| node.0).collect(), min_in_sync)
}

fn asked(catalog: &mut Catalog, definition: &[(&str, FieldValue)]) -> (Vec<u64>, u32) {
    apply(catalog, policy("m", definition));
    wanted(catalog, "m")
}

fn number(number: i64) -> FieldValue {
    FieldValue::I64(number)
}

/// A mirrored queue `m` at home at 1, all in sync.
fn mirrored(count: u64) -> Catalog {
    let mut catalog = cluster(count);
    apply(&mut catalog, all());
    apply(&mut catalog, durable(1, "m"));
    catalog
}

#[test]
fn policies_say_who_has_a_copy_and_how_many_commits_need() {
    let mut catalog = cluster(5);
    apply(&mut catalog, durable(2, "m"));
    assert_eq!(wanted(&catalog, "m"), (vec![2], 1));
    assert_eq!(asked(&mut catalog, &[("ha-mode", text("all"))]), (vec![1, 2, 3, 4, 5], 3));
    let exactly = |count| [("ha-mode", text("exactly")), ("ha-params", number(count))];
    assert_eq!(asked(&mut catalog, &exactly(1)), (vec![2], 1));
    assert_eq!(asked(&mut catalog, &exactly(2)).1, 1, "one of two goes on alone");
    assert_eq!(asked(&mut catalog, &exactly(4)).1, 3);
    assert_eq!(asked(&mut catalog, &exactly(9)), (vec![1, 2, 3, 4, 5], 3), "there are no more");
    let on = |words: &[&str]| [("ha-mode", text("nodes")), ("ha-params", names(words))];
    assert_eq!(asked(&mut catalog, &on(&["n4", "rabbit@n5", "n9"])), (vec![4, 5], 1));
    assert_eq!(asked(&mut catalog, &on(&["n9", "rabbit@n"])), (vec![2], 1), "nobody is called so");
    let strict = [("ha-mode", text("all")), ("min-in-sync", number(9))];
    assert_eq!(asked(&mut catalog, &strict).1, 5, "no more than there are");
    let loose = [("ha-mode", text("all")), ("min-in-sync", number(1))];
    assert_eq!(asked(&mut catalog, &loose).1, 1);
    assert!(!catalog.wanted_copies(&row(&catalog, "m")).promote_unsynced, "not unless it is said");
    let promoting = [("ha-mode", text("all")), ("ha-promote-on-failure", text("always"))];
    asked(&mut catalog, &promoting);
    assert!(catalog.wanted_copies(&row(&catalog, "m")).promote_unsynced);
}

#[test]
fn names_of_nodes_that_are_all_down_leave_a_queue_where_it_is() {
    let mut catalog = cluster(3);
    [lost(2, 20), lost(3, 30)].into_iter().for_each(|command| drop(apply(&mut catalog, command)));
    apply(&mut catalog, on(names(&["n2", "n3"])));
    apply(&mut catalog, durable(1, "m"));
    assert_eq!(picture(&catalog, "m"), "1 alone");
    assert_eq!(settle(&mut catalog), Vec::<String>::new());
    apply(&mut catalog, put(node(3, 31)));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "3 mirrors 1, in sync 1 3, 1 needed", "1 stands in for 2");
    apply(&mut catalog, put(node(2, 21)));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "3 mirrors 2, in sync 2 3, 1 needed");
    // All of them gone: the copies wait for them and are not given up.
    [lost(3, 31), lost(2, 21)].into_iter().for_each(|command| drop(apply(&mut catalog, command)));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "2 mirrors 3, in sync 2, 1 needed");
}

#[test]
fn an_operator_policy_asks_for_no_fewer() {
    let mut catalog = cluster(5);
    apply(&mut catalog, durable(1, "m"));
    let operator = |definition: &[(&str, FieldValue)]| match policy("m", definition) {
        Command::SetPolicy { vhost, name, pattern, apply_to, priority, definition, .. } => {
            Command::SetPolicy { vhost, name, pattern, apply_to, priority, definition, operator: true }
        }
        other => other,
    };
    let floor = [("ha-mode", text("all")), ("min-in-sync", number(3))];
    apply(&mut catalog, operator(&floor));
    assert_eq!(wanted(&catalog, "m"), (vec![1, 2, 3, 4, 5], 3));
    let own =
        |least| [("ha-mode", text("exactly")), ("ha-params", number(2)), ("min-in-sync", number(least))];
    assert_eq!(asked(&mut catalog, &own(1)), (vec![1, 2, 3, 4, 5], 3));
    assert_eq!(asked(&mut catalog, &own(4)).1, 4);
}

#[test]
fn min_in_sync_is_a_number_from_1_on() {
    let mut catalog = cluster(1);
    for (value, what) in [(number(0), "0"), (text("2"), "2")] {
        let wish = policy("m", &[("ha-mode", text("all")), ("min-in-sync", value)]);
        let error = catalog.apply(wish, &mut Vec::new()).unwrap_err();
        assert!(error.explanation.contains(what), "{error:?}");
        assert!(error.explanation.contains("is not a valid minimum of copies in sync"), "{error:?}");
    }
}

#[test]
fn quorum_queues_have_three_copies_unless_they_say_how_many() {
    let mut catalog = cluster(5);
    apply(&mut catalog, quorum(4, "q", None));
    assert_eq!(wanted(&catalog, "q").0.len(), 3);
    assert_eq!(copies(&catalog, "q").in_sync.len(), 3);
    assert_eq!(copies(&catalog, "q").min_in_sync, 2);
    apply(&mut catalog, policy("q", &[("target-group-size", number(5))]));
    assert_eq!(wanted(&catalog, "q"), (vec![1, 2, 3, 4, 5], 3));
    apply(&mut catalog, quorum(4, "q one", Some(1)));
    assert_eq!(picture(&catalog, "q one"), "4 alone");
    let mut small = cluster(2);
    apply(&mut small, quorum(1, "q", None));
    assert_eq!(picture(&small, "q"), "1 mirrors 2, in sync 1 2, 1 needed");
    let mut alone = cluster(1);
    apply(&mut alone, quorum(1, "q", None));
    assert_eq!(picture(&alone, "q"), "1 alone");
    // With a second node there is something to mirror to.
    apply(&mut alone, put(node(2, 20)));
    settle(&mut alone);
    assert_eq!(picture(&alone, "q"), "1 mirrors 2, in sync 1 2, 1 needed");
}

#[test]
fn a_declare_begins_with_its_copies() {
    let mut catalog = cluster(3);
    apply(&mut catalog, all());
    let events = apply(&mut catalog, durable(2, "m"));
    assert_eq!(picture(&catalog, "m"), "2 mirrors 1 3, in sync 1 2 3, 2 needed");
    assert_eq!(events, [Event::QueueDeclared(row(&catalog, "m"))], "told at once");
    let first = copies(&catalog, "m");
    assert_eq!((first.epoch, first.boot, first.version), (catalog.version, 20, 1));
    apply(&mut catalog, lost(3, 30));
    apply(&mut catalog, durable(2, "m down"));
    assert_eq!(picture(&catalog, "m down"), "2 mirrors 1 3, in sync 1 2, 2 needed");
    apply(&mut catalog, lost(1, 10));
    apply(&mut catalog, durable(2, "m two down"));
    assert_eq!(
        picture(&catalog, "m two down"),
        "2 mirrors 1 3, in sync 2, 1 needed",
        "no more than there are"
    );
    apply(&mut catalog, declare(2, "m mine", false, true, table(&[])));
    assert_eq!(picture(&catalog, "m mine"), "2 alone", "exclusive");
    apply(&mut catalog, transient(3, "m home down"));
    assert_eq!(picture(&catalog, "m home down"), "2 mirrors 1 3, in sync 2, 1 needed", "one that is up");
}

#[test]
fn a_declare_on_a_node_that_is_not_wanted_has_its_home_elsewhere() {
    let mut catalog = cluster(4);
    apply(&mut catalog, on(names(&["n2", "n3"])));
    let homes: Vec<u64> = (0..10)
        .map(|at| {
            let name = format!("m{at}");
            apply(&mut catalog, durable(4, &name));
            row(&catalog, &name).home.0
        })
        .collect();
    assert_eq!(homes.iter().filter(|home| **home == 2).count(), 5, "{homes:?}");
    assert_eq!(homes.iter().filter(|home| **home == 3).count(), 5, "{homes:?}");
}

#[test]
fn mirrors_are_spread_over_the_nodes() {
    let mut catalog = cluster(4);
    apply(&mut catalog, exactly(2));
    (0..30).for_each(|at| drop(apply(&mut catalog, durable(1, &format!("m{at}")))));
    for mirror in 2..=4 {
        let has = |at: &u64| copies(&catalog, &format!("m{at}")).mirrors == nodes(&[mirror]);
        assert_eq!((0..30).filter(has).count(), 10, "node {mirror}");
    }
}

#[test]
fn nothing_is_mirrored_before_all_nodes_know_mirrors() {
    let mut catalog = cluster(2);
    apply(&mut catalog, put(Node { feature_level: 1, ..node(3, 30) }));
    apply(&mut catalog, all());
    apply(&mut catalog, durable(1, "m"));
    assert_eq!(picture(&catalog, "m"), "1 alone");
    assert!(!step(&mut catalog, "m", CopyStep::Start));
    assert_eq!(settle(&mut catalog), Vec::<String>::new());
    apply(&mut catalog, put(Node { boot: 31, ..node(3, 31) }));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "1 mirrors 2 3, in sync 1 2 3, 2 needed");
}

#[test]
fn a_step_fits_one_row_and_its_own_conditions() {
    let mut catalog = mirrored(3);
    let two = NodeId(2);
    assert!(!step(&mut catalog, "m", CopyStep::Start), "it is mirrored");
    assert!(!step(&mut catalog, "m", CopyStep::Stop), "mirrors are left");
    assert!(!step(&mut catalog, "m", CopyStep::DropMirror(two)), "it is in sync");
    assert!(!step(&mut catalog, "m", CopyStep::AddMirror(two)), "it is one");
    assert!(!step(&mut catalog, "m", CopyStep::AddMirror(NodeId(1))), "it is the home");
    assert!(!step(&mut catalog, "m", CopyStep::AddMirror(NodeId(9))), "it is no node");
    assert!(!step(&mut catalog, "m", CopyStep::LeaveSync(NodeId(1))), "it is the home");
    assert!(!step(&mut catalog, "m", CopyStep::JoinSync(two)), "it is in sync");
    assert!(!step(&mut catalog, "m", CopyStep::HandOver(NodeId(1))), "it is the home");
    assert!([0, 2, 4].iter().all(|minimum| !step(&mut catalog, "m", CopyStep::SetMinimum(*minimum))));

    let stale = change(&catalog, "m", CopyStep::LeaveSync(NodeId(3)));
    assert!(step(&mut catalog, "m", CopyStep::LeaveSync(two)));
    assert_eq!(picture(&catalog, "m"), "1 mirrors 2 3, in sync 1 3, 2 needed");
    let events = apply(&mut catalog, Command::ChangeCopies { changes: vec![stale] });
    assert!(events.is_empty(), "made for another version");
    assert!(!step(&mut catalog, "m", CopyStep::LeaveSync(NodeId(3))), "below the minimum");
    assert!(!step(&mut catalog, "m", CopyStep::HandOver(two)), "it lacks messages");
    assert!(step(&mut catalog, "m", CopyStep::SetMinimum(1)));
    assert!(step(&mut catalog, "m", CopyStep::LeaveSync(NodeId(3))));
    assert!(step(&mut catalog, "m", CopyStep::JoinSync(two)));
    let before = copies(&catalog, "m");
    assert!(step(&mut catalog, "m", CopyStep::HandOver(two)));
    assert_eq!(picture(&catalog, "m"), "2 mirrors 1 3, in sync 1 2, 1 needed");
    let after = copies(&catalog, "m");
    assert_eq!((after.epoch, after.boot, after.version), (catalog.version, 20, before.version + 1));
    apply(&mut catalog, lost(3, 30));
    assert!(!step(&mut catalog, "m", CopyStep::JoinSync(NodeId(3))), "it is down");
    apply(&mut catalog, lost(1, 10));
    assert!(!step(&mut catalog, "m", CopyStep::HandOver(NodeId(1))), "it is down");
}

#[test]
fn steps_that_fit_are_taken_and_others_passed_over() {
    let mut catalog = mirrored(3);
    apply(&mut catalog, durable(2, "m2"));
    let mut changes = vec![
        change(&catalog, "m", CopyStep::LeaveSync(NodeId(3))),
        change(&catalog, "m", CopyStep::LeaveSync(NodeId(2))),
        change(&catalog, "m2", CopyStep::HandOver(NodeId(3))),
    ];
    changes.push(broker::catalog::copies::CopyChange { vhost: "none".into(), ..changes[0].clone() });
    changes.push(broker::catalog::copies::CopyChange { name: "none".into(), ..changes[0].clone() });
    let events = apply(&mut catalog, Command::ChangeCopies { changes: changes.clone() });
    let expected = [
        Event::CopiesChanged(row(&catalog, "m")),
        Event::QueueMoved { queue: row(&catalog, "m2"), from: NodeId(2) },
    ];
    assert_eq!(events, expected);
    let version = catalog.version;
    apply(&mut catalog, Command::ChangeCopies { changes });
    assert_eq!(catalog.version, version, "all of them are stale");
    // A queue of the same name is another one.
    let stale = change(&catalog, "m", CopyStep::LeaveSync(NodeId(2)));
    apply(&mut catalog, Command::DeleteQueue { vhost: VHOST.into(), name: "m".into(), id: None });
    apply(&mut catalog, durable(1, "m"));
    assert!(apply(&mut catalog, Command::ChangeCopies { changes: vec![stale] }).is_empty());
}

#[test]
fn a_mirror_that_is_to_go_does_not_come_back_in_between() {
    let mut catalog = mirrored(3);
    apply(&mut catalog, on(names(&["n1", "n2"])));
    assert!(step(&mut catalog, "m", CopyStep::SetMinimum(1)));
    assert!(step(&mut catalog, "m", CopyStep::LeaveSync(NodeId(3))));
    assert!(!step(&mut catalog, "m", CopyStep::JoinSync(NodeId(3))), "there are enough");
    apply(&mut catalog, lost(2, 20));
    assert!(step(&mut catalog, "m", CopyStep::JoinSync(NodeId(3))), "it stands in for one that is down");
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "1 mirrors 2 3, in sync 1 3, 1 needed");
    apply(&mut catalog, put(node(2, 21)));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "1 mirrors 2, in sync 1 2, 1 needed");
}

#[test]
fn a_lost_home_is_followed_by_those_in_sync() {
    let mut catalog = cluster(4);
    apply(&mut catalog, all());
    (0..9).for_each(|at| drop(apply(&mut catalog, durable(1, &format!("m{at}")))));
    apply(&mut catalog, durable(2, "m other"));
    assert!(step(&mut catalog, "m0", CopyStep::LeaveSync(NodeId(2))));
    let epoch = catalog.version + 1;
    let events = apply(&mut catalog, lost(1, 10));
    let homes = |home| (0..9).filter(|at| row(&catalog, &format!("m{at}")).home == NodeId(home)).count();
    assert_eq!([homes(1), homes(2), homes(3), homes(4)], [0, 3, 3, 3], "spread");
    assert_ne!(row(&catalog, "m0").home, NodeId(2));
    let moves = events.iter().filter(|event| matches!(event, Event::QueueMoved { from: NodeId(1), .. }));
    assert_eq!(moves.count(), 9, "in one commit");
    for at in 0..9 {
        let (row, copies) = (row(&catalog, &format!("m{at}")), copies(&catalog, &format!("m{at}")));
        assert_eq!((copies.epoch, copies.boot), (epoch, 10 * row.home.0));
        assert!(copies.mirrors.contains(&NodeId(1)));
    }
    assert_eq!(picture(&catalog, "m0"), "3 mirrors 1 2 4, in sync 1 3 4, 3 needed", "as few as there may be");
    assert_eq!(picture(&catalog, "m other"), "2 mirrors 1 3 4, in sync 2 3 4, 3 needed");
}

#[test]
fn nobody_in_sync_leads_nothing_unless_the_policy_says_so() {
    let mut catalog = cluster(2);
    apply(&mut catalog, all());
    apply(&mut catalog, durable(1, "m"));
    let promoting = [("ha-mode", text("all")), ("ha-promote-on-failure", text("always"))];
    apply(&mut catalog, policy("m.always", &promoting));
    apply(&mut catalog, durable(1, "m always"));
    apply(&mut catalog, transient(1, "m passing"));
    for name in ["m", "m always", "m passing"] {
        assert!(step(&mut catalog, name, CopyStep::LeaveSync(NodeId(2))));
    }
    let events = apply(&mut catalog, lost(1, 10));
    assert_eq!(picture(&catalog, "m"), "1 mirrors 2, in sync 1, 1 needed", "it waits");
    assert_eq!(picture(&catalog, "m always"), "2 mirrors 1, in sync 2, 1 needed");
    assert!(!is_there(&catalog, "m passing"), "as without mirrors");
    let told: Vec<&Event> =
        events.iter().filter(|event| matches!(event, Event::UnsyncedPromoted(_))).collect();
    assert_eq!(told, [&Event::UnsyncedPromoted(row(&catalog, "m always"))]);
    // Back with what it had.
    let before = copies(&catalog, "m");
    apply(&mut catalog, put(node(1, 10)));
    assert_eq!(copies(&catalog, "m"), before, "the same start leads on");
    apply(&mut catalog, put(node(1, 11)));
    let after = copies(&catalog, "m");
    assert_eq!((after.epoch, after.boot, after.version), (catalog.version, 11, before.version + 1));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m always"), "2 mirrors 1, in sync 1 2, 1 needed");
}

#[test]
fn whoever_is_in_sync_and_back_first_leads() {
    let mut catalog = mirrored(3);
    apply(&mut catalog, lost(3, 30));
    apply(&mut catalog, lost(2, 20));
    assert_eq!(picture(&catalog, "m"), "1 mirrors 2 3, in sync 1 2, 2 needed");
    apply(&mut catalog, lost(1, 10));
    assert_eq!(row(&catalog, "m").home, NodeId(1), "nobody is left");
    assert_eq!(settle(&mut catalog), Vec::<String>::new(), "nothing is given up meanwhile");
    apply(&mut catalog, put(node(3, 31)));
    assert_eq!(row(&catalog, "m").home, NodeId(1), "3 lacks messages");
    let events = apply(&mut catalog, put(node(2, 21)));
    assert!(events.contains(&Event::QueueMoved { queue: row(&catalog, "m"), from: NodeId(1) }));
    assert_eq!((copies(&catalog, "m").boot, copies(&catalog, "m").epoch), (21, catalog.version));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "2 mirrors 1 3, in sync 2 3, 2 needed", "1 is not waited for");
    apply(&mut catalog, put(node(1, 11)));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "2 mirrors 1 3, in sync 1 2 3, 2 needed");
}

#[test]
fn a_restart_that_was_faster_than_the_loss_keeps_durable_queues_at_home() {
    let mut catalog = mirrored(3);
    apply(&mut catalog, transient(1, "m passing"));
    apply(&mut catalog, transient(2, "m other"));
    let events = apply(&mut catalog, put(node(1, 11)));
    assert_eq!(picture(&catalog, "m"), "1 mirrors 2 3, in sync 1 2 3, 2 needed");
    assert_eq!((copies(&catalog, "m").boot, copies(&catalog, "m").epoch), (11, catalog.version));
    assert!(events.contains(&Event::CopiesChanged(row(&catalog, "m"))));
    // What was in memory is gone: others have it.
    assert_eq!(picture(&catalog, "m passing"), "2 mirrors 1 3, in sync 2 3, 2 needed");
    assert_eq!(picture(&catalog, "m other"), "2 mirrors 1 3, in sync 2 3, 2 needed");
    // Below the minimum, too: it has nothing.
    apply(&mut catalog, put(node(3, 31)));
    assert_eq!(picture(&catalog, "m other"), "2 mirrors 1 3, in sync 2, 2 needed");
    let events = apply(&mut catalog, put(node(2, 21)));
    assert!(!is_there(&catalog, "m other"), "nobody has it");
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::QueueDeleted(row) if row.name.as_str() == "m other"))
    );
    assert!(is_there(&catalog, "m"));
}

#[test]
fn a_transient_queue_goes_on_at_its_mirrors() {
    let mut catalog = cluster(3);
    apply(&mut catalog, all());
    apply(&mut catalog, transient(1, "m"));
    apply(&mut catalog, lost(1, 10));
    assert_eq!(picture(&catalog, "m"), "2 mirrors 1 3, in sync 2 3, 2 needed");
    apply(&mut catalog, put(node(1, 11)));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "2 mirrors 1 3, in sync 1 2 3, 2 needed");
    // The memory of the home is lost while the only other one that has all is out of reach.
    apply(&mut catalog, lost(1, 11));
    apply(&mut catalog, lost(3, 30));
    assert_eq!(picture(&catalog, "m"), "2 mirrors 1 3, in sync 2 3, 2 needed");
    apply(&mut catalog, put(node(2, 21)));
    assert_eq!(picture(&catalog, "m"), "3 mirrors 1 2, in sync 3, 2 needed", "it may come back");
    apply(&mut catalog, put(node(3, 30)));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "3 mirrors 1 2, in sync 2 3, 2 needed");
}

#[test]
fn a_new_disk_under_an_old_name_has_no_copies() {
    let mut catalog = mirrored(3);
    apply(&mut catalog, durable(2, "m at 2"));
    apply(&mut catalog, policy("single", &[("ha-mode", text("nodes")), ("ha-params", names(&["n1", "n2"]))]));
    apply(&mut catalog, durable(2, "single"));
    apply(&mut catalog, transient(2, "single passing"));
    for name in ["single", "single passing"] {
        assert!(step(&mut catalog, name, CopyStep::LeaveSync(NodeId(1))));
    }
    apply(&mut catalog, lost(2, 20));
    assert!(!is_there(&catalog, "single passing"));
    apply(&mut catalog, put(Node { name: "n2".into(), ..node(7, 70) }));
    assert_eq!(picture(&catalog, "m"), "1 mirrors 3, in sync 1 3, 2 needed");
    assert_eq!(picture(&catalog, "m at 2"), "1 mirrors 3, in sync 1 3, 2 needed");
    assert_eq!(picture(&catalog, "single"), "7 alone", "what nobody else has begins empty");
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "1 mirrors 3 7, in sync 1 3 7, 2 needed");
    assert_eq!(picture(&catalog, "single"), "7 mirrors 1, in sync 1 7, 1 needed");
}

#[test]
fn a_forgotten_node_takes_along_what_only_it_has() {
    let mut catalog = mirrored(3);
    apply(&mut catalog, durable(2, "m single"));
    apply(&mut catalog, transient(2, "m passing"));
    assert!(step(&mut catalog, "m single", CopyStep::SetMinimum(1)));
    assert!(step(&mut catalog, "m single", CopyStep::LeaveSync(NodeId(1))));
    assert!(step(&mut catalog, "m single", CopyStep::LeaveSync(NodeId(3))));
    apply(&mut catalog, lost(2, 20));
    apply(&mut catalog, Command::ForgetNode { id: NodeId(2) });
    assert_eq!(picture(&catalog, "m"), "1 mirrors 3, in sync 1 3, 2 needed");
    assert_eq!(picture(&catalog, "m passing"), "1 mirrors 3, in sync 1 3, 2 needed");
    assert!(!is_there(&catalog, "m single"));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "1 mirrors 3, in sync 1 3, 1 needed");
    // The home is forgotten while the other one is down: the queue waits for that one.
    apply(&mut catalog, put(node(4, 40)));
    apply(&mut catalog, lost(3, 30));
    apply(&mut catalog, put(node(3, 31)));
    let mut other = catalog.clone();
    apply(&mut catalog, Command::ForgetNode { id: NodeId(1) });
    assert!(!is_there(&catalog, "m"), "3 had left");
    assert!(step(&mut other, "m", CopyStep::JoinSync(NodeId(3))));
    assert!(step(&mut other, "m", CopyStep::SetMinimum(2)));
    apply(&mut other, lost(3, 31));
    apply(&mut other, Command::ForgetNode { id: NodeId(1) });
    assert_eq!(picture(&other, "m"), "3 mirrors , in sync 3, 2 needed");
    apply(&mut other, put(node(3, 32)));
    settle(&mut other);
    assert_eq!(picture(&other, "m"), "3 mirrors 4, in sync 3 4, 1 needed");
}

#[test]
fn a_node_that_goes_on_alone_keeps_the_queues_it_has_copies_of() {
    let mut catalog = mirrored(3);
    apply(&mut catalog, durable(3, "m behind"));
    apply(&mut catalog, durable(2, "m mine"));
    apply(&mut catalog, transient(3, "m passing"));
    apply(&mut catalog, policy("other", &[("ha-mode", text("nodes")), ("ha-params", names(&["n1", "n3"]))]));
    apply(&mut catalog, durable(3, "other"));
    assert!(step(&mut catalog, "m behind", CopyStep::LeaveSync(NodeId(2))));
    let Remains { catalog, lost, behind } = catalog.alone(NodeId(2));
    let names = |rows: &[std::sync::Arc<broker::catalog::Queue>]| {
        rows.iter().map(|row| row.name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names(&lost), names(&behind)), (vec!["other".to_owned()], vec!["m behind".to_owned()]));
    for name in ["m", "m behind", "m mine"] {
        assert_eq!(picture(&catalog, name), "0 alone");
    }
    assert!(!is_there(&catalog, "m passing"));
    let mut again = catalog;
    apply(&mut again, Command::FormCluster { cluster: 9, node: node(2, 23) });
    apply(&mut again, put(node(1, 13)));
    settle(&mut again);
    assert_eq!(picture(&again, "m"), "2 mirrors 1, in sync 1 2, 1 needed");
}

#[test]
fn queues_walk_to_what_is_wanted_under_their_messages() {
    let mut catalog = cluster(4);
    apply(&mut catalog, durable(1, "m"));
    apply(&mut catalog, exactly(3));
    let steps = settle(&mut catalog);
    assert_eq!(steps.len(), 6, "{steps:?}");
    assert_eq!((steps[0].as_str(), steps[4].as_str()), ("Start", "SetMinimum(2)"), "{steps:?}");
    assert_eq!(copies(&catalog, "m").in_sync.len(), 3);
    // To nodes that it is not on: the old home goes last.
    apply(&mut catalog, on(names(&["n4"])));
    let steps = settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "4 alone", "{steps:?}");
    assert_eq!(steps.last().map(String::as_str), Some("Stop"));
    // And back to one that is not mirrored.
    apply(&mut catalog, all());
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "4 mirrors 1 2 3, in sync 1 2 3 4, 3 needed");
    apply(&mut catalog, clear_policy("m"));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m"), "4 alone");
}

#[test]
fn a_copy_that_is_down_is_replaced_where_a_node_is_free() {
    let mut catalog = cluster(4);
    apply(&mut catalog, exactly(3));
    apply(&mut catalog, durable(1, "m"));
    let first = copies(&catalog, "m").mirrors.clone();
    let gone = first[0];
    apply(&mut catalog, lost(gone.0, gone.0 * 10));
    settle(&mut catalog);
    let now = copies(&catalog, "m");
    assert_eq!((now.in_sync.len(), now.mirrors.contains(&gone)), (3, false));
    // It is back: nothing is moved again.
    apply(&mut catalog, put(node(gone.0, 99)));
    assert_eq!(settle(&mut catalog), Vec::<String>::new());
    // Nobody is free: it waits for the one that is down.
    apply(&mut catalog, all());
    settle(&mut catalog);
    apply(&mut catalog, lost(4, 40));
    assert_eq!(settle(&mut catalog), Vec::<String>::new());
    assert_eq!(copies(&catalog, "m").in_sync.len(), 3);
}

#[test]
fn a_minimum_is_not_lowered_below_what_is_wanted() {
    let mut catalog = cluster(5);
    apply(&mut catalog, all());
    apply(&mut catalog, transient(1, "m"));
    (2..=5).for_each(|id| drop(apply(&mut catalog, put(node(id, 100 + id)))));
    assert_eq!(picture(&catalog, "m"), "1 mirrors 2 3 4 5, in sync 1, 3 needed", "the others forgot");
    apply(&mut catalog, exactly(3));
    assert_eq!(next_steps(&catalog, 9), [], "2 are wanted, 1 is there");
    settle(&mut catalog);
    assert_eq!((copies(&catalog, "m").in_sync.len(), copies(&catalog, "m").min_in_sync), (3, 2));
}

#[test]
fn a_mirror_that_is_not_wanted_stays_until_there_are_enough() {
    let mut catalog = mirrored(3);
    assert!(step(&mut catalog, "m", CopyStep::SetMinimum(1)));
    assert!([2, 3].iter().all(|node| step(&mut catalog, "m", CopyStep::LeaveSync(NodeId(*node)))));
    apply(&mut catalog, on(names(&["n1", "n2"])));
    assert_eq!(next_steps(&catalog, 9), [], "3 may be there before 2");
    assert!(step(&mut catalog, "m", CopyStep::JoinSync(NodeId(2))));
    assert_eq!(next_steps(&catalog, 9), [change(&catalog, "m", CopyStep::DropMirror(NodeId(3)))]);
}

#[test]
fn homes_are_not_spread_to_nodes_that_only_stand_in() {
    let mut catalog = cluster(3);
    apply(&mut catalog, on(names(&["n1", "n3"])));
    (0..8).for_each(|at| drop(apply(&mut catalog, durable(1, &format!("m{at}")))));
    assert_eq!(balancing_steps(&catalog, &nodes(&[1, 3]), 9).len(), 3, "a fifth above the average may stay");
    apply(&mut catalog, lost(2, 20));
    apply(&mut catalog, on(names(&["n1", "n2"])));
    settle(&mut catalog);
    assert_eq!(picture(&catalog, "m0"), "1 mirrors 3, in sync 1 3, 1 needed");
    assert_eq!(balancing_steps(&catalog, &nodes(&[1, 3]), 9), []);
}

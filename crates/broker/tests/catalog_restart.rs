//! What survives a restart, as seen with RabbitMQ 3.10 stopped by `rabbitmqctl stop` and by SIGKILL, and
//! which commands therefore wait for the disk.

mod catalog;

use broker::catalog::{Catalog, Command, Event, Vhost};
use catalog::every::{bind, binding, exchange, queue, table, to_exchange, to_queue};
use catalog::picture::{assert_same, durable_rows, restarted};
use types::{ConnectionId, FieldTable, FieldValue};

fn catalog_after(commands: Vec<Command>) -> Catalog {
    let mut catalog = Catalog::new();
    let add = Command::AddVhost {
        name: "v".into(),
        description: String::new(),
        tags: Vec::new(),
        default_queue_type: None,
    };
    for command in std::iter::once(add).chain(commands) {
        catalog
            .apply(command.clone(), &mut Vec::new())
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
    catalog
}

fn direct(name: &str, durable: bool) -> Command {
    exchange(name, "direct", durable, FieldTable::new())
}

fn plain(name: &str, durable: bool) -> Command {
    queue(name, durable, false, FieldTable::new())
}

fn to(source: &str, name: &str) -> Command {
    bind(binding(source, to_queue(name), "k", FieldTable::new()))
}

fn between(source: &str, name: &str) -> Command {
    bind(binding(source, to_exchange(name), "k", FieldTable::new()))
}

fn without(command: Command) -> Command {
    match command {
        Command::Bind { vhost, binding } => Command::Unbind { vhost, binding },
        other => panic!("{other:?}"),
    }
}

fn v(catalog: &Catalog) -> &Vhost {
    catalog.vhost("v").unwrap()
}

fn queues(catalog: &Catalog) -> Vec<&str> {
    v(catalog).queues.keys().map(|name| name.as_str()).collect()
}

fn own_exchanges(catalog: &Catalog) -> Vec<&str> {
    let names = v(catalog).exchanges.keys().map(|name| name.as_str());
    names.filter(|name| !name.is_empty() && !name.starts_with("amq.")).collect()
}

fn bindings(catalog: &Catalog) -> Vec<String> {
    let text = |binding: std::sync::Arc<broker::catalog::Binding>| {
        format!("{} {:?}", binding.source, binding.destination)
    };
    v(catalog).bindings().map(text).collect()
}

#[test]
fn transient_queues_and_exchanges_go_with_all_their_bindings() {
    let before = catalog_after(vec![
        direct("d", true),
        direct("d2", true),
        direct("t", false),
        plain("qd", true),
        plain("qt", false),
        to("d", "qd"),
        to("d", "qt"),
        to("t", "qd"),
        to("t", "qt"),
        to("amq.direct", "qt"),
        between("d", "t"),
        between("t", "d"),
        between("d", "d2"),
    ]);
    let (after, events) = restarted(&before);
    assert_eq!(queues(&after), ["qd"]);
    assert_eq!(own_exchanges(&after), ["d", "d2"]);
    let left = ["d Queue(QueueName(\"qd\"))", "d Exchange(ExchangeName(\"d2\"))"];
    assert_eq!(bindings(&after), left);
    assert_eq!(v(&after).queue("qd").unwrap().id, v(&before).queue("qd").unwrap().id);
    assert!(after.version > before.version);
    let told = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_eq!(told(|event| matches!(event, Event::Unbound { .. })), 6);
    assert_eq!(told(|event| matches!(event, Event::QueueDeleted(_))), 1);
    assert_eq!(told(|event| matches!(event, Event::ExchangeDeleted(_))), 1);
    assert_eq!(events.len(), 8);
}

#[test]
fn bindings_do_not_come_back_with_the_queue_or_exchange() {
    let commands =
        vec![direct("d", true), plain("qt", false), direct("t", false), to("d", "qt"), between("d", "t")];
    let (mut after, _) = restarted(&catalog_after(commands));
    for command in [plain("qt", false), direct("t", false)] {
        after.apply(command, &mut Vec::new()).unwrap();
    }
    assert!(bindings(&after).is_empty());
}

#[test]
fn exclusive_queues_go_even_when_declared_durable() {
    let none = FieldTable::new;
    let before = catalog_after(vec![
        queue("e", false, true, none()),
        queue("de", true, true, none()),
        to("amq.direct", "de"),
    ]);
    let (mut after, _) = restarted(&before);
    assert!(queues(&after).is_empty() && bindings(&after).is_empty());
    // Nobody owns anything any more.
    let gone = Command::DeleteExclusive { connection: ConnectionId(70_000) };
    assert!(!after.apply(gone, &mut Vec::new()).unwrap().changed());
}

#[test]
fn durable_automatic_queues_stay() {
    let (after, _) = restarted(&catalog_after(vec![plain("auto d", true), plain("auto t", false)]));
    assert_eq!(queues(&after), ["auto d"]);
}

#[test]
fn a_durable_automatic_exchange_stays_though_its_last_binding_went() {
    let before = catalog_after(vec![
        plain("qd", true),
        plain("qt", false),
        queue("qe", false, true, FieldTable::new()),
        direct("t", false),
        direct("auto never bound", true),
        direct("auto to qt", true),
        direct("auto to qe", true),
        direct("auto to t", true),
        direct("auto to qd", true),
        direct("auto to auto", true),
        direct("auto transient", false),
        to("auto to qt", "qt"),
        to("auto to qe", "qe"),
        to("auto to qd", "qd"),
        to("auto transient", "qd"),
        between("auto to t", "t"),
        between("auto to auto", "auto to qt"),
    ]);
    let (mut after, _) = restarted(&before);
    let stay = ["auto never bound", "auto to auto", "auto to qd", "auto to qe", "auto to qt", "auto to t"];
    assert_eq!(own_exchanges(&after), stay);
    assert_eq!(bindings(&after).len(), 2);
    // Bound again and unbound it goes, and with it the one that led to it.
    let again = to("auto to qt", "qd");
    after.apply(again.clone(), &mut Vec::new()).unwrap();
    after.apply(without(again), &mut Vec::new()).unwrap();
    assert_eq!(own_exchanges(&after), ["auto never bound", "auto to qd", "auto to qe", "auto to t"]);
}

#[test]
fn an_alternate_exchange_that_went_is_still_named() {
    let alternate = |name: &str| table(&[("alternate-exchange", FieldValue::text(name))]);
    let before = catalog_after(vec![
        direct("t", false),
        exchange("d", "direct", true, alternate("t")),
        exchange("t2", "direct", false, alternate("d")),
    ]);
    let (mut after, _) = restarted(&before);
    assert_eq!(own_exchanges(&after), ["d"]);
    let version = v(&after).exchange("d").unwrap().version;
    assert_eq!(v(&after).exchange("d").unwrap().alternate, Some("t".into()));
    assert_ne!(version, v(&before).exchange("d").unwrap().version, "its messages go elsewhere now");
    after.apply(direct("t", false), &mut Vec::new()).unwrap();
    assert_ne!(version, v(&after).exchange("d").unwrap().version, "and here again");
}

#[test]
fn tracing_is_off_after_a_restart() {
    let (after, _) = restarted(&catalog_after(vec![Command::SetTracing { vhost: "v".into(), on: true }]));
    assert!(!v(&after).tracing);
}

#[test]
fn what_operators_set_stays() {
    let mut before = Catalog::new();
    for command in catalog::every::commands() {
        before.apply(command, &mut Vec::new()).unwrap();
    }
    let (after, _) = restarted(&before);
    let (old, new) = (v(&before), v(&after));
    assert_eq!(format!("{:?}", before.users), format!("{:?}", after.users));
    assert_eq!(before.global_parameters, after.global_parameters);
    assert_eq!((&old.limits, &old.parameters), (&new.limits, &new.parameters));
    assert_eq!((&old.policies, &old.operator_policies), (&new.policies, &new.operator_policies));
    assert_eq!((&old.permissions, &old.topic_permissions), (&new.permissions, &new.topic_permissions));
    assert!(!old.policies.is_empty() && !old.topic_permissions.is_empty() && !old.parameters.is_empty());
}

#[test]
fn a_second_restart_changes_nothing() {
    let (after, _) = restarted(&catalog_after(vec![plain("qt", false), plain("qd", true)]));
    let (again, events) = restarted(&after);
    assert_same(&after, &again);
    assert!(events.is_empty());
}

fn everything() -> Catalog {
    catalog_after(vec![
        direct("d", true),
        direct("t", false),
        direct("auto", true),
        direct("auto t", false),
        direct("auto twice", true),
        plain("qd", true),
        plain("qt", false),
        plain("qt2", false),
        queue("qe", true, true, FieldTable::new()),
        to("d", "qd"),
        to("d", "qt"),
        to("auto", "qt"),
        to("auto t", "qe"),
        between("auto", "auto t"),
        to("auto twice", "qt"),
        to("auto twice", "qt2"),
    ])
}

#[test]
fn what_waits_for_the_disk() {
    let catalog = everything();
    let delete_queue = |name: &str| Command::DeleteQueue { vhost: "v".into(), name: name.into(), id: None };
    let delete_exchange =
        |name: &str| Command::DeleteExchange { vhost: "v".into(), name: name.into(), if_unused: false };
    let exclusive = |connection| Command::DeleteExclusive { connection: ConnectionId(connection) };
    for (command, expected) in [
        (plain("new", true), true),
        (plain("qd", true), true),
        (plain("new", false), false),
        (queue("new", true, true, FieldTable::new()), false),
        (direct("new", true), true),
        (direct("new", false), false),
        (to("d", "qd"), true),
        (between("d", "auto"), true),
        (to("d", "qt2"), false),
        (to("d", "qe"), false),
        (to("t", "qd"), false),
        (between("d", "t"), false),
        (to("d", "missing"), false),
        (without(to("d", "qd")), true),
        (without(to("d", "qt")), false),
        (without(to("auto", "qt")), false),
        (delete_queue("qd"), true),
        (delete_queue("qt2"), false),
        (delete_queue("missing"), false),
        (delete_exchange("d"), true),
        (delete_exchange("t"), false),
        (delete_exchange("missing"), false),
        (exclusive(70_000), false),
        (exclusive(1), false),
        (Command::SetTracing { vhost: "v".into(), on: true }, false),
        (Command::Restart, false),
        (Command::DeleteVhost { name: "v".into() }, true),
        (Command::PutUser { name: "u".into(), password_hash: None, tags: Vec::new() }, true),
    ] {
        assert_eq!(command.is_durable(&catalog), expected, "{command:?}");
    }
}

#[test]
fn the_end_of_a_transient_queue_waits_if_a_durable_exchange_goes_with_it() {
    let mut catalog = everything();
    let delete_qt = Command::DeleteQueue { vhost: "v".into(), name: "qt".into(), id: None };
    // `auto` still leads to `auto t`, `auto twice` to `qt2`.
    assert!(!delete_qt.is_durable(&catalog));
    catalog.apply(without(to("auto twice", "qt2")), &mut Vec::new()).unwrap();
    assert!(delete_qt.is_durable(&catalog));

    let exclusive = Command::DeleteExclusive { connection: ConnectionId(70_000) };
    assert!(!exclusive.is_durable(&catalog));
    catalog.apply(without(to("auto", "qt")), &mut Vec::new()).unwrap();
    // Now the connection's queue takes `auto t` with it, and that `auto`.
    assert!(exclusive.is_durable(&catalog));
    let before = durable_rows(&catalog);
    catalog.apply(exclusive, &mut Vec::new()).unwrap();
    assert_ne!(before, durable_rows(&catalog));
    assert!(!own_exchanges(&catalog).contains(&"auto"));
}

#[test]
fn a_queue_of_another_id_is_not_meant() {
    let catalog = everything();
    let id = v(&catalog).queue("qd").unwrap().id;
    for (id, expected) in [(id, true), (types::QueueId(id.0 + 1), false)] {
        let delete = Command::DeleteQueue { vhost: "v".into(), name: "qd".into(), id: Some(id) };
        assert_eq!(delete.is_durable(&catalog), expected);
    }
}

//! Changes stay cheap however much is declared. Bounds are loose: they tell a tree from a copy.

use broker::catalog::{Binding, Catalog, Command, Destination};
use std::time::{Duration, Instant};
use types::{ConnectionId, FieldTable};

const VHOST: &str = "/";
const BINDING_COUNT: usize = 100_000;

fn apply(catalog: &mut Catalog, command: Command) {
    let mut events = Vec::new();
    catalog.apply(command, &mut events).unwrap();
}

fn declare_queue(name: &str) -> Command {
    Command::DeclareQueue {
        vhost: VHOST.into(),
        name: name.into(),
        server_named: false,
        durable: true,
        auto_delete: false,
        exclusive: false,
        connection: ConnectionId(1),
        arguments: FieldTable::new(),
        user: "guest".into(),
    }
}

fn binding(source: &str, queue: &str, key: &str) -> Binding {
    Binding {
        source: source.into(),
        destination: Destination::Queue(queue.into()),
        routing_key: key.into(),
        arguments: FieldTable::new(),
    }
}

/// A vhost whose bindings all come from `source`.
fn large(source: &str) -> Catalog {
    let mut catalog = Catalog::new();
    let add = Command::AddVhost {
        name: VHOST.into(),
        description: String::new(),
        tags: Vec::new(),
        default_queue_type: None,
    };
    apply(&mut catalog, add);
    for queue in 0..100 {
        apply(&mut catalog, declare_queue(&format!("q{queue}")));
    }
    for at in 0..BINDING_COUNT {
        let binding = binding(source, &format!("q{}", at % 100), &format!("key.{at}.end"));
        apply(&mut catalog, Command::Bind { vhost: VHOST.into(), binding });
    }
    catalog
}

/// Time of one step, with the clone that a running broker publishes after each.
#[expect(clippy::disallowed_methods, reason = "this test measures time")]
fn each(count: usize, catalog: &mut Catalog, mut step: impl FnMut(&mut Catalog, usize)) -> Duration {
    let mut published = catalog.clone();
    let start = Instant::now();
    for at in 0..count {
        step(catalog, at);
        published.clone_from(catalog);
    }
    start.elapsed() / count as u32
}

#[test]
fn a_change_costs_the_same_with_many_bindings() {
    for source in ["amq.direct", "amq.topic", "amq.fanout", "amq.headers"] {
        let mut catalog = large(source);
        let bind = each(1000, &mut catalog, |catalog, at| {
            let binding = binding(source, "q7", &format!("new.{at}"));
            apply(catalog, Command::Bind { vhost: VHOST.into(), binding });
        });
        let declare =
            each(1000, &mut catalog, |catalog, at| apply(catalog, declare_queue(&format!("new{at}"))));
        let unbind = each(1000, &mut catalog, |catalog, at| {
            let binding = binding(source, "q7", &format!("new.{at}"));
            apply(catalog, Command::Unbind { vhost: VHOST.into(), binding });
        });
        let delete = each(10, &mut catalog, |catalog, at| {
            let name = format!("q{at}").as_str().into();
            apply(catalog, Command::DeleteQueue { vhost: VHOST.into(), name, id: None });
        });
        println!(
            "{source}: bind {bind:?}, unbind {unbind:?}, declare {declare:?}, delete of 1000 {delete:?}"
        );
        let bound = Duration::from_millis(2);
        assert!(
            bind < bound && declare < bound && unbind < bound,
            "{source} {bind:?} {declare:?} {unbind:?}"
        );
        assert!(delete < Duration::from_millis(500), "{source} {delete:?}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "this test measures time")]
fn a_large_catalog_comes_back_soon() {
    const QUEUE_COUNT: usize = 50_000;
    const SOURCES: [&str; 4] = ["amq.direct", "amq.topic", "amq.fanout", "amq.headers"];
    let mut catalog = Catalog::new();
    let add = Command::AddVhost {
        name: VHOST.into(),
        description: String::new(),
        tags: Vec::new(),
        default_queue_type: None,
    };
    apply(&mut catalog, add);
    for at in 0..QUEUE_COUNT {
        apply(&mut catalog, declare_queue(&format!("queue.{at}")));
    }
    for at in 0..BINDING_COUNT {
        let (queue, key) = (format!("queue.{}", at % QUEUE_COUNT), format!("key.{at}.end"));
        let binding = binding(SOURCES[at % SOURCES.len()], &queue, &key);
        apply(&mut catalog, Command::Bind { vhost: VHOST.into(), binding });
    }
    let start = Instant::now();
    let bytes = catalog.encode();
    let encoded = start.elapsed();
    let start = Instant::now();
    let back = Catalog::decode(&bytes).unwrap();
    let decoded = start.elapsed();
    println!("{} bytes, encoded in {encoded:?}, decoded in {decoded:?}", bytes.len());
    assert!(encoded + decoded < Duration::from_secs(20), "{encoded:?} {decoded:?}");
    assert!(back.encode() == bytes);
}

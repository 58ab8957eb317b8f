//! Queues, exchanges and bindings as a test knows them.

use crate::node::{Node, vhost};
use broker::catalog::Destination;
use engine::Broker;
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::{CrashDisk, Disk, FaultKind, FaultyDisk};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    pub queues: BTreeSet<String>,
    pub exchanges: BTreeSet<String>,
    /// Exchange and queue.
    pub bindings: BTreeSet<(String, String)>,
}

impl Definitions {
    /// What a broker has.
    pub fn of(broker: &Broker) -> Definitions {
        let catalog = broker.catalog();
        let row = catalog.vhost(vhost().as_str()).expect("the vhost is there");
        let names = row.exchanges.keys().map(|name| name.as_str().to_owned());
        let bindings = row.bindings().filter_map(|binding| match &binding.destination {
            Destination::Queue(queue) if !binding.source.as_str().is_empty() => {
                Some((binding.source.as_str().to_owned(), queue.as_str().to_owned()))
            }
            _ => None,
        });
        Definitions {
            queues: row.queues.keys().map(|name| name.as_str().to_owned()).collect(),
            exchanges: names.filter(|name| !name.is_empty() && !name.starts_with("amq.")).collect(),
            bindings: bindings.collect(),
        }
    }

    pub fn remove_queue(&mut self, name: &str) {
        self.queues.remove(name);
        self.bindings.retain(|(_, queue)| queue != name);
    }

    pub fn remove_exchange(&mut self, name: &str) {
        self.exchanges.remove(name);
        self.bindings.retain(|(exchange, _)| exchange != name);
    }

    /// Queues that an exchange leads to.
    pub fn bound_to(&self, exchange: &str) -> Vec<String> {
        let leads = self.bindings.iter().filter(|(from, _)| from == exchange);
        leads.map(|(_, queue)| queue.clone()).collect()
    }
}

#[tokio::test]
async fn who_finds_a_definition_made_waits_for_it_to_last_too() {
    let disk = Arc::new(FaultyDisk::new(Arc::new(CrashDisk::new(1))));
    let node = Node::on(&(disk.clone() as Arc<dyn Disk>)).unwrap();
    disk.fail_from(FaultKind::Sync, 1);
    let (first, second) = tokio::join!(node.declare("q", true, &[]), node.declare("q", true, &[]));
    assert!(first.is_err(), "it is not safe");
    assert!(second.is_err(), "it was told of a queue that may be lost");
}

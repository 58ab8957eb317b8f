//! Each queue's home is a member of the cluster, in each node's catalog.

use super::{Invariant, Seen};
use broker::catalog::Catalog;

/// Looks at each catalog by itself.
pub(super) struct Homes;

fn check(catalog: &Catalog, whose: &str) -> Result<(), String> {
    if !catalog.is_cluster() {
        return Ok(());
    }
    match catalog.queues().find(|queue| !catalog.nodes.contains_key(&queue.home)) {
        Some(queue) => Err(format!("{whose}: queue {} has its home at {}, no member", queue.id, queue.home)),
        None => Ok(()),
    }
}

impl Invariant for Homes {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Changed { after, .. } => check(after, "agreed"),
            Seen::Applied { node, catalog } => check(catalog, &format!("node {node}")),
            _ => Ok(()),
        }
    }
}

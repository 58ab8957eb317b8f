//! At most one cluster is formed by nodes that expect each other.

use super::{Invariant, Seen};
use clustering::identity::ClusterId;

/// The cluster that was formed.
#[derive(Default)]
pub(super) struct OneCluster(Option<ClusterId>);

impl Invariant for OneCluster {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Formed { cluster } = seen else { return Ok(()) };
        let first = *self.0.get_or_insert(*cluster);
        if first == *cluster {
            return Ok(());
        }
        Err(format!("two clusters were formed: {} and {}", first.0, cluster.0))
    }
}

//! What the log says when a node starts: the catalog and the queues, as they were committed.
//!
//! Invariant: entries are applied in the order they were appended. A snapshot of the catalog may stand
//! behind changes that it does not cover, and the last one counts: files may be gone that an earlier one
//! which is still there needs. So changes are kept until everything was read.

use super::catalog_log::CATALOG_LOG;
use super::cluster_log::{CLUSTER_LOG, ClusterLog};
use broker::catalog::{Catalog, Command, Event};
use broker::message::Chunk;
use broker::queue::RecoveredQueue;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use storage::wal::{EntryKind, Replay, ReplayedEntry, Sequence};
use types::QueueId;

/// The state of a node while its log is read.
#[derive(Default)]
pub(super) struct Recovery<'a> {
    /// The catalog's last snapshot.
    catalog: Option<Catalog>,
    /// Changes of the catalog that it does not cover.
    changes: Vec<(Sequence, Command)>,
    pub(super) queues: HashMap<u64, RecoveredQueue>,
    /// Logs that still need something.
    pub(super) logs: HashSet<u64>,
    body: Option<(u64, Arc<Chunk>)>,
    /// Who understands the cluster's log.
    member: Option<&'a mut dyn ClusterLog>,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(member: Option<&'a mut dyn ClusterLog>) -> Recovery<'a> {
        Recovery { member, ..Recovery::default() }
    }

    /// The catalog that the cluster's log has; None without one.
    pub(super) fn take_shared(&mut self, damage: &[String]) -> Result<Option<Catalog>, String> {
        self.member.as_mut().map_or(Ok(None), |member| member.catalog(damage))
    }

    fn cluster_entry(&mut self, entry: &ReplayedEntry<'_>) -> Result<(), String> {
        let Some(member) = &mut self.member else {
            return Err("the data directory is that of a member of a cluster: start the node as one, \
                        with --cluster-addr, or with an empty data directory"
                .to_owned());
        };
        member.replay(entry.kind, entry.head, entry.sequence)
    }

    /// The catalog; None when nothing was ever written.
    pub(super) fn take_catalog(&mut self) -> Result<Option<Catalog>, String> {
        let changes = std::mem::take(&mut self.changes);
        let Some(mut catalog) = self.catalog.take() else {
            if changes.is_empty() {
                return Ok(None);
            }
            return Err("the log has changes of the catalog but no catalog to change".to_owned());
        };
        changes.into_iter().for_each(|(_, command)| self.change(&mut catalog, command));
        Ok(Some(catalog))
    }

    /// The last queue time that was logged.
    pub(super) fn last_ms(&self) -> u64 {
        self.queues.values().map(RecoveredQueue::last_ms).max().unwrap_or(0)
    }

    fn change(&mut self, catalog: &mut Catalog, command: Command) {
        let mut events = Vec::new();
        // Only what changed something was logged; what a damaged log has lost before may refuse it now.
        if let Err(error) = catalog.apply(command, &mut events) {
            tracing::warn!(%error, "a change of the catalog does not apply any more");
        }
        for event in events {
            match event {
                Event::QueueDeleted(row) => drop(self.queues.remove(&row.id.0)),
                Event::ExchangeDeleted(row) => {
                    row.holding.and_then(|id| self.queues.remove(&id.0));
                }
                _ => {}
            }
        }
    }

    fn catalog_entry(&mut self, entry: &ReplayedEntry<'_>) -> Result<(), String> {
        match entry.kind {
            EntryKind::Record => {
                let command =
                    Command::decode(entry.head).map_err(|error| format!("catalog change: {error}"))?;
                self.changes.push((entry.sequence, command));
            }
            EntryKind::Snapshot { covers, .. } => {
                let catalog = Catalog::decode(entry.head).map_err(|error| format!("catalog: {error}"))?;
                self.catalog = Some(catalog);
                self.changes.retain(|(sequence, _)| *sequence > covers);
            }
            // The cluster's log has it.
            EntryKind::End => {
                self.catalog = None;
                self.changes.clear();
                self.logs.remove(&CATALOG_LOG);
            }
        }
        Ok(())
    }

    /// The chunk of an entry's body; several entries share one.
    fn chunk(&mut self, entry: &ReplayedEntry<'_>) -> Result<Option<Arc<Chunk>>, String> {
        let Some(body) = entry.body else { return Ok(None) };
        if let Some((id, chunk)) = &self.body
            && *id == body.id
        {
            return Ok(Some(chunk.clone()));
        }
        let chunk = Chunk::decode(body.bytes.to_vec()).map_err(|error| format!("messages: {error}"))?;
        let chunk = Arc::new(chunk);
        self.body = Some((body.id, chunk.clone()));
        Ok(Some(chunk))
    }
}

impl Replay for Recovery<'_> {
    fn entry(&mut self, entry: ReplayedEntry<'_>) -> Result<(), String> {
        if entry.log == CLUSTER_LOG {
            return self.cluster_entry(&entry);
        }
        self.logs.insert(entry.log);
        if entry.log == CATALOG_LOG {
            return self.catalog_entry(&entry);
        }
        if entry.kind == EntryKind::End {
            self.logs.remove(&entry.log);
            self.queues.remove(&entry.log);
            return Ok(());
        }
        let chunk = self.chunk(&entry)?;
        let queue = self.queues.entry(entry.log).or_default();
        queue
            .apply(entry.head, chunk.as_ref(), entry.sequence)
            .map_err(|error| format!("queue {}: {error}", QueueId(entry.log)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(vhost: &str) -> Command {
        let (name, description) = (vhost.into(), String::new());
        Command::AddVhost { name, description, tags: Vec::new(), default_queue_type: None }
    }

    fn replay(recovery: &mut Recovery<'_>, sequence: Sequence, kind: EntryKind, head: &[u8]) {
        recovery.entry(ReplayedEntry { sequence, log: CATALOG_LOG, kind, head, body: None }).unwrap();
    }

    fn snapshot(covers: Sequence) -> EntryKind {
        EntryKind::Snapshot { covers, needs_from: Some(covers + 1) }
    }

    /// A snapshot is appended some time after its copy was made. When the next one lets files go, the
    /// first may stay in the log without changes that came meanwhile.
    #[test]
    fn the_last_snapshot_counts_and_not_the_first_that_is_left() {
        let mut catalog = Catalog::new();
        let first = catalog.encode();
        // Changes 1 and 2 are in a file that is gone; 3 is behind the first snapshot's place.
        catalog.apply(add("gone"), &mut Vec::new()).unwrap();
        catalog.apply(add("gone too"), &mut Vec::new()).unwrap();
        let mut recovery = Recovery::default();
        let mut record = Vec::new();
        add("later").encode(&mut record);
        replay(&mut recovery, 3, snapshot(0), &first);
        replay(&mut recovery, 4, EntryKind::Record, &record);
        replay(&mut recovery, 5, snapshot(3), &catalog.encode());
        let found = recovery.take_catalog().unwrap().unwrap();
        let names: Vec<String> = found.vhosts.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["gone", "gone too", "later"]);
    }

    #[test]
    fn changes_without_a_catalog_are_refused() {
        let mut record = Vec::new();
        add("alone").encode(&mut record);
        let mut recovery = Recovery::default();
        assert!(recovery.take_catalog().unwrap().is_none());
        replay(&mut recovery, 1, EntryKind::Record, &record);
        assert!(recovery.take_catalog().unwrap_err().contains("no catalog to change"));
    }
}

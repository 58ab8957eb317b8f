//! What the log says when a node starts: the catalog and the queues, as they were committed.
//!
//! Invariant: entries are applied in the order they were appended. The catalog's snapshot may stand
//! behind changes that it does not cover; these are kept until it is read.

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
    /// None until the first snapshot.
    catalog: Option<Catalog>,
    early: Vec<(Sequence, Command)>,
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
        match self.catalog.take() {
            None if !self.early.is_empty() => {
                Err("the log has changes of the catalog but no catalog to change".to_owned())
            }
            catalog => Ok(catalog),
        }
    }

    /// The last queue time that was logged.
    pub(super) fn last_ms(&self) -> u64 {
        self.queues.values().map(RecoveredQueue::last_ms).max().unwrap_or(0)
    }

    fn change(&mut self, command: Command) {
        let Some(catalog) = &mut self.catalog else { return };
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
                match self.catalog {
                    Some(_) => self.change(command),
                    None => self.early.push((entry.sequence, command)),
                }
            }
            EntryKind::Snapshot { covers, .. } if self.catalog.is_none() => {
                let catalog = Catalog::decode(entry.head).map_err(|error| format!("catalog: {error}"))?;
                self.catalog = Some(catalog);
                for (sequence, command) in std::mem::take(&mut self.early) {
                    if sequence > covers {
                        self.change(command);
                    }
                }
            }
            // What it says is known.
            EntryKind::Snapshot { .. } => {}
            // The cluster's log has it.
            EntryKind::End => {
                self.catalog = None;
                self.early.clear();
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

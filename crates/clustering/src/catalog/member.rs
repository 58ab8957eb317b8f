//! A node's membership in a cluster, as its data directory has it: what is read when the node starts.
//!
//! Invariant: the state that a member starts with is that of its last snapshot and of the entries behind it
//! that it knew to be committed; nothing that may still be undone is in it.

use super::log_state::LogState;
use super::proposal;
use super::raft::{LogId, Membership};
use super::record::Record;
use super::snapshot::State;
use crate::identity::ClusterId;
use broker::catalog::{Catalog, Remains};
use engine::storage::ClusterLog;
use openraft::{EntryPayload, StoredMembership};
use storage::wal::{EntryKind, Sequence};

/// What to do with a member whose log is damaged.
const DAMAGE_ADVICE: &str = "a member of a cluster that has lost part of what it agreed to must not vote any \
                             more: empty the data directory, let the node join again as a new one, and \
                             remove the old one from the cluster";

/// What a data directory says of the cluster its node is in. Filled by [`engine::Broker::open_member`].
#[derive(Debug, Default)]
pub struct Member {
    node: u64,
    /// Records before the first that says all: needed if there is none.
    early: Vec<(Sequence, Vec<u8>)>,
    whole: bool,
    /// The node is to go on alone, without those that are lost.
    recovers: bool,
    pub(super) log: LogState,
    pub(super) beginning: Beginning,
}

/// The replicated state that a member begins with.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    pub(super) state: State,
    pub(super) applied: Option<LogId>,
    pub(super) membership: Membership,
}

impl Member {
    /// Nothing yet; `node` is the node's own id.
    pub fn new(node: types::NodeId) -> Member {
        Member { node: node.0, ..Member::default() }
    }

    /// As `new`, for a node whose cluster has lost its majority for ever: it is taken out of the cluster it was
    /// in and can form another one with all that it knows.
    pub fn recovering(node: types::NodeId) -> Member {
        Member { recovers: true, ..Member::new(node) }
    }

    /// The cluster the node is in.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.log.membership().map(|membership| ClusterId(membership.cluster))
    }

    pub(super) fn node(&self) -> u64 {
        self.node
    }

    /// Reads what came before anything that says all.
    fn read_early(&mut self) -> Result<(), String> {
        for (sequence, bytes) in std::mem::take(&mut self.early) {
            let record = Record::decode(&bytes)?;
            self.log
                .apply(record)
                .map_err(|why| format!("the cluster's log, at {sequence}: {why}; {DAMAGE_ADVICE}"))?;
        }
        Ok(())
    }

    /// Leaves the cluster that is lost: what this node knows of its catalog becomes its own. Entries that are not
    /// known to be committed count too, since others may have answered for them.
    fn leave_lost_cluster(&mut self) -> Catalog {
        let beginning = std::mem::take(&mut self.beginning);
        self.log = LogState::default();
        let nodes: Vec<String> =
            beginning.state.catalog.nodes.values().map(|node| node.name.clone()).collect();
        let Remains { catalog, lost, behind } = beginning.state.catalog.alone(types::NodeId(self.node));
        tracing::warn!("recovering without the cluster of nodes {}", nodes.join(", "));
        for queue in lost {
            tracing::warn!(queue = %queue.name, vhost = %queue.vhost, "the queue lived on a node that is given up");
        }
        for queue in behind {
            tracing::warn!(
                queue = %queue.name, vhost = %queue.vhost,
                "the copy of the queue that is here was not in sync: it may lack messages"
            );
        }
        catalog
    }

    /// Applies what is known to be committed to the catalog that is kept; everything when the node recovers.
    fn begin(&mut self) -> Result<(), String> {
        let mut beginning = Beginning::default();
        if let Some((meta, data)) = self.log.snapshot() {
            beginning.state = State::decode(data)?;
            beginning.applied = meta.last_log_id;
            beginning.membership = meta.last_membership.clone();
        }
        let first = beginning.applied.map_or(0, |id| id.index + 1);
        let known = self.log.committed().map_or(0, |id| id.index + 1);
        let end = if self.recovers { u64::MAX } else { known.max(first) };
        for entry in self.log.entries(&(first..end)) {
            let follows = beginning.applied.is_none_or(|last| last.index + 1 == entry.log_id.index);
            if !follows {
                return Err(format!("entries before {} are missing; {DAMAGE_ADVICE}", entry.log_id));
            }
            beginning.applied = Some(entry.log_id);
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(nodes) => {
                    beginning.membership = StoredMembership::new(Some(entry.log_id), nodes.clone());
                }
                EntryPayload::Normal(payload) => {
                    apply_payload(&mut beginning.state, entry.log_id.index, &payload.0)?;
                }
            }
        }
        self.beginning = beginning;
        Ok(())
    }
}

fn apply_payload(state: &mut State, index: u64, payload: &[u8]) -> Result<(), String> {
    let State { sessions, catalog } = state;
    for group in proposal::groups(payload)? {
        let mut apply = |command| catalog.apply(command, &mut Vec::new());
        sessions.apply(&group, index, &mut Vec::new(), &mut apply, &mut |_, _| {})?;
    }
    Ok(())
}

impl ClusterLog for Member {
    fn replay(&mut self, kind: EntryKind, head: &[u8], sequence: Sequence) -> Result<(), String> {
        match kind {
            EntryKind::End => Err("the cluster's log was ended".to_owned()),
            EntryKind::Record if !self.whole => {
                // It may be of no use, but it must be sound.
                Record::decode(head)?;
                self.early.push((sequence, head.to_vec()));
                Ok(())
            }
            EntryKind::Record => self.log.apply(Record::decode(head)?),
            EntryKind::Snapshot { .. } => match Record::decode(head)? {
                record @ Record::Whole(_) => {
                    self.early = Vec::new();
                    self.whole = true;
                    self.log.apply(record)
                }
                _ => Err("a snapshot that does not say all".to_owned()),
            },
        }
        .map_err(|why| format!("the cluster's log: {why}"))
    }

    fn catalog(&mut self, damage: &[String]) -> Result<Option<Catalog>, String> {
        self.read_early()?;
        let Some(membership) = self.log.membership() else { return Ok(None) };
        if membership.node != self.node {
            return Err(format!(
                "the data directory is that of node {:016x} of a cluster, this node is {:016x}: each node \
                 needs its own",
                membership.node, self.node
            ));
        }
        if let Some(first) = damage.first() {
            return Err(format!("{first}; {DAMAGE_ADVICE}"));
        }
        self.begin().map_err(|why| format!("the cluster's log: {why}"))?;
        if self.recovers {
            return Ok(Some(self.leave_lost_cluster()));
        }
        Ok(Some(self.beginning.state.catalog.clone()))
    }
}

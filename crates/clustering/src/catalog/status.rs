//! What operators see of the catalog's group.

use super::group::CatalogGroup;
use openraft::ServerState;
use types::NodeId;

/// A member of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The node.
    pub node: NodeId,
    /// Whether it votes, and does not only while a change of voters is under way: until that is through, most
    /// of the voters before it are needed too.
    pub votes: bool,
    /// Index of the last entry it is known to have; only the leader knows that of others.
    pub matched: Option<u64>,
    /// Index of the last entry it is known to have applied; only the leader knows that of others.
    pub applied: Option<u64>,
    /// How many entries it is behind the leader's log; only the leader knows.
    pub lag: Option<u64>,
}

/// The group as one node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// The term of the last vote.
    pub term: u64,
    /// Index of the last entry here.
    pub last_log: Option<u64>,
    /// Index of the last entry that is known here to be committed.
    pub committed: Option<u64>,
    /// Index of the last entry that is applied here.
    pub applied: Option<u64>,
    /// Bytes of the log's entries in memory, about.
    pub log_bytes: usize,
    /// All members, by id.
    pub members: Vec<MemberStatus>,
    /// Whether it is being changed who votes: most of the old and most of the new voters are needed then.
    pub changing: bool,
    /// Whether this node has a leader with a majority, or is that.
    pub has_majority: bool,
    /// Why the group cannot go on on this node.
    pub failure: Option<String>,
}

impl CatalogGroup {
    /// The group as this node knows it; None while the node is in no cluster.
    pub fn status(&self) -> Option<GroupStatus> {
        let core = &self.core;
        let metrics = core.metrics()?;
        let leads = metrics.state == ServerState::Leader;
        let applied = (*core.applied.borrow()).map(|id| id.index);
        let sets = metrics.membership_config.membership().get_joint_config();
        let votes = |node: &u64| !sets.is_empty() && sets.iter().all(|voters| voters.contains(node));
        let member = |node: u64| {
            let is_me = node == core.config.node.0;
            let matched = match &metrics.replication {
                _ if is_me => metrics.last_log_index,
                Some(replication) => replication.get(&node).copied().flatten().map(|id| id.index),
                None => None,
            };
            let applied = match leads {
                _ if is_me => applied,
                true => core.book.known_applied(node),
                false => None,
            };
            let lag = if leads {
                matched.map(|at| metrics.last_log_index.unwrap_or(0).saturating_sub(at))
            } else {
                None
            };
            MemberStatus { node: NodeId(node), votes: votes(&node), matched, applied, lag }
        };
        // One lock after the other: guards must not live as long as the whole picture takes.
        let (committed, log_bytes) = {
            let log = core.log.state();
            (log.committed().map(|id| id.index), log.entry_bytes())
        };
        let leader = *core.leader.borrow();
        let failure = core.failure.borrow().clone();
        Some(GroupStatus {
            leader,
            term: metrics.current_term,
            last_log: metrics.last_log_index,
            committed,
            applied,
            log_bytes,
            members: metrics.membership_config.nodes().map(|(node, _)| member(*node)).collect(),
            changing: metrics.membership_config.membership().get_joint_config().len() > 1,
            has_majority: if leads { core.leads().is_some() } else { self.lease_held() },
            failure,
        })
    }
}

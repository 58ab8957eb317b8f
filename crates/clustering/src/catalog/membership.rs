//! Who is a member of the catalog's group, and who of them votes.
//!
//! Invariant: a node votes only once it has nearly all of the log. Up to seven nodes vote, an odd number: one
//! more would have to be waited for and could not be missed either.

use super::group::{CatalogGroup, Core};
use super::network::{LeaderReply, MemberChange, kind};
use super::raft::{Metrics, Raft};
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, EmptyNode, ServerState};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use types::NodeId;
use types::limits::CATALOG_VOTERS_MAX;

/// How often the leader looks whether other nodes should vote.
const LOOK: Duration = Duration::from_millis(200);
/// How long a change of members may take.
const CHANGE_TIMEOUT: Duration = Duration::from_millis(5_000);
/// How long a change is asked for, over all leaders.
const ASK_TIMEOUT: Duration = Duration::from_millis(15_000);
/// How soon it is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A node that is so many entries behind has nearly all of the log.
const NEARLY_ENTRIES: u64 = 200;
/// A node of which nothing was heard for so long is not made a voter.
const SILENT: Duration = Duration::from_millis(1_000);

/// Who should vote. `ready`: followers that have nearly all of the log; `me` stays if it votes.
fn wanted_voters(voters: &BTreeSet<u64>, ready: &BTreeSet<u64>, me: u64) -> BTreeSet<u64> {
    let available = (voters.len() + ready.difference(voters).count()).min(CATALOG_VOTERS_MAX);
    let count = if available.is_multiple_of(2) { available.saturating_sub(1) } else { available };
    let mut wanted = voters.clone();
    for node in ready {
        if wanted.len() < count {
            wanted.insert(*node);
        }
    }
    while wanted.len() > count {
        let Some(last) = wanted.iter().rev().find(|node| **node != me).copied() else { break };
        wanted.remove(&last);
    }
    wanted
}

fn voters(metrics: &Metrics) -> BTreeSet<u64> {
    metrics.membership_config.membership().get_joint_config().last().cloned().unwrap_or_default()
}

fn has_node(metrics: &Metrics, node: u64) -> bool {
    metrics.membership_config.nodes().any(|(id, _)| *id == node)
}

type ChangeError = RaftError<u64, ClientWriteError<u64, EmptyNode>>;

fn failed(error: ChangeError) -> LeaderReply {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            LeaderReply::NotLeader { leader: forward.leader_id }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(
            _,
        ))) => {
            // The one before is over soon.
            LeaderReply::NotLeader { leader: None }
        }
        error => LeaderReply::Failed { why: error.to_string() },
    }
}

async fn change(raft: &Raft, change: impl Into<ChangeMembers<u64, EmptyNode>>) -> Result<u64, LeaderReply> {
    match tokio::time::timeout(CHANGE_TIMEOUT, raft.change_membership(change, true)).await {
        Ok(Ok(written)) => Ok(written.log_id.index),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(LeaderReply::Failed { why: "most of the voting nodes do not answer".to_owned() }),
    }
}

impl Core {
    /// Followers that have nearly all of the log and answer.
    fn ready(&self, metrics: &Metrics) -> BTreeSet<u64> {
        let voters = voters(metrics);
        let last = metrics.last_log_index.unwrap_or(0);
        let now = self.now();
        let Some(replication) = &metrics.replication else { return BTreeSet::new() };
        let is_ready = |(node, matched): (&u64, &Option<super::raft::LogId>)| {
            let has = matched.is_some_and(|id| id.index + NEARLY_ENTRIES >= last);
            let heard = !self.acks.is_silent(*node, now, SILENT);
            (has && heard && !voters.contains(node)).then_some(*node)
        };
        replication.iter().filter_map(is_ready).collect()
    }

    /// Makes nodes vote that should; to be spawned once.
    pub(super) async fn tend_members(self: Arc<Core>) {
        let Some(raft) = self.raft() else { return };
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let _members = self.members.lock().await;
            let Some(metrics) = self.metrics() else { continue };
            if metrics.state != ServerState::Leader || self.leads().is_none() {
                continue;
            }
            let voters = voters(&metrics);
            let is_joint = metrics.membership_config.membership().get_joint_config().len() > 1;
            let wanted = if is_joint {
                // A leader before this one did not get to the end of its change.
                voters.clone()
            } else {
                wanted_voters(&voters, &self.ready(&metrics), self.config.node.0)
            };
            if (is_joint || wanted != voters)
                && let Err(why) = change(raft, wanted.clone()).await
            {
                tracing::warn!(?why, ?wanted, "the catalog's voters could not be changed");
            }
        }
    }

    /// Changes who is a member; on the leader.
    pub(super) async fn change_member(&self, request: MemberChange) -> LeaderReply {
        let _members = self.members.lock().await;
        let outcome = match request {
            MemberChange::Add(node) => self.add(node).await,
            MemberChange::Remove(node) => self.remove(node).await,
        };
        match outcome {
            Ok(index) => LeaderReply::Done { index },
            Err(reply) => reply,
        }
    }

    fn leading(&self) -> Result<(&Raft, Metrics), LeaderReply> {
        let (Some(raft), Some(metrics)) = (self.raft(), self.metrics()) else {
            return Err(LeaderReply::NotLeader { leader: None });
        };
        if metrics.state != ServerState::Leader {
            return Err(LeaderReply::NotLeader { leader: metrics.current_leader });
        }
        Ok((raft, metrics))
    }

    async fn add(&self, node: u64) -> Result<u64, LeaderReply> {
        let (raft, metrics) = self.leading()?;
        if has_node(&metrics, node) {
            return Ok(0);
        }
        match tokio::time::timeout(CHANGE_TIMEOUT, raft.add_learner(node, EmptyNode {}, false)).await {
            Ok(Ok(written)) => Ok(written.log_id.index),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(LeaderReply::Failed { why: "most of the voting nodes do not answer".to_owned() }),
        }
    }

    async fn remove(&self, node: u64) -> Result<u64, LeaderReply> {
        let (raft, metrics) = self.leading()?;
        if !has_node(&metrics, node) {
            return Ok(0);
        }
        let mut voters = voters(&metrics);
        if voters.remove(&node) {
            let mut ready = self.ready(&metrics);
            ready.remove(&node);
            let wanted = wanted_voters(&voters, &ready, self.config.node.0);
            if wanted.is_empty() {
                let why = if metrics.membership_config.nodes().count() == 1 {
                    "the last node of a cluster cannot be removed from it"
                } else {
                    "no other node has all of the catalog yet; try again when one has"
                };
                return Err(LeaderReply::Failed { why: why.to_owned() });
            }
            change(raft, wanted).await?;
        }
        if node == self.config.node.0 {
            // The next leader does the rest.
            return Err(LeaderReply::NotLeader { leader: None });
        }
        change(raft, ChangeMembers::RemoveNodes(BTreeSet::from([node]))).await
    }

    async fn ask_for_change(&self, request: MemberChange) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + ASK_TIMEOUT;
        let mut last = "the catalog has no leader".to_owned();
        while tokio::time::Instant::now() < deadline {
            let leader = *self.leader.borrow();
            let reply = match leader {
                None => Err("the catalog has no leader".to_owned()),
                Some(leader) if leader == self.config.node => Ok(self.change_member(request).await),
                Some(leader) => {
                    let timeout = 2 * CHANGE_TIMEOUT;
                    self.ask::<LeaderReply>(leader, kind::MEMBER, &request, timeout).await
                }
            };
            match reply {
                Ok(LeaderReply::Done { .. }) => return Ok(()),
                Ok(LeaderReply::NotLeader { .. }) => {}
                Ok(LeaderReply::Failed { why }) => return Err(why),
                Err(why) => last = why,
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Err(last)
    }

    /// Voting nodes of which nothing was heard of late.
    pub(super) fn silent_voters(&self) -> Vec<NodeId> {
        let Some(metrics) = self.metrics() else { return Vec::new() };
        let (me, now) = (self.config.node.0, self.now());
        let is_silent = |node: &u64| *node != me && self.acks.is_silent(*node, now, SILENT);
        voters(&metrics).into_iter().filter(is_silent).map(NodeId).collect()
    }
}

impl CatalogGroup {
    /// Adds a node: it gets the catalog, and votes once it has it, if it is one of the first seven. Nothing
    /// if it is there. On any member.
    ///
    /// # Errors
    /// There is no leader, or no majority, for some seconds.
    pub async fn add_node(&self, node: NodeId) -> Result<(), String> {
        self.core.running()?;
        self.on_thread(move |core| async move { core.ask_for_change(MemberChange::Add(node.0)).await }).await
    }

    /// Removes a node, for good: its id is not to be used again. Nothing if it is not there. On any member.
    ///
    /// # Errors
    /// It is the last one, or there is no leader, or no majority, for some seconds.
    pub async fn remove_node(&self, node: NodeId) -> Result<(), String> {
        self.core.running()?;
        self.on_thread(move |core| async move { core.ask_for_change(MemberChange::Remove(node.0)).await })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    #[test]
    fn an_odd_number_of_nodes_votes() {
        for (voters, ready, wanted) in [
            (set(&[1]), set(&[]), set(&[1])),
            (set(&[1]), set(&[2]), set(&[1])),
            (set(&[1]), set(&[2, 3]), set(&[1, 2, 3])),
            (set(&[1, 2, 3]), set(&[4]), set(&[1, 2, 3])),
            (set(&[1, 2, 3]), set(&[4, 5]), set(&[1, 2, 3, 4, 5])),
            (set(&[1, 2, 3, 4, 5, 6, 7]), set(&[8, 9]), set(&[1, 2, 3, 4, 5, 6, 7])),
            (set(&[1, 2]), set(&[]), set(&[1])),
            (set(&[1, 2]), set(&[3]), set(&[1, 2, 3])),
            (set(&[0, 1]), set(&[]), set(&[1])),
            (set(&[]), set(&[2]), set(&[2])),
            (set(&[]), set(&[]), set(&[])),
        ] {
            assert_eq!(wanted_voters(&voters, &ready, 1), wanted, "{voters:?} {ready:?}");
        }
    }
}

//! What a member does all the time: keeps its lease, tells what it has applied, watches who leads, keeps the
//! log short.
//!
//! Invariant: none of it waits for a node that does not answer longer than that node leads.

use super::group::{CatalogGroup, Core};
use super::lease::LEASE;
use super::network::{LeaderReply, LeaseReply, LeaseRequest, body, fields, kind};
use openraft::ServerState;
use openraft::error::{CheckIsLeaderError, RaftError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use types::NodeId;
use types::limits::{CATALOG_LOG_BYTES, LEASE_RENEWAL_MS};

/// How soon a lease is asked for again that was not granted.
const LEASE_RETRY: Duration = Duration::from_millis(50);
/// How long an answer may take that is of no use later.
const CALL_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How often the log's size is looked at.
const LOG_LOOK: Duration = Duration::from_millis(500);
/// How soon a question to the leader is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl Core {
    /// When this node, which leads, last knew that it does, and what it has applied. None when it does not
    /// lead, or does not know that for long enough, or does not know yet all that was agreed on before.
    pub(super) fn leads(&self) -> Option<(Duration, u64)> {
        let metrics = self.metrics()?;
        if metrics.state != ServerState::Leader {
            return None;
        }
        let term = metrics.current_term;
        let applied = (*self.applied.borrow()).filter(|id| id.leader_id.term == term)?;
        let now = self.now();
        self.book.lead(term, now);
        let configs: &Vec<BTreeSet<u64>> = metrics.membership_config.membership().get_joint_config();
        let at = self.acks.majority(configs, self.config.node.0, term, now)?;
        (now.saturating_sub(at) < LEASE).then_some((at, applied.index))
    }

    /// Answers a request for a lease.
    pub(super) fn grant(&self, node: NodeId, request: LeaseRequest) -> LeaseReply {
        let leader = (*self.leader.borrow()).map(|leader| leader.0);
        if leader != Some(self.config.node.0) {
            return LeaseReply::NotLeader { leader };
        }
        let Some((at, needs)) = self.leads() else { return LeaseReply::NotSure };
        if !self.other_nodes().contains(&node.0) {
            return LeaseReply::NotMember;
        }
        let now = self.now();
        self.book.grant(node.0, request.applied, now);
        let age = now.saturating_sub(at);
        LeaseReply::Granted { age_us: u64::try_from(age.as_micros()).unwrap_or(u64::MAX), needs }
    }

    /// Asks for a lease; false when there is none.
    async fn renew_lease(&self, leader: NodeId) -> bool {
        let sent = self.now();
        if leader == self.config.node {
            let Some((at, needs)) = self.leads() else { return false };
            self.holder.granted(sent, self.now().saturating_sub(at), needs);
            return true;
        }
        let request = LeaseRequest { applied: (*self.applied.borrow()).map_or(0, |id| id.index) };
        match self.ask::<LeaseReply>(leader, kind::LEASE, &request, CALL_TIMEOUT).await {
            Ok(LeaseReply::Granted { age_us, needs }) => {
                self.holder.granted(sent, Duration::from_micros(age_us), needs);
                true
            }
            _ => false,
        }
    }

    /// One question to another node.
    pub(super) async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        node: NodeId,
        kind: u8,
        request: &(impl serde::Serialize + Sync),
        timeout: Duration,
    ) -> Result<T, String> {
        let body = body(self.running()?.cluster, request)?;
        let answer = self.rpc.call(node, kind, body, timeout).await;
        fields(&answer.map_err(|error| error.to_string())?)
    }

    /// Keeps this node's lease; to be spawned once.
    pub(super) async fn keep_lease(self: Arc<Core>) {
        let mut changes = self.leader.subscribe();
        loop {
            let leader = *changes.borrow_and_update();
            let granted = match leader {
                None => false,
                Some(leader) => tokio::select! {
                    granted = self.renew_lease(leader) => granted,
                    () = self.leader_is_not(leader) => false,
                },
            };
            let pause = if granted { Duration::from_millis(LEASE_RENEWAL_MS) } else { LEASE_RETRY };
            let _ = tokio::time::timeout(pause, changes.changed()).await;
        }
    }

    /// Lets leases hold once what they need is applied; to be spawned once.
    pub(super) async fn settle_lease(self: Arc<Core>) {
        let mut applied = self.applied.subscribe();
        loop {
            let id = *applied.borrow_and_update();
            if let Some(id) = id {
                self.holder.applied(id.index);
            }
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells the leader what is applied here, as soon as it is; to be spawned once.
    pub(super) async fn tell_applied(self: Arc<Core>) {
        let mut applied = self.applied.subscribe();
        loop {
            let id = *applied.borrow_and_update();
            let leader = *self.leader.borrow();
            if let (Some(id), Some(leader)) = (id, leader)
                && leader != self.config.node
            {
                let request = LeaseRequest { applied: id.index };
                tokio::select! {
                    _ = self.ask::<()>(leader, kind::APPLIED, &request, CALL_TIMEOUT) => {}
                    () = self.leader_is_not(leader) => {}
                }
            }
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    /// Watches who leads, and whether openraft goes on; to be spawned once.
    pub(super) async fn watch_leader(self: Arc<Core>) {
        let Some(raft) = self.raft() else { return };
        let mut changes = raft.metrics();
        loop {
            let (leader, failure) = {
                let metrics = changes.borrow_and_update();
                if metrics.state == ServerState::Leader {
                    self.book.lead(metrics.current_term, self.now());
                }
                (metrics.current_leader.map(NodeId), metrics.running_state.clone().err())
            };
            if let Some(error) = failure {
                self.fail(&error.to_string());
                return;
            }
            self.leader.send_if_modified(|known| std::mem::replace(known, leader) != leader);
            if changes.changed().await.is_err() {
                self.fail("it has come upon a fault of its own");
                return;
            }
        }
    }

    /// The group cannot go on, unless it was to end.
    fn fail(&self, why: &str) {
        if *self.stop.borrow() {
            return;
        }
        tracing::error!("the cluster's catalog cannot go on on this node: {why}");
        self.leader.send_replace(None);
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| format!("the cluster's catalog cannot go on: {why}"));
            is_first
        });
    }

    /// Has the log made shorter when its entries are large; to be spawned once.
    pub(super) async fn tend_log(self: Arc<Core>) {
        let Some(raft) = self.raft() else { return };
        let mut tick = tokio::time::interval(LOG_LOOK);
        loop {
            tick.tick().await;
            let (behind, all, covered) = {
                let state = self.log.state();
                let covered = state.snapshot().and_then(|(meta, _)| meta.last_log_id);
                (state.bytes_behind_snapshot(), state.entry_bytes(), covered)
            };
            let done = if behind > CATALOG_LOG_BYTES {
                raft.trigger().snapshot().await
            } else if all > 2 * CATALOG_LOG_BYTES
                && let Some(covered) = covered
            {
                raft.trigger().purge_log(covered.index).await
            } else {
                Ok(())
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// What has to be applied to know all that is agreed on now; on the leader.
    pub(super) async fn read_index(&self) -> LeaderReply {
        let Some(raft) = self.raft() else { return LeaderReply::NotLeader { leader: None } };
        match raft.get_read_log_id().await {
            Ok((read, _)) => LeaderReply::Done { index: read.map_or(0, |id| id.index) },
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
                LeaderReply::NotLeader { leader: forward.leader_id }
            }
            Err(error) => LeaderReply::Failed { why: error.to_string() },
        }
    }

    /// Comes back when this node has applied all that was agreed on when it was called; asks until the
    /// leader answers.
    async fn catch_up(&self) {
        let index = loop {
            let leader = *self.leader.borrow();
            let reply = match leader {
                None => Err("there is no leader".to_owned()),
                Some(leader) if leader == self.config.node => Ok(self.read_index().await),
                Some(leader) => self.ask::<LeaderReply>(leader, kind::READ, &(), CALL_TIMEOUT).await,
            };
            match reply {
                Ok(LeaderReply::Done { index }) => break index,
                _ => tokio::time::sleep(ASK_AGAIN).await,
            }
        };
        let reached = |id: &Option<super::raft::LogId>| id.is_some_and(|id| id.index >= index);
        let _ = self.applied.subscribe().wait_for(reached).await;
    }

    /// Tells the target once that it has all that the cluster had agreed on; to be spawned once.
    pub(super) async fn catch_up_once(self: Arc<Core>) {
        self.catch_up().await;
        let core = self.clone();
        let _ = tokio::task::spawn_blocking(move || core.target.caught_up()).await;
    }
}

impl CatalogGroup {
    /// Whether this node has a lease: what the cluster has agreed on is applied here, but for what nobody
    /// was told yet. Cheap enough to be asked often.
    pub fn lease_held(&self) -> bool {
        self.core.holder.is_held(self.core.now())
    }

    /// Whether another node may have a lease, as far as this one, the leader, knows. True on any other node.
    pub fn may_hold_lease(&self, node: NodeId) -> bool {
        self.core.leads().is_none() || self.core.book.leased_until(node.0) > self.core.now()
    }

    /// Comes back when this node has applied all that was agreed on when it was called. Waits as long as
    /// there is no leader.
    ///
    /// # Errors
    /// The node is in no cluster, or is stopping.
    pub async fn catch_up(&self) -> Result<(), String> {
        self.core.running()?;
        self.on_thread(|core| async move {
            core.catch_up().await;
            Ok(())
        })
        .await
    }
}

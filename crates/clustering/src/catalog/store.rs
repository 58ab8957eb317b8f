//! Proposing changes from any node: to the leader, wherever that is, until there is an outcome.
//!
//! Invariant: a proposal is sent again until it is answered, and applied once. It fails only when the cluster
//! has had no majority for a while; what it comes to later is then not known.

use super::desk::Parcel;
use super::group::Core;
use super::lease::LEASE_AND_DRIFT;
use super::network::{Proposed, fields, kind, raw_body};
use broker::catalog::Command;
use engine::catalog::{CatalogStore, Change};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use types::limits::{CATALOG_COMMAND_MAX_BYTES, CATALOG_NO_MAJORITY_MS, CATALOG_PROPOSAL_MAX_MS};
use types::{AmqpError, NodeId};

/// Parcels on their way to the leader at the same time.
const PARCELS_MAX: usize = 4;
/// How long the leader may take for a parcel before it is sent again.
const PARCEL_TIMEOUT: Duration = Duration::from_millis(4_000);
/// How long to wait after a parcel did not get through.
const RETRY: Duration = Duration::from_millis(30);
/// How often is looked for what has waited too long.
const EXPIRY: Duration = Duration::from_millis(50);
/// Beyond the leases, for the leader's word that they are over to arrive.
const WORD: Duration = Duration::from_millis(300);

/// The store of a cluster's member.
pub(super) struct MemberStore {
    core: Weak<Core>,
}

impl MemberStore {
    pub(super) fn new(core: &Arc<Core>) -> MemberStore {
        MemberStore { core: Arc::downgrade(core) }
    }
}

fn stopped() -> AmqpError {
    AmqpError::internal_error("the node is stopping")
}

impl CatalogStore for MemberStore {
    fn propose(&self, command: Command) -> Change<'_> {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        if bytes.len() > CATALOG_COMMAND_MAX_BYTES {
            let explanation = format!(
                "a change of the catalog of {} bytes: in a cluster it may have {CATALOG_COMMAND_MAX_BYTES}",
                bytes.len()
            );
            return Box::pin(std::future::ready(Err(AmqpError::precondition_failed(explanation))));
        }
        Box::pin(async move {
            let core = self.core.upgrade().ok_or_else(stopped)?;
            let since = core.now();
            let place = core.places.clone().acquire_owned().await.map_err(|_| stopped())?;
            let (reply, outcome) = oneshot::channel();
            core.desk.add(bytes, reply, since, place);
            core.proposed.notify_one();
            drop(core);
            outcome.await.map_err(|_| stopped())?
        })
    }
}

impl Core {
    /// Sends what is proposed on this node to the leader; to be spawned once.
    pub(super) async fn send_proposals(self: Arc<Core>) {
        let places = Arc::new(Semaphore::new(PARCELS_MAX));
        let mut leader = self.leader.subscribe();
        loop {
            if !self.desk.has_unsent() {
                self.proposed.notified().await;
                continue;
            }
            let Some(to) = *leader.borrow_and_update() else {
                if leader.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let Ok(place) = places.clone().acquire_owned().await else { return };
            if let Some(parcel) = self.desk.parcel() {
                tokio::spawn(self.clone().send_parcel(to, parcel, place));
            }
        }
    }

    async fn send_parcel(self: Arc<Core>, to: NodeId, parcel: Parcel, _place: OwnedSemaphorePermit) {
        let Parcel { numbers, bytes } = parcel;
        let proposed = tokio::select! {
            proposed = self.deliver(to, bytes) => proposed,
            () = self.leader_is_not(to) => Ok(Proposed::NotLeader { leader: None }),
        };
        match proposed {
            Ok(Proposed::Done { index, answers }) if answers.len() == numbers.len() => {
                self.desk.confirmed(&numbers, answers, index);
                let applied = *self.applied.borrow();
                if let Some(applied) = applied {
                    self.desk.reached(applied.index, || self.target.snapshot());
                }
                return;
            }
            Ok(Proposed::Refused { why }) => {
                self.desk.refuse(&numbers, &AmqpError::internal_error(why));
                return;
            }
            Ok(other) => tracing::debug!(?other, "proposals were not taken"),
            Err(why) => tracing::debug!(%why, "proposals did not get to the catalog's leader"),
        }
        self.desk.unsend(&numbers);
        tokio::time::sleep(RETRY).await;
        self.proposed.notify_one();
    }

    async fn deliver(&self, to: NodeId, bytes: Vec<u8>) -> Result<Proposed, String> {
        if to == self.config.node {
            return Ok(self.batcher.submit(bytes.into()).await);
        }
        let body = raw_body(self.running()?.cluster, &bytes);
        let answer = self.rpc.call(to, kind::PROPOSE, body, PARCEL_TIMEOUT).await;
        fields(&answer.map_err(|error| error.to_string())?)
    }

    /// Comes back when this node takes another one for the leader, or none.
    pub(super) async fn leader_is_not(&self, node: NodeId) {
        let _ = self.leader.subscribe().wait_for(|leader| *leader != Some(node)).await;
    }

    /// Answers what has waited too long; to be spawned once.
    pub(super) async fn expire_proposals(self: Arc<Core>) {
        let mut tick = tokio::time::interval(EXPIRY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let now = self.now();
            let heard = self.holder.heard();
            let waited = |since: Duration| now.saturating_sub(since);
            let is_over = |since: Duration| {
                if waited(since.max(heard)) >= Duration::from_millis(CATALOG_NO_MAJORITY_MS) {
                    Some(self.no_majority())
                } else if waited(since) >= Duration::from_millis(CATALOG_PROPOSAL_MAX_MS) {
                    Some(AmqpError::internal_error(
                        "the cluster did not get to the change of the catalog in time",
                    ))
                } else {
                    None
                }
            };
            self.desk.expire(is_over, |applied| waited(applied) >= LEASE_AND_DRIFT + WORD);
        }
    }

    /// Why changes fail.
    fn no_majority(&self) -> AmqpError {
        let name = |node| (self.config.name_of)(node);
        let leader = *self.leader.borrow();
        let mut silent: Vec<String> = self.silent_voters().into_iter().map(name).collect();
        silent.sort_unstable();
        AmqpError::internal_error(match (leader, silent.as_slice()) {
            (Some(leader), _) if leader != self.config.node => {
                format!("the catalog's leader {} does not answer: no change can be made", name(leader))
            }
            (_, []) => "the cluster's catalog has no leader: no change can be made until it has".to_owned(),
            (_, silent) => format!(
                "the cluster has no majority: changes of the catalog wait for node(s) {}",
                silent.join(", ")
            ),
        })
    }
}

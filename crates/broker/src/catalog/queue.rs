//! A queue as the catalog knows it: what was declared and what follows from it.

use super::refusal;
use crate::policy::Policy;
use crate::queue::{QueueConfig, QueueKind};
use std::sync::Arc;
use types::{AmqpError, ConnectionId, FieldTable, NodeId, QueueId, QueueName, UserName, VhostName};

/// A declared queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Given at declare and never given again.
    pub id: QueueId,
    /// Where it lives.
    pub vhost: VhostName,
    /// Its name, unique in the vhost.
    pub name: QueueName,
    /// Survives a restart; never true for an exclusive queue.
    pub durable: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// The connection it belongs to.
    pub exclusive: Option<ConnectionId>,
    /// classic or quorum.
    pub kind: QueueKind,
    /// As declared; `x-queue-type` is filled in when the vhost has a default.
    pub arguments: FieldTable,
    /// What arguments, policy and operator policy come to.
    pub config: QueueConfig,
    /// The policy that applies.
    pub policy: Option<Arc<Policy>>,
    /// The operator policy that applies.
    pub operator_policy: Option<Arc<Policy>>,
    /// Who declared it.
    pub user: UserName,
    /// The node that has its messages; 0 where there is no cluster.
    pub home: NodeId,
    /// Its copies; None for a queue that is not mirrored.
    pub copies: Option<Arc<super::copies::Copies>>,
}

/// Refuses the use of another connection's exclusive queue.
pub fn check_exclusive(queue: &Queue, connection: ConnectionId) -> Result<(), AmqpError> {
    match queue.exclusive {
        Some(owner) if owner != connection => Err(refusal::locked(&queue.vhost, queue.name.as_str())),
        _ => Ok(()),
    }
}

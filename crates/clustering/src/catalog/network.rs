//! Messages about the catalog between nodes: their kinds, their bytes, and openraft's way of sending them.
//!
//! Each body is a version byte, the cluster's id (16 bytes, little-endian), and the kind's fields in postcard.
//!
//! Invariant: a node takes part only in what is said within its own cluster; bodies that are not whole are
//! refused.

use super::lease::{Acks, Clock};
use super::proposal::Answer;
use super::raft::Types;
use crate::identity::ClusterId;
pub use crate::transport::CallError;
use bytes::Bytes;
use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, RPCTypes, RaftNetwork, RaftNetworkFactory};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use types::NodeId;

/// The kinds of messages; the catalog's are 1 to 31.
pub mod kind {
    /// openraft: entries and heartbeats.
    pub const APPEND: u8 = 1;
    /// openraft: asks for a vote.
    pub const VOTE: u8 = 2;
    /// openraft: a piece of a snapshot.
    pub const SNAPSHOT: u8 = 3;
    /// Proposals for the leader.
    pub const PROPOSE: u8 = 4;
    /// Asks the leader for a lease.
    pub const LEASE: u8 = 5;
    /// Tells the leader what is applied.
    pub const APPLIED: u8 = 6;
    /// Asks the leader to change who is a member.
    pub const MEMBER: u8 = 7;
    /// Asks the leader what has to be applied to know all that is agreed on.
    pub const READ: u8 = 8;
}

/// First byte of each body.
const FORMAT: u8 = 1;
/// Version and cluster.
const HEAD_BYTES: usize = 17;

/// The answer to come of a call.
pub type Call<'a> = Pin<Box<dyn Future<Output = Result<Bytes, CallError>> + Send + 'a>>;

/// Calls to other nodes.
pub trait Rpc: Send + Sync + 'static {
    /// Calls a node; the body is at most a little more than 1 MiB.
    fn call(&self, node: NodeId, kind: u8, body: Vec<u8>, timeout: Duration) -> Call<'_>;
}

/// The leader's answer to proposals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Proposed {
    /// They are applied, with the entry at `index`, wherever clients may be served.
    Done { index: u64, answers: Vec<Answer> },
    /// This node does not lead; whom it takes for the leader.
    NotLeader { leader: Option<u64> },
    /// They cannot be proposed, and why.
    Refused { why: String },
}

/// A request for a lease: what the node has applied.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LeaseRequest {
    pub(crate) applied: u64,
}

/// The answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LeaseReply {
    /// Granted: how long ago this node knew itself to be the leader, and what must be applied first.
    Granted { age_us: u64, needs: u64 },
    /// This node does not lead; whom it takes for the leader.
    NotLeader { leader: Option<u64> },
    /// It leads and does not know whether it still does, or does not know yet all that was agreed on.
    NotSure,
    /// The asking node is no member.
    NotMember,
}

/// A change of who is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MemberChange {
    /// One more.
    Add(u64),
    /// One less.
    Remove(u64),
}

/// The leader's answer to a question or a change of members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LeaderReply {
    /// Done; for a read, the index of the entry that has to be applied.
    Done { index: u64 },
    /// This node does not lead; whom it takes for the leader.
    NotLeader { leader: Option<u64> },
    /// It did not work, and why.
    Failed { why: String },
}

/// The body of a message.
pub(crate) fn body(cluster: ClusterId, fields: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut head = vec![FORMAT];
    head.extend_from_slice(&cluster.0.to_le_bytes());
    postcard::to_extend(fields, head).map_err(|error| format!("a message cannot be written: {error}"))
}

/// The body of a message with bytes of its own in place of fields.
pub(crate) fn raw_body(cluster: ClusterId, bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(HEAD_BYTES + bytes.len());
    body.push(FORMAT);
    body.extend_from_slice(&cluster.0.to_le_bytes());
    body.extend_from_slice(bytes);
    body
}

/// What follows a body's head.
pub(crate) fn open_body(cluster: ClusterId, body: &[u8]) -> Result<&[u8], String> {
    let Some((head, fields)) = body.split_at_checked(HEAD_BYTES) else {
        return Err("a message that is cut short".to_owned());
    };
    if head[0] != FORMAT {
        return Err(format!("a message of format {}, known is format {FORMAT}", head[0]));
    }
    if head[1..] != cluster.0.to_le_bytes() {
        return Err("a message of another cluster".to_owned());
    }
    Ok(fields)
}

/// Reads fields, and nothing else.
pub(crate) fn fields<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((fields, [])) => Ok(fields),
        Ok((_, rest)) => Err(format!("a message with {} bytes left over", rest.len())),
        Err(error) => Err(format!("a message that cannot be read: {error}")),
    }
}

/// What is answered: fields without a head, since the link is the one of the question.
pub(crate) fn reply(fields: &impl Serialize) -> Result<Vec<u8>, String> {
    postcard::to_allocvec(fields).map_err(|error| format!("an answer cannot be written: {error}"))
}

/// How openraft reaches the other nodes.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) me: u64,
    pub(crate) cluster: ClusterId,
    pub(crate) rpc: Arc<dyn Rpc>,
    pub(crate) acks: Arc<Acks>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer { network: self.clone(), target }
    }
}

/// One of the other nodes.
pub(crate) struct Peer {
    network: Network,
    target: u64,
}

type Failure<E> = RPCError<u64, EmptyNode, RaftError<u64, E>>;

/// How long openraft waits before it tries an unreachable node again.
const UNREACHABLE_RETRY: Duration = Duration::from_millis(100);

impl Peer {
    async fn call<T: DeserializeOwned, E: std::error::Error + DeserializeOwned>(
        &self,
        what: RPCTypes,
        kind: u8,
        request: &(impl Serialize + Sync),
        option: &RPCOption,
    ) -> Result<T, Failure<E>> {
        let broken = |why: String| RPCError::Network(NetworkError::new(&std::io::Error::other(why)));
        let Network { me, cluster, rpc, .. } = &self.network;
        let timeout = option.hard_ttl();
        let body = body(*cluster, request).map_err(broken)?;
        let answer =
            rpc.call(NodeId(self.target), kind, body, timeout).await.map_err(|error| match error {
                CallError::NotConnected | CallError::Closed => {
                    RPCError::Unreachable(Unreachable::new(&error))
                }
                CallError::TimedOut => {
                    RPCError::Timeout(Timeout { action: what, id: *me, target: self.target, timeout })
                }
                CallError::Refused(_) => RPCError::Unreachable(Unreachable::new(&error)),
            })?;
        fields::<Result<T, RaftError<u64, E>>>(&answer)
            .map_err(broken)?
            .map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }
}

/// Whether the answer to a leader's message means that the node takes it for the leader.
fn agrees(answer: &AppendEntriesResponse<u64>) -> bool {
    !matches!(answer, AppendEntriesResponse::HigherVote(_))
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure<openraft::error::Infallible>> {
        let (sent, term) = (self.network.clock.now(), request.vote.leader_id().term);
        let answer = self.call(RPCTypes::AppendEntries, kind::APPEND, &request, &option).await?;
        if agrees(&answer) {
            self.network.acks.agreed(self.target, term, sent);
        }
        Ok(answer)
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        self.call(RPCTypes::InstallSnapshot, kind::SNAPSHOT, &request, &option).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure<openraft::error::Infallible>> {
        self.call(RPCTypes::Vote, kind::VOTE, &request, &option).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_RETRY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies of format 1 as older and newer nodes read them.
    #[test]
    fn messages_have_the_bytes_they_always_had() {
        let cluster = ClusterId(0x0102);
        let head = |rest: &[u8]| [&[1, 2, 1], &[0; 14][..], rest].concat();
        assert_eq!(body(cluster, &LeaseRequest { applied: 300 }).unwrap(), head(&[0xac, 2]));
        assert_eq!(body(cluster, &MemberChange::Add(9)).unwrap(), head(&[0, 9]));
        assert_eq!(body(cluster, &MemberChange::Remove(9)).unwrap(), head(&[1, 9]));
        assert_eq!(raw_body(cluster, b"ab"), head(b"ab"));
        let answers = vec![
            Answer::Done { changed: true },
            Answer::Queue { created: false },
            Answer::Exchange { created: true },
            Answer::Refused { code: 406, explanation: "x".to_owned() },
            Answer::Forgotten,
        ];
        let done = Proposed::Done { index: 7, answers };
        assert_eq!(reply(&done).unwrap(), [0, 7, 5, 0, 1, 1, 0, 2, 1, 3, 0x96, 3, 1, b'x', 4]);
        assert_eq!(reply(&Proposed::NotLeader { leader: Some(2) }).unwrap(), [1, 1, 2]);
        assert_eq!(reply(&Proposed::Refused { why: String::new() }).unwrap(), [2, 0]);
        assert_eq!(reply(&LeaseReply::Granted { age_us: 5, needs: 6 }).unwrap(), [0, 5, 6]);
        assert_eq!(reply(&LeaseReply::NotMember).unwrap(), [3]);
        assert_eq!(reply(&LeaderReply::Done { index: 1 }).unwrap(), [0, 1]);
    }

    #[test]
    fn bodies_of_others_are_refused() {
        let cluster = ClusterId(7);
        let whole = body(cluster, &LeaseRequest { applied: 1 }).unwrap();
        assert!(fields::<LeaseRequest>(open_body(cluster, &whole).unwrap()).is_ok());
        for end in 0..HEAD_BYTES {
            assert!(open_body(cluster, &whole[..end]).unwrap_err().contains("cut short"));
        }
        assert!(open_body(ClusterId(8), &whole).unwrap_err().contains("another cluster"));
        let mut newer = whole.clone();
        newer[0] = 2;
        assert!(open_body(cluster, &newer).unwrap_err().contains("format 2"));
        assert!(fields::<LeaseRequest>(&[]).is_err());
        assert!(fields::<LeaseRequest>(&[1, 1]).unwrap_err().contains("left over"));
    }
}

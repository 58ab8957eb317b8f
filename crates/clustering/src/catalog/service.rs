//! What other nodes ask of this one about the catalog.
//!
//! Invariant: every message is answered, with a reason if it is refused; what cannot be read changes nothing.

use super::group::{CatalogGroup, Core};
use super::network::{LeaseRequest, MemberChange, fields, kind, open_body, reply};
use super::raft::{Raft, Types};
use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest, VoteRequest};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use types::NodeId;

/// The answer to come to another node.
pub type Served = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

impl CatalogGroup {
    /// Answers a message of another node, of one of the kinds in [`kind`].
    pub fn handle(&self, from: NodeId, kind: u8, body: Bytes) -> Served {
        let core = self.core.clone();
        Box::pin(async move { core.serve(from, kind, body).await })
    }
}

impl Core {
    async fn serve(self: Arc<Core>, from: NodeId, kind: u8, body: Bytes) -> Result<Vec<u8>, String> {
        let running = self.running()?;
        let bytes = open_body(running.cluster, &body)?;
        self.acks.heard(from.0, self.now());
        match kind {
            kind::APPEND | kind::VOTE | kind::SNAPSHOT => serve_raft(&running.raft, from, kind, bytes).await,
            kind::PROPOSE => reply(&self.batcher.submit(body.slice_ref(bytes)).await),
            kind::LEASE => reply(&self.grant(from, fields::<LeaseRequest>(bytes)?)),
            kind::APPLIED => {
                self.book.applied(from.0, fields::<LeaseRequest>(bytes)?.applied);
                reply(&())
            }
            kind::MEMBER => {
                let request = fields::<MemberChange>(bytes)?;
                let core = self.clone();
                let work = self.spawn(async move { core.change_member(request).await });
                reply(&work.await.map_err(|_| "the node is stopping".to_owned())?)
            }
            kind::READ => reply(&self.read_index().await),
            other => Err(format!("a message of the unknown kind {other}")),
        }
    }
}

async fn serve_raft(raft: &Raft, from: NodeId, kind: u8, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let check = |leader: u64| {
        if leader == from.0 { Ok(()) } else { Err("a message that its sender did not write".to_owned()) }
    };
    match kind {
        kind::APPEND => {
            let request = fields::<AppendEntriesRequest<Types>>(bytes)?;
            check(request.vote.leader_id().node_id)?;
            reply(&raft.append_entries(request).await)
        }
        kind::VOTE => {
            let request = fields::<VoteRequest<u64>>(bytes)?;
            check(request.vote.leader_id().node_id)?;
            reply(&raft.vote(request).await)
        }
        _ => {
            let request = fields::<InstallSnapshotRequest<Types>>(bytes)?;
            check(request.vote.leader_id().node_id)?;
            reply(&raft.install_snapshot(request).await)
        }
    }
}

//! What the leader does with proposals: puts many into one entry, and answers when every node that may be
//! serving clients has applied it.
//!
//! Invariant: few entries are on their way at a time, so that what comes meanwhile goes together in the next.

use super::group::Core;
use super::network::Proposed;
use super::proposal::{self, Answer};
use super::raft::Payload;
use bytes::Bytes;
use openraft::error::{ClientWriteError, RaftError};
use parking_lot::Mutex;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use types::limits::{CATALOG_BATCH_MAX_BYTES, CATALOG_BATCHES_IN_FLIGHT};

/// Groups of proposals that wait to be put into an entry. There are as many as nodes have parcels on the way.
#[derive(Default)]
pub(super) struct Batcher {
    waiting: Mutex<VecDeque<Waiting>>,
    wake: Notify,
}

/// A group, encoded, and how many proposals are in it.
struct Waiting {
    group: Bytes,
    count: usize,
    reply: oneshot::Sender<Proposed>,
}

/// The longest sleep while waiting for other nodes: their leases run on another clock than sleeps do.
const LOOK: Duration = Duration::from_millis(50);

impl Batcher {
    /// Proposes a group; the answer comes when it is applied wherever clients may be served.
    pub(super) async fn submit(&self, group: Bytes) -> Proposed {
        let count = match proposal::Group::check(&group) {
            Ok(count) => count,
            Err(why) => return Proposed::Refused { why },
        };
        let (reply, answer) = oneshot::channel();
        self.waiting.lock().push_back(Waiting { group, count, reply });
        self.wake.notify_one();
        answer.await.unwrap_or(Proposed::NotLeader { leader: None })
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock();
        let mut bytes = 0;
        let mut fits = |at: &Waiting| {
            let is_first = bytes == 0;
            bytes += at.group.len();
            is_first || bytes <= CATALOG_BATCH_MAX_BYTES
        };
        let count = waiting.iter().take_while(|at| fits(at)).count();
        waiting.drain(..count).collect()
    }
}

impl Core {
    /// Puts proposals into entries; to be spawned once.
    pub(super) async fn run_batches(self: Arc<Core>) {
        let places = Arc::new(Semaphore::new(CATALOG_BATCHES_IN_FLIGHT));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let batch = loop {
                let batch = self.batcher.take();
                if !batch.is_empty() {
                    break batch;
                }
                self.batcher.wake.notified().await;
            };
            tokio::spawn(self.clone().commit(batch, place));
        }
    }

    async fn commit(self: Arc<Core>, batch: Vec<Waiting>, place: OwnedSemaphorePermit) {
        let Some(raft) = self.raft() else { return };
        let payload = proposal::payload(batch.iter().map(|at| &at.group[..]));
        let written = raft.client_write(Payload(payload.into())).await;
        drop(place);
        let (index, answers) = match written {
            Ok(written) => {
                self.book.lead(written.log_id.leader_id.term, self.now());
                (written.log_id.index, written.data.0)
            }
            Err(error) => {
                let leader = match error {
                    RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => forward.leader_id,
                    _ => None,
                };
                for Waiting { reply, .. } in batch {
                    let _ = reply.send(Proposed::NotLeader { leader });
                }
                return;
            }
        };
        self.applied_everywhere(index).await;
        let mut answers = answers.into_iter();
        for Waiting { count, reply, .. } in batch {
            let answers: Vec<Answer> = answers.by_ref().take(count).collect();
            let _ = reply.send(Proposed::Done { index, answers });
        }
    }

    /// Comes back when no node can be serving clients without having applied the entry at `index`.
    async fn applied_everywhere(&self, index: u64) {
        loop {
            let moved = self.book.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let now = self.now();
            let Some(until) = self.book.blocked_until(&self.other_nodes(), index, now) else { return };
            let _ = tokio::time::timeout(until.saturating_sub(now).min(LOOK), moved).await;
        }
    }

    /// All members but this node.
    pub(super) fn other_nodes(&self) -> BTreeSet<u64> {
        let Some(raft) = self.raft() else { return BTreeSet::new() };
        let metrics = raft.metrics();
        let metrics = metrics.borrow();
        let me = self.config.node.0;
        metrics.membership_config.nodes().map(|(node, _)| *node).filter(|node| *node != me).collect()
    }
}

//! Queues that a member of a cluster found in its log, and that its catalog does not have yet.
//!
//! Invariant: the picture of the catalog that a member starts with may be behind, so a log that is not in it
//! is kept, with its blocks, until the catalog declares that queue or the member has seen all of it.

use super::open::DAMAGE_ADVICE;
use super::paging::location_of;
use super::recovery::Recovery;
use crate::clock;
use crate::node::Broker;
use crate::queue::{Queue, QueueCommand};
use broker::catalog;
use broker::queue::{BlockAt, RecoveredQueue};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use storage::OpenBlocks;
use storage::wal::{Entry, EntryKind};
use types::{NodeId, QueueId};

/// What a log had.
pub(crate) struct FoundLog {
    recovered: RecoveredQueue,
    /// Some of its messages are lost.
    pub(super) damaged: bool,
}

impl FoundLog {
    /// Makes what a log needs out of the blocks its own. `name`: whose log it is, for people.
    pub(super) fn adopt(
        mut recovered: RecoveredQueue,
        id: QueueId,
        name: &str,
        blocks: &OpenBlocks,
        accept_damage: bool,
    ) -> Result<FoundLog, String> {
        let mut damaged = false;
        let needed: Vec<BlockAt> = recovered.blocks().collect();
        for at in needed {
            let Err(why) = blocks.adopt(id.0, location_of(&at)) else { continue };
            let what = format!("{name}: {why}");
            if !accept_damage {
                return Err(format!("{what}; {DAMAGE_ADVICE}"));
            }
            damaged = true;
            let count = recovered.lose_block(at);
            tracing::error!("{count} messages are lost: {what}");
        }
        Ok(FoundLog { recovered, damaged })
    }
}

/// The logs that wait for their queues.
#[derive(Default)]
pub(crate) struct Unclaimed {
    logs: Mutex<HashMap<QueueId, FoundLog>>,
    /// Queues that were claimed and have not looked yet at what is due.
    waking: Mutex<Vec<Arc<Queue>>>,
}

impl Unclaimed {
    /// The logs that are left over when the queues of the catalog have taken theirs.
    pub(super) fn adopt(
        recovery: &mut Recovery<'_>,
        blocks: &OpenBlocks,
        accept_damage: bool,
    ) -> Result<HashMap<QueueId, FoundLog>, String> {
        let left = std::mem::take(&mut recovery.queues);
        let adopt = |(id, recovered)| {
            let (id, name) = (QueueId(id), format!("log of queue {id}"));
            Ok((id, FoundLog::adopt(recovered, id, &name, blocks, accept_damage)?))
        };
        left.into_iter().map(adopt).collect()
    }
}

impl Broker {
    pub(super) fn keep_unclaimed(&self, logs: HashMap<QueueId, FoundLog>) {
        *self.unclaimed.logs.lock() = logs;
    }

    /// Takes what the log of a queue had that is declared now.
    pub(crate) fn take_unclaimed(&self, id: QueueId) -> Option<FoundLog> {
        self.unclaimed.logs.lock().remove(&id)
    }

    /// A queue for a row that is new in the catalog: the way to it, an empty one, or with what waits for it in its log.
    pub(crate) fn make_queue(&self, row: &Arc<catalog::Queue>) -> Arc<Queue> {
        if !self.has_copy(row)
            && let Some(away) = self.way_to(row)
        {
            return away;
        }
        match self.take_unclaimed(row.id) {
            None if self.is_elsewhere(row) => self.way_to(row).unwrap_or_else(|| self.empty_queue(row)),
            None => self.empty_queue(row),
            Some(found) => {
                // A checkpoint that was asked for meanwhile was asked of nobody.
                let (queue, wakes) = self.revive(row.clone(), found, true);
                if wakes {
                    self.unclaimed.waking.lock().push(queue.clone());
                }
                queue
            }
        }
    }

    /// Makes a queue with what its log had; and whether something may be due in it.
    pub(super) fn revive(
        &self,
        row: Arc<catalog::Queue>,
        found: FoundLog,
        checkpoint: bool,
    ) -> (Arc<Queue>, bool) {
        let FoundLog { recovered, damaged } = found;
        let now_ms = clock::now_ms();
        let count = recovered.count();
        let (machine, lost) = recovered.finish(row.config.clone(), now_ms);
        if lost > 0 {
            tracing::error!(queue = %row.name, vhost = %row.vhost, lost, "messages have lost their bytes");
        }
        let mut log = self.logs.open(&row);
        if lost > 0 || damaged || checkpoint {
            // What was accepted once is not asked about again.
            log.checkpoint(machine.snapshot(now_ms), machine.oldest_position());
        }
        let wakes = count > 0 || row.config.expires_ms.is_some();
        let away = self.forwarder_of(&row);
        let queue = Arc::new(Queue::with(row, log, machine));
        // Messages of a mirror are here, its home is not.
        queue.set_away(away);
        (queue, wakes)
    }

    fn empty_queue(&self, row: &Arc<catalog::Queue>) -> Arc<Queue> {
        Arc::new(Queue::new(row.clone(), self.logs.open(row)))
    }

    /// Whether a queue's home is another node.
    fn is_elsewhere(&self, row: &catalog::Queue) -> bool {
        let (me, _) = self.seat();
        row.home != me && row.home != NodeId::default()
    }

    /// Whether this node has a mirror of a queue.
    pub(super) fn has_copy(&self, row: &catalog::Queue) -> bool {
        let (me, _) = self.seat();
        row.copies.as_ref().is_some_and(|copies| copies.mirrors.contains(&me))
    }

    /// Lets queues that were claimed look at what is due, when everybody can see them.
    pub(crate) fn wake_claimed(&self) {
        let waking = std::mem::take(&mut *self.unclaimed.waking.lock());
        for queue in waking {
            self.post(&queue, QueueCommand::Tick);
        }
    }

    /// How many logs wait for their queues to be declared.
    pub fn unclaimed_count(&self) -> usize {
        self.unclaimed.logs.lock().len()
    }

    /// This node's catalog has all that the cluster's had when it was asked: queues that it does not have
    /// are gone, and what their logs had goes too. Gives how many messages that were.
    pub fn drop_unclaimed(&self) -> u64 {
        let logs = std::mem::take(&mut *self.unclaimed.logs.lock());
        let Some(storage) = self.storage() else { return 0 };
        let (mut messages, mut blocks, mut ends) = (0, Vec::new(), Vec::new());
        for (id, found) in logs {
            let count = found.recovered.count();
            tracing::info!(queue = %id, messages = count, "the log of a queue that was deleted is ended");
            messages += count;
            blocks.extend(found.recovered.blocks());
            ends.push(Entry { log: id.0, kind: EntryKind::End, head: Vec::new(), body: None });
        }
        ends.sort_unstable_by_key(|entry| entry.log);
        if !ends.is_empty() {
            let sequence = storage.wal.append(ends, true);
            let durable = storage.durable.clone();
            let free = move || blocks.iter().for_each(|at| durable.free(location_of(at)));
            // Blocks may only go when no log names them any more, on disk.
            storage.wal.after_sync(sequence, Box::new(free));
        }
        messages
    }
}

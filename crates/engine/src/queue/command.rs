//! What can be asked of a queue.

use super::mirroring::{MirrorFrame, ToHome};
use super::paging::BlockRead;
use crate::outlet::Outlet;
use broker::message::Chunk;
use broker::queue::{BlockAt, Consumer, ConsumerError, PageJob, Picks, QueueConfig, QueueCounts, Range};
use std::sync::Arc;
use tokio::sync::oneshot;
use types::{AmqpError, ConsumerId, NodeId};

/// Messages for one queue out of a batch of publishes.
pub struct Enqueue {
    /// Where the messages are.
    pub chunk: Arc<Chunk>,
    /// Which of them.
    pub picks: Picks,
    /// Their bodies' bytes.
    pub bytes: u64,
    /// Who waits for the commit.
    pub ticket: Option<Ticket>,
}

impl Enqueue {
    /// Bytes it keeps in memory while it waits.
    pub fn mailbox_bytes(&self) -> usize {
        self.bytes as usize + self.picks.len() as usize * broker::message::RECORD_HEAD_BYTES
    }
}

/// A publisher that waits for messages to be committed.
pub struct Ticket {
    /// Its channel.
    pub outlet: Arc<dyn Outlet>,
    /// Numbers of the publishes, in the order of the picks.
    pub ranges: Vec<(u64, u64)>,
}

impl Ticket {
    /// The number of the publish at `position` among the picks.
    pub fn number(&self, position: u32) -> Option<u64> {
        let mut left = u64::from(position);
        for (first, last) in &self.ranges {
            let count = last - first + 1;
            if left < count {
                return Some(first + left);
            }
            left -= count;
        }
        None
    }
}

/// A consumer with its way out.
pub struct AddConsumer {
    /// What the queue's machine knows of it.
    pub consumer: Consumer,
    /// The tag the client chose or got.
    pub tag: String,
    /// Arguments of basic.consume, for listings.
    pub arguments: types::FieldTable,
    /// Its channel.
    pub outlet: Arc<dyn Outlet>,
    /// Where the channel is found in listings.
    pub channel: String,
    /// The outcome; None for one that was there and follows its queue to another home.
    pub reply: Option<oneshot::Sender<Result<(), ConsumerError>>>,
}

/// What a delete asks to be true first.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeleteConditions {
    /// No consumers.
    pub if_unused: bool,
    /// No messages.
    pub if_empty: bool,
}

/// One command in a queue's mailbox.
pub enum QueueCommand {
    /// Messages arrived.
    Enqueue(Enqueue),
    /// A consumer is done with messages.
    Settle(ConsumerId, Vec<Range>),
    /// Messages come back.
    Return(ConsumerId, Vec<Range>),
    /// Messages come back that no client has seen.
    PutBack(ConsumerId, Vec<Range>),
    /// A consumer refused messages.
    Reject(ConsumerId, Vec<Range>),
    /// A new consumer.
    AddConsumer(Box<AddConsumer>),
    /// A consumer leaves; answered with whether it was there.
    RemoveConsumer(ConsumerId, oneshot::Sender<bool>),
    /// A consumer's connection has room again.
    Unblock(ConsumerId),
    /// basic.get.
    Get {
        /// Settled at once.
        no_ack: bool,
        /// Where the message goes.
        outlet: Arc<dyn Outlet>,
        /// Told when it went.
        done: oneshot::Sender<()>,
    },
    /// Drop all ready messages; answered with their number.
    Purge(oneshot::Sender<u64>),
    /// A barrier: answered with what is in the queue when all that was posted before is done.
    Fence(oneshot::Sender<QueueCounts>),
    /// If the conditions hold nothing is accepted any more and the catalog may delete the queue.
    PrepareDelete(DeleteConditions, oneshot::Sender<Result<u64, AmqpError>>),
    /// The catalog has deleted the queue.
    Deleted,
    /// New settings.
    Configure(Box<QueueConfig>),
    /// A deadline has come.
    Tick,
    /// The log has committed up to a position.
    Committed(u64),
    /// A barrier: answered when all that was posted before is committed.
    CommitFence(oneshot::Sender<()>),
    /// Dead letters have arrived where they should.
    DeadLettered(Vec<u64>),
    /// Dead letters could not be brought where they should be; they are tried again after a moment.
    LettersCameBack(Vec<u64>),
    /// Messages' bytes are in a block, or could not be written.
    Paged(Arc<PageJob>, std::io::Result<BlockAt>),
    /// The block of the segment that begins with an index was read, or cannot be.
    Loaded(u64, BlockAt, BlockRead),
    /// The log wants to forget everything up to a position.
    Checkpoint(u64),
    /// Blocks that sit in files which are mostly free.
    Relocate(Vec<BlockAt>),
    /// Memory is short.
    PageOut,
    /// A look at blocks that are mostly dead.
    Housekeep,
    /// The row is another one: the queue has another home, or other copies.
    RowChanged,
    /// Messages were settled that may have gone back to ready since.
    SettleLate(Vec<Range>),
    /// What the home tells the copy that is here.
    ToMirror(Box<MirrorFrame>),
    /// What another node's copy tells its home, which is here, over the link with a number.
    FromMirror(NodeId, u64, Box<ToHome>),
    /// The link with a number to another node's copies is up, or is not any more.
    PeerLink(NodeId, u64, bool),
    /// A look at copies that something is waited for from.
    LookAtCopies,
    /// What another node asks of its home, which this node will be in a moment when that node knows more of the
    /// catalog than this one.
    Early(Box<QueueCommand>),
}

impl QueueCommand {
    /// Bytes it keeps in memory while it waits.
    pub fn mailbox_bytes(&self) -> usize {
        match self {
            QueueCommand::Enqueue(enqueue) => enqueue.mailbox_bytes(),
            QueueCommand::Settle(_, ranges)
            | QueueCommand::Return(_, ranges)
            | QueueCommand::PutBack(_, ranges)
            | QueueCommand::Reject(_, ranges) => ranges.len() * 16,
            QueueCommand::ToMirror(frame) => frame.message.memory_bytes(),
            QueueCommand::Early(command) => command.mailbox_bytes(),
            _ => 64,
        }
    }
}

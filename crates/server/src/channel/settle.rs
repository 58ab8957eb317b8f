//! basic.ack, nack, reject and recover: what a client says of messages it holds.

use super::port::ChannelPort;
use super::{Channel, Mode};
use broker::channel::{SettledGroup, UnknownTag};
use engine::QueueCommand;
use protocol::Method;
use protocol::deliver::Settle;
use types::AmqpError;

impl Channel {
    /// Takes an ack, nack or reject.
    pub(crate) fn settle(&mut self, settle: Settle) -> Result<(), AmqpError> {
        if let Mode::Transactional(transaction) = &mut self.mode {
            transaction.settle(&self.port, settle)?;
            return Ok(());
        }
        self.settle_now(settle)
    }

    pub(crate) fn settle_now(&self, settle: Settle) -> Result<(), AmqpError> {
        let (tag, multiple) = tag_of(settle);
        let groups = self.port.settle(tag, multiple).map_err(unknown_tag)?;
        self.port.post_settlement(settle, groups);
        Ok(())
    }

    /// basic.recover: everything the client holds goes back to its queues. The ok goes before what is
    /// delivered again: clients forget what came before it.
    pub(crate) fn recover(&self, requeue: bool, ok: Option<Method>) -> Result<(), AmqpError> {
        if !requeue {
            return Err(AmqpError::not_implemented("requeue=false"));
        }
        if let Some(ok) = ok {
            self.reply(ok);
        }
        self.port.give_back();
        Ok(())
    }
}

impl ChannelPort {
    /// Tells the queues what became of deliveries.
    pub(super) fn post_settlement(&self, settle: Settle, groups: Vec<SettledGroup>) {
        match settle {
            Settle::Ack { .. } => self.post_groups(groups, QueueCommand::Settle),
            Settle::Nack { requeue: true, .. } | Settle::Reject { requeue: true, .. } => {
                self.post_groups(groups, QueueCommand::Return);
            }
            Settle::Nack { .. } | Settle::Reject { .. } => self.post_groups(groups, QueueCommand::Reject),
        }
    }
}

pub(super) fn unknown_tag(unknown: UnknownTag) -> AmqpError {
    AmqpError::precondition_failed(format!("unknown delivery tag {}", unknown.0))
}

/// The delivery tag and whether all before it are meant.
pub(crate) fn tag_of(settle: Settle) -> (u64, bool) {
    match settle {
        Settle::Ack { delivery_tag, multiple } | Settle::Nack { delivery_tag, multiple, .. } => {
            (delivery_tag, multiple)
        }
        Settle::Reject { delivery_tag, .. } => (delivery_tag, false),
    }
}

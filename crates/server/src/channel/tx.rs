//! tx: publishes and settlements that take effect together at commit.
//!
//! Invariant: before commit nothing of a transaction is seen by anybody; publishes go before
//! settlements; commit-ok leaves when all queues have committed; not atomic across queues, as in RabbitMQ.

use super::port::ChannelPort;
use super::publish::Incoming;
use super::settle::{tag_of, unknown_tag};
use super::{Channel, Mode, Publisher};
use broker::channel::{Held, group};
use engine::{Queue, QueueCommand, Route, record_head};
use protocol::deliver::Settle;
use std::sync::Arc;
use tokio::sync::oneshot;
use types::{AmqpError, Properties};

/// What a transaction has gathered.
#[derive(Default)]
pub(crate) struct Transaction {
    publishes: Vec<HeldPublish>,
    settlements: Vec<(Settle, Vec<(u64, Held)>)>,
}

struct HeldPublish {
    route: Arc<Route>,
    mandatory: bool,
    properties: Vec<u8>,
    body: Vec<u8>,
}

impl Transaction {
    /// Takes deliveries out of the channel's ring, so that a second ack is refused at once.
    pub(crate) fn settle(&mut self, port: &ChannelPort, settle: Settle) -> Result<(), AmqpError> {
        let (tag, multiple) = tag_of(settle);
        let taken = port.state.lock().unacked.take(tag, multiple).map_err(unknown_tag)?;
        self.settlements.push((settle, taken));
        Ok(())
    }
}

impl Channel {
    pub(crate) fn publish_in_transaction(&mut self, incoming: &Incoming<'_>) -> Result<(), AmqpError> {
        let view =
            Properties::parse(incoming.properties).map_err(|error| AmqpError::syntax_error(error.reason))?;
        let broker = self.port.port.broker.clone();
        let route = self.routes.look_up(&broker, &self.session, incoming.wire, &view)?;
        if let Mode::Transactional(transaction) = &mut self.mode {
            transaction.publishes.push(HeldPublish {
                route,
                mandatory: incoming.mandatory,
                properties: incoming.properties.to_vec(),
                body: incoming.body.to_vec(),
            });
        }
        Ok(())
    }

    pub(crate) fn tx_select(&mut self) -> Result<(), AmqpError> {
        match self.mode {
            Mode::Confirm => Err(AmqpError::precondition_failed("cannot switch from confirm to tx mode")),
            Mode::Transactional(_) => Ok(()),
            Mode::Plain => {
                self.mode = Mode::Transactional(Box::default());
                Ok(())
            }
        }
    }

    pub(crate) fn confirm_select(&mut self) -> Result<(), AmqpError> {
        match self.mode {
            Mode::Transactional(_) => {
                Err(AmqpError::precondition_failed("cannot switch from tx to confirm mode"))
            }
            _ => {
                self.mode = Mode::Confirm;
                Ok(())
            }
        }
    }

    fn transaction(&mut self) -> Result<Transaction, AmqpError> {
        match &mut self.mode {
            Mode::Transactional(transaction) => Ok(std::mem::take(transaction)),
            _ => Err(AmqpError::precondition_failed("channel is not transactional")),
        }
    }

    /// Publishes, then settles, and comes back when every queue has committed its part, so that
    /// commit-ok may leave.
    pub(crate) async fn tx_commit(&mut self, publisher: &mut Publisher) -> Result<(), AmqpError> {
        let transaction = self.transaction()?;
        let mut queues: Vec<Arc<Queue>> = Vec::new();
        for held in &transaction.publishes {
            let view = Properties::parse(&held.properties).ok();
            let head = view.and_then(|view| record_head(&view).ok()).unwrap_or_default();
            let incoming = Incoming {
                wire: &held.route.wire,
                mandatory: held.mandatory,
                immediate: false,
                properties: &held.properties,
                body: &held.body,
            };
            self.publish_routed(publisher, &held.route, head, &incoming);
            queues.extend(held.route.queues.iter().cloned());
        }
        self.hand_over(publisher);
        for (settle, taken) in transaction.settlements {
            let groups = group(taken);
            queues.extend(self.port.queues_of(&groups));
            self.port.post_settlement(settle, groups);
        }
        queues.sort_unstable_by_key(|queue| queue.id);
        queues.dedup_by_key(|queue| queue.id);
        self.committed(&queues).await;
        Ok(())
    }

    /// Waits until the queues have committed what was posted to them.
    async fn committed(&self, queues: &[Arc<Queue>]) {
        let broker = &self.port.port.broker;
        let mut answers = Vec::with_capacity(queues.len());
        for queue in queues {
            let (reply, answer) = oneshot::channel();
            broker.post(queue, QueueCommand::CommitFence(reply));
            answers.push(answer);
        }
        for answer in answers {
            // A queue that is gone has nothing to commit.
            let _ = answer.await;
        }
    }

    /// Forgets publishes; what was settled in the transaction is held by the client again.
    pub(crate) fn tx_rollback(&mut self) -> Result<(), AmqpError> {
        let transaction = self.transaction()?;
        let mut state = self.port.state.lock();
        for (_, taken) in transaction.settlements {
            state.unacked.put_back(taken);
        }
        Ok(())
    }
}

//! One match over a channel's methods.
//!
//! Invariant: everything published on the connection before has been handed over, so each method
//! sees what came before it.

use super::consume::Consume;
use super::exchange::DeclareExchange;
use super::queue::DeclareQueue;
use super::{Channel, Publisher, Unanswered, at};
use crate::fault::Fault;
use engine::queue::DeleteConditions;
use protocol::Method;
use types::AmqpError;

impl Channel {
    /// Does what a method asks and answers it. channel.open and close are the connection's.
    pub(crate) async fn perform(
        &mut self,
        method: Method,
        publisher: &mut Publisher,
        unanswered: &mut Unanswered,
    ) -> Result<(), Fault> {
        let fault = at(self.number, &method);
        let class = method.class_method().0;
        if let Method::QueueBind { nowait: true, .. } = method {
            let begun = self.bind_unanswered(method, unanswered).await;
            if begun.is_err() {
                // What was asked for before failed before.
                unanswered.settle().await?;
            }
            return begun.map_err(fault);
        }
        if class == 50 {
            let reply = self.queue_method(method).await;
            // As above; and what is answered says that all before it is through.
            unanswered.settle().await?;
            if let Some(reply) = reply.map_err(fault)? {
                self.reply(reply);
            }
            return Ok(());
        }
        let outcome = match class {
            20 => self.channel_method(method),
            40 => self.exchange_method(method).await,
            60 => self.basic_method(method).await,
            _ => self.other_method(method, publisher).await,
        };
        outcome.map_err(fault)
    }

    fn channel_method(&mut self, method: Method) -> Result<(), AmqpError> {
        match method {
            Method::ChannelFlow { active: true } => self.reply(Method::ChannelFlowOk { active: true }),
            Method::ChannelFlow { active: false } => return Err(AmqpError::not_implemented("active=false")),
            Method::ChannelFlowOk { .. } => {}
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    async fn exchange_method(&mut self, method: Method) -> Result<(), AmqpError> {
        match method {
            Method::ExchangeDeclare {
                exchange: name,
                kind,
                passive,
                durable,
                auto_delete,
                internal,
                nowait,
                arguments,
                ..
            } => {
                let declare =
                    DeclareExchange { name, kind, passive, durable, auto_delete, internal, arguments };
                self.declare_exchange(declare).await?;
                self.reply_unless(nowait, Method::ExchangeDeclareOk);
            }
            Method::ExchangeDelete { exchange, if_unused, nowait, .. } => {
                self.delete_exchange(&exchange, if_unused).await?;
                self.reply_unless(nowait, Method::ExchangeDeleteOk);
            }
            Method::ExchangeBind { destination, source, routing_key, nowait, arguments, .. } => {
                self.bind_exchange(&destination, &source, &routing_key, arguments, true).await?;
                self.reply_unless(nowait, Method::ExchangeBindOk);
            }
            Method::ExchangeUnbind { destination, source, routing_key, nowait, arguments, .. } => {
                self.bind_exchange(&destination, &source, &routing_key, arguments, false).await?;
                self.reply_unless(nowait, Method::ExchangeUnbindOk);
            }
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    /// Begins to bind a queue for a client that does not wait for it.
    async fn bind_unanswered(
        &mut self,
        method: Method,
        unanswered: &mut Unanswered,
    ) -> Result<(), AmqpError> {
        let Method::QueueBind { queue, exchange, routing_key, arguments, .. } = method else {
            return Err(unexpected(&method));
        };
        if let Some(command) = self.binding_change(&queue, &exchange, &routing_key, arguments, true)? {
            let broker = self.port.port.broker.clone();
            let change = async move { broker.change(command).await.map(|_| ()) };
            unanswered.begin(self.number, change).await;
        }
        Ok(())
    }

    /// Gives what is to be answered.
    async fn queue_method(&mut self, method: Method) -> Result<Option<Method>, AmqpError> {
        let (nowait, reply) = match method {
            Method::QueueDeclare {
                queue: name,
                passive,
                durable,
                exclusive,
                auto_delete,
                nowait,
                arguments,
                ..
            } => {
                let declare = DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments };
                (nowait, self.declare_queue(declare).await?)
            }
            Method::QueueBind { queue, exchange, routing_key, nowait, arguments, .. } => {
                self.bind_queue(&queue, &exchange, &routing_key, arguments, true).await?;
                (nowait, Method::QueueBindOk)
            }
            Method::QueueUnbind { queue, exchange, routing_key, arguments, .. } => {
                self.bind_queue(&queue, &exchange, &routing_key, arguments, false).await?;
                (false, Method::QueueUnbindOk)
            }
            Method::QueuePurge { queue, nowait, .. } => {
                (nowait, Method::QueuePurgeOk { message_count: self.purge_queue(&queue).await? })
            }
            Method::QueueDelete { queue, if_unused, if_empty, nowait, .. } => {
                let message_count =
                    self.delete_queue(&queue, DeleteConditions { if_unused, if_empty }).await?;
                (nowait, Method::QueueDeleteOk { message_count })
            }
            other => return Err(unexpected(&other)),
        };
        Ok((!nowait).then_some(reply))
    }

    async fn basic_method(&mut self, method: Method) -> Result<(), AmqpError> {
        match method {
            Method::BasicQos { prefetch_size, prefetch_count, global } => {
                self.qos(prefetch_size, prefetch_count, global)?;
            }
            Method::BasicConsume { queue, consumer_tag, no_ack, exclusive, nowait, arguments, .. } => {
                let consume = Consume { queue, tag: consumer_tag, no_ack, exclusive, nowait, arguments };
                self.consume(consume).await?;
            }
            Method::BasicCancel { consumer_tag, nowait } => self.cancel(consumer_tag, nowait).await,
            Method::BasicCancelOk { .. } => {}
            Method::BasicGet { queue, no_ack, .. } => self.get(&queue, no_ack).await?,
            Method::BasicRecoverAsync { requeue } => self.recover(requeue, None)?,
            Method::BasicRecover { requeue } => self.recover(requeue, Some(Method::BasicRecoverOk))?,
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    async fn other_method(&mut self, method: Method, publisher: &mut Publisher) -> Result<(), AmqpError> {
        match method {
            Method::AccessRequest { .. } => self.reply(Method::AccessRequestOk { ticket: 1 }),
            Method::ConfirmSelect { nowait } => {
                self.confirm_select()?;
                self.reply_unless(nowait, Method::ConfirmSelectOk);
            }
            Method::TxSelect => {
                self.tx_select()?;
                self.reply(Method::TxSelectOk);
            }
            Method::TxCommit => {
                self.tx_commit(publisher).await?;
                self.reply(Method::TxCommitOk);
            }
            Method::TxRollback => {
                self.tx_rollback()?;
                self.reply(Method::TxRollbackOk);
            }
            other => return Err(unexpected(&other)),
        }
        self.note_facts();
        Ok(())
    }
}

fn unexpected(method: &Method) -> AmqpError {
    tracing::debug!(method = method.name(), "not for a client to send");
    AmqpError::command_invalid("unimplemented method")
}

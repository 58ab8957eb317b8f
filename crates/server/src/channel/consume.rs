//! basic.consume, cancel and qos.

use super::Channel;
use super::port::ChannelConsumer;
use broker::access::{self, Access, Resource};
use broker::catalog;
use broker::catalog::check_exclusive;
use broker::queue::{Consumer, QueueKind};
use engine::queue::AddConsumer;
use engine::reply_to::REPLY_QUEUE;
use engine::{Queue, QueueCommand};
use protocol::Method;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use tokio::sync::oneshot;
use types::{AmqpError, ConsumerId, FieldTable, FieldValue};

/// What basic.consume asks for.
pub(crate) struct Consume {
    pub(crate) queue: String,
    pub(crate) tag: String,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) nowait: bool,
    pub(crate) arguments: FieldTable,
}

fn next_consumer_id() -> ConsumerId {
    // A number of this process in the upper half, so that ids of several nodes differ.
    static FIRST: LazyLock<u64> = LazyLock::new(|| engine::route::random() << 32);
    static LAST: AtomicU64 = AtomicU64::new(0);
    ConsumerId(*FIRST | (LAST.fetch_add(1, Ordering::Relaxed) + 1))
}

impl Channel {
    /// The queue with a name, if this session may read it.
    pub(super) fn readable_queue(&self, name: &str) -> Result<Arc<Queue>, AmqpError> {
        let broker = self.broker();
        let catalog = broker.catalog();
        let vhost = self.vhost_row(&catalog)?;
        let user = self.user_row(&catalog)?;
        access::check(vhost, user, Access::Read, Resource::Queue(name))?;
        self.open_queue(name)
    }

    /// The queue with a name, unless it is exclusive to another connection.
    pub(super) fn open_queue(&self, name: &str) -> Result<Arc<Queue>, AmqpError> {
        let vhost = &self.session.vhost;
        let missing = || AmqpError::not_found(format!("no queue '{name}' in vhost '{vhost}'"));
        let catalog = self.broker().catalog();
        let row = self.vhost_row(&catalog)?.queue(name).ok_or_else(missing)?;
        check_exclusive(row, self.session.connection)?;
        let queue = self.broker().queue(row.id).ok_or_else(missing)?;
        if queue.is_gone() {
            return Err(missing());
        }
        queue.unreachable().map_or(Ok(queue), Err)
    }

    pub(crate) async fn consume(&mut self, consume: Consume) -> Result<(), AmqpError> {
        let mut tag = consume.tag.clone();
        if tag.is_empty() {
            self.tags_made += 1;
            tag = format!("amq.ctag-{:016x}{:x}", engine::route::random(), self.tags_made);
        }
        let taken = {
            let state = self.port.state.lock();
            state.consumers.iter().any(|entry| entry.tag == tag) || state.reply_tag.as_ref() == Some(&tag)
        };
        if taken {
            return Err(AmqpError::not_allowed(format!("attempt to reuse consumer tag '{tag}'")));
        }
        if consume.queue == REPLY_QUEUE {
            return self.consume_replies(consume, tag);
        }
        let name = self.queue_name(&consume.queue)?;
        let queue = self.readable_queue(&name)?;
        let row = queue.row();
        let is_quorum = row.kind == QueueKind::Quorum;
        if is_quorum && self.port.state.lock().global_prefetch > 0 {
            return Err(AmqpError::not_implemented(format!(
                "queue '{}' in vhost '{}' does not support global qos",
                row.name, row.vhost
            )));
        }
        check_arguments(&consume.arguments, &row)?;
        let priority = consume.arguments.get("x-priority").and_then(FieldValue::as_integer).unwrap_or(0);
        let id = next_consumer_id();
        let timeout_ms = consume
            .arguments
            .get("x-consumer-timeout")
            .and_then(FieldValue::as_integer)
            .map(|ms| ms.max(0) as u64)
            .or(row.config.consumer_timeout_ms)
            .filter(|ms| *ms > 0);
        {
            // Before the queue knows of it, since the first delivery may come at once.
            let mut state = self.port.state.lock();
            let slot = state.slot(&queue);
            let timeout_ms = timeout_ms.filter(|_| !consume.no_ack);
            let entry = ChannelConsumer { id, tag: tag.clone(), queue: queue.clone(), slot, timeout_ms };
            state.consumers.push(entry);
            // The ok goes out before anything is delivered.
            if !consume.nowait {
                let ok = Method::BasicConsumeOk { consumer_tag: tag.clone() };
                state.pending_ok = Some((id, ok));
            }
        }
        let (reply, answer) = oneshot::channel();
        let consumer = Consumer {
            id,
            priority,
            no_ack: consume.no_ack,
            // Quorum queues know no exclusive consumers.
            exclusive: consume.exclusive && !is_quorum,
            prefetch: self.prefetch.into(),
            in_flight: 0,
            blocked: false,
        };
        let add = AddConsumer {
            consumer,
            tag,
            arguments: consume.arguments,
            outlet: self.outlet.clone(),
            channel: self.port.listing_name(&self.port.port.name()),
            reply: Some(reply),
        };
        let broker = self.port.port.broker.clone();
        broker.post(&queue, QueueCommand::AddConsumer(Box::new(add)));
        let outcome = answer.await;
        self.port.put_pending_ok(matches!(outcome, Ok(Ok(()))));
        match outcome {
            Ok(Ok(())) => Ok(()),
            refused => {
                self.port.state.lock().consumers.retain(|entry| entry.id != id);
                let row = queue.row();
                Err(match refused {
                    Ok(_) => AmqpError::access_refused(format!(
                        "queue '{}' in vhost '{}' in exclusive use",
                        row.name, row.vhost
                    )),
                    Err(_) => queue.no_answer(),
                })
            }
        }
    }

    fn consume_replies(&mut self, consume: Consume, tag: String) -> Result<(), AmqpError> {
        if !consume.no_ack {
            return Err(AmqpError::precondition_failed("reply consumer cannot acknowledge"));
        }
        if self.reply_name.is_some() {
            return Err(AmqpError::precondition_failed("reply consumer already set"));
        }
        let (node, connection) = (self.broker().node(), self.session.connection.0);
        self.reply_name = Some(self.broker().replies().open(&self.outlet, node, connection, self.number));
        self.port.state.lock().reply_tag = Some(tag.clone());
        self.reply_unless(consume.nowait, Method::BasicConsumeOk { consumer_tag: tag });
        Ok(())
    }

    pub(crate) async fn cancel(&mut self, tag: String, nowait: bool) {
        let entry = {
            let mut state = self.port.state.lock();
            if state.reply_tag.as_ref() == Some(&tag) {
                state.reply_tag = None;
            }
            let at = state.consumers.iter().position(|entry| entry.tag == tag);
            at.map(|at| state.consumers.remove(at))
        };
        match entry {
            Some(entry) => self.leave_queue(&entry).await,
            None if self.port.state.lock().reply_tag.is_none() => {
                if let Some(name) = self.reply_name.take() {
                    self.broker().replies().close(&name);
                }
            }
            None => {}
        }
        self.reply_unless(nowait, Method::BasicCancelOk { consumer_tag: tag });
    }

    /// Takes a consumer off its queue; an auto-delete queue may go with it.
    pub(super) async fn leave_queue(&self, consumer: &ChannelConsumer) {
        let (reply, answer) = oneshot::channel();
        let broker = self.port.port.broker.clone();
        broker.post(&consumer.queue, QueueCommand::RemoveConsumer(consumer.id, reply));
        let _ = answer.await;
        if consumer.queue.is_gone() {
            // So that the client finds it gone when it looks; whoever deletes first, wins.
            let row = consumer.queue.row();
            let (vhost, name, id) = (row.vhost.clone(), row.name.clone(), Some(row.id));
            let _ = broker.change(broker::catalog::Command::DeleteQueue { vhost, name, id }).await;
        }
    }

    pub(crate) fn qos(
        &mut self,
        prefetch_size: u32,
        prefetch_count: u16,
        global: bool,
    ) -> Result<(), AmqpError> {
        if prefetch_size != 0 {
            return Err(AmqpError::not_implemented(format!("prefetch_size!=0 ({prefetch_size})")));
        }
        if global {
            self.port.state.lock().global_prefetch = prefetch_count.into();
            for (queue, consumer) in self.port.take_stalled() {
                self.broker().post(&queue, QueueCommand::Unblock(consumer));
            }
        } else {
            self.prefetch = prefetch_count;
        }
        self.note_facts();
        self.reply(Method::BasicQosOk);
        Ok(())
    }
}

/// Consumer arguments of streams are refused, those of classic queues must have their types.
fn check_arguments(arguments: &FieldTable, row: &catalog::Queue) -> Result<(), AmqpError> {
    let refuse = |name: &str, why: String| {
        let text = format!("invalid arg '{name}' for queue '{}' in vhost '{}'{why}", row.name, row.vhost);
        Err(AmqpError::precondition_failed(text))
    };
    for (name, value) in arguments.iter() {
        match name {
            "x-priority" if value.as_integer().is_none() => {
                return refuse(name, format!(": \"expected integer, got {}\"", value.type_name()));
            }
            "x-cancel-on-ha-failover" if value.as_bool().is_none() => {
                return refuse(name, format!(": {{unacceptable_type,{}}}", value.type_name()));
            }
            "x-stream-offset" | "x-stream-filter" | "x-stream-match-unfiltered" => {
                return refuse(name, format!(" of queue type rabbit_{}_queue", row.kind.as_str()));
            }
            _ => {}
        }
    }
    Ok(())
}

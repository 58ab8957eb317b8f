//! The methods the scenarios call.
//!
//! Invariant: a method named `..._no_wait` is done when a later `sync` (or any call) is back; now and then it waits
//! itself, so that a slow broker is never silent for longer than a few hundred of them take.

use super::{CHANNEL, Connection};
use crate::error::Result;
use crate::wire::read::Reader;
use crate::wire::{self};

/// Methods without a reply before one with a reply is put behind them.
const UNANSWERED_MAX: u32 = 500;

/// What kind of queue is declared; the default is transient and outlives its connection.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub passive: bool,
    pub kind: Option<String>,
}

impl Queue {
    pub fn exclusive() -> Self {
        Self { exclusive: true, auto_delete: true, ..Self::default() }
    }

    pub fn durable() -> Self {
        Self { durable: true, ..Self::default() }
    }

    fn bits(&self) -> u8 {
        let bits = [self.passive, self.durable, self.exclusive, self.auto_delete];
        bits.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum()
    }
}

impl Connection {
    /// Declares a queue; gives its name and its number of ready messages.
    pub fn declare(&mut self, name: &str, queue: &Queue) -> Result<(String, u32)> {
        self.queue(CHANNEL, wire::QUEUE_DECLARE, |args| {
            args.u16(0).short(name).u8(queue.bits()).table(|arguments| {
                if let Some(kind) = &queue.kind {
                    arguments.text("x-queue-type", kind);
                }
            });
        });
        let reply = self.wait_for(wire::QUEUE_DECLARE_OK, 1)?;
        let mut reply = Reader::new(&reply);
        Ok((reply.short()?, reply.u32()?))
    }

    /// The number of ready messages of a queue that exists.
    pub fn ready_messages(&mut self, name: &str) -> Result<u32> {
        Ok(self.declare(name, &Queue { passive: true, ..Queue::default() })?.1)
    }

    /// An exchange that goes with its last binding.
    pub fn declare_exchange(&mut self, name: &str, kind: &str) -> Result<()> {
        const AUTO_DELETE: u8 = 1 << 2;
        self.queue(CHANNEL, wire::EXCHANGE_DECLARE, |args| {
            args.u16(0).short(name).short(kind).u8(AUTO_DELETE).table(|_| {});
        });
        self.wait_for(wire::EXCHANGE_DECLARE_OK, 1).map(drop)
    }

    pub fn delete_exchange(&mut self, name: &str) -> Result<()> {
        self.queue(CHANNEL, wire::EXCHANGE_DELETE, |args| {
            args.u16(0).short(name).u8(0);
        });
        self.wait_for(wire::EXCHANGE_DELETE_OK, 1).map(drop)
    }

    pub fn bind(&mut self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        self.queue_bind(queue, exchange, key, 0);
        self.wait_for(wire::QUEUE_BIND_OK, 1).map(drop)
    }

    pub fn bind_no_wait(&mut self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        self.queue_bind(queue, exchange, key, 1);
        self.sync_now_and_then()
    }

    fn queue_bind(&mut self, queue: &str, exchange: &str, key: &str, no_wait: u8) {
        self.queue(CHANNEL, wire::QUEUE_BIND, |args| {
            args.u16(0).short(queue).short(exchange).short(key).u8(no_wait).table(|_| {});
        });
    }

    pub fn delete(&mut self, queue: &str) -> Result<()> {
        self.queue_delete(queue, 0);
        self.wait_for(wire::QUEUE_DELETE_OK, 1).map(drop)
    }

    pub fn delete_no_wait(&mut self, queue: &str) -> Result<()> {
        self.queue_delete(queue, 1);
        self.sync_now_and_then()
    }

    fn sync_now_and_then(&mut self) -> Result<()> {
        self.unanswered += 1;
        if self.unanswered >= UNANSWERED_MAX { self.sync() } else { Ok(()) }
    }

    fn queue_delete(&mut self, queue: &str, no_wait: u8) {
        const NO_WAIT_BIT: u8 = 2;
        self.queue(CHANNEL, wire::QUEUE_DELETE, |args| {
            args.u16(0).short(queue).u8(no_wait << NO_WAIT_BIT);
        });
    }

    /// A round trip that changes nothing: when it is back, everything queued before is done.
    pub fn sync(&mut self) -> Result<()> {
        self.unanswered = 0;
        self.queue(CHANNEL, wire::BASIC_QOS, |args| {
            args.u32(0).u16(0).u8(0);
        });
        self.wait_for(wire::BASIC_QOS_OK, 1).map(drop)
    }

    /// At most this many unacknowledged deliveries to each later consumer.
    pub fn prefetch(&mut self, count: u16) -> Result<()> {
        self.queue(CHANNEL, wire::BASIC_QOS, |args| {
            args.u32(0).u16(count).u8(0);
        });
        self.wait_for(wire::BASIC_QOS_OK, 1).map(drop)
    }

    pub fn consume(&mut self, queue: &str, auto_ack: bool) -> Result<()> {
        const NO_ACK: u8 = 1 << 1;
        // A short tag of ours: the broker's own would be carried, and copied, in every delivery.
        self.consumers += 1;
        let tag = self.consumers.to_string();
        self.queue(CHANNEL, wire::BASIC_CONSUME, |args| {
            args.u16(0).short(queue).short(&tag).u8(if auto_ack { NO_ACK } else { 0 }).table(|_| {});
        });
        self.wait_for(wire::BASIC_CONSUME_OK, 1).map(drop)
    }

    pub fn ack_up_to(&mut self, tag: u64) -> Result<()> {
        self.send(wire::BASIC_ACK, |args| {
            args.u64(tag).u8(1);
        })
    }

    pub fn select_confirms(&mut self) -> Result<()> {
        self.queue(CHANNEL, wire::CONFIRM_SELECT, |args| {
            args.u8(0);
        });
        self.wait_for(wire::CONFIRM_SELECT_OK, 1).map(drop)
    }

    /// Opens and closes another channel.
    pub fn cycle_channel(&mut self, channel: u16) -> Result<()> {
        self.queue(channel, wire::CHANNEL_OPEN, |args| {
            args.short("");
        });
        self.wait_for(wire::CHANNEL_OPEN_OK, 1)?;
        self.queue(channel, wire::CHANNEL_CLOSE, |args| {
            args.u16(200).short("").u16(0).u16(0);
        });
        self.wait_for(wire::CHANNEL_CLOSE_OK, 1).map(drop)
    }
}

//! A channel: what its connection's task knows of it.
//!
//! One file per family of methods; the shared part, which queues deliver into, is `port`.

mod basic;
mod consume;
mod dispatch;
mod exchange;
pub(crate) mod port;
mod publish;
mod queue;
mod route_cache;
mod settle;
mod trace;
mod tx;
mod unanswered;

use crate::fault::Fault;
use engine::{Outlet, Session};
use port::ChannelPort;
use protocol::Method;
use protocol::assembly::Assembly;
use route_cache::RouteCache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tx::Transaction;
use types::AmqpError;

pub(crate) use publish::{HEADROOM_BYTES, Incoming, Publisher};
pub(crate) use unanswered::Unanswered;

/// How publishes and settlements of the channel are taken.
#[derive(Default)]
pub(crate) enum Mode {
    /// As they come.
    #[default]
    Plain,
    /// As they come, and publishes are answered.
    Confirm,
    /// All at once at tx.commit.
    Transactional(Box<Transaction>),
}

/// What listings show, kept where another thread can read it.
#[derive(Default)]
pub(crate) struct ChannelFacts {
    pub(crate) published: AtomicU64,
    pub(crate) prefetch: AtomicU64,
    pub(crate) mode: AtomicU64,
}

/// A channel of a connection.
pub(crate) struct Channel {
    pub(crate) number: u16,
    pub(crate) port: Arc<ChannelPort>,
    pub(crate) outlet: Arc<dyn Outlet>,
    pub(crate) facts: Arc<ChannelFacts>,
    pub(crate) session: Arc<Session>,
    pub(crate) assembly: Assembly,
    pub(crate) mode: Mode,
    pub(crate) routes: RouteCache,
    /// Number of the last publish in confirm mode.
    last_publish: u64,
    published: u64,
    last_queue: String,
    prefetch: u16,
    reply_name: Option<String>,
    /// Hears of the publishes of a transaction while that is committed.
    committing: Option<Arc<dyn Outlet>>,
    tags_made: u64,
    /// channel.close was sent; everything but close-ok is ignored.
    pub(crate) closing: bool,
}

impl Channel {
    pub(crate) fn new(port: ChannelPort, session: Arc<Session>) -> Channel {
        let port = Arc::new(port);
        Channel {
            number: port.number,
            outlet: port.clone(),
            port,
            facts: Arc::default(),
            session,
            assembly: Assembly::default(),
            mode: Mode::Plain,
            routes: RouteCache::default(),
            last_publish: 0,
            published: 0,
            last_queue: String::new(),
            prefetch: 0,
            reply_name: None,
            committing: None,
            tags_made: 0,
            closing: false,
        }
    }

    fn broker(&self) -> &engine::Broker {
        &self.port.port.broker
    }

    fn reply(&self, method: Method) {
        self.port.put(&method);
    }

    fn reply_unless(&self, nowait: bool, method: Method) {
        if !nowait {
            self.reply(method);
        }
    }

    /// The queue a method means: by name, or the one last declared here.
    fn queue_name(&self, name: &str) -> Result<String, AmqpError> {
        if !name.is_empty() {
            return Ok(name.to_owned());
        }
        if self.last_queue.is_empty() {
            return Err(AmqpError::not_found("no previously declared queue"));
        }
        Ok(self.last_queue.clone())
    }

    /// Gives everything back and leaves the queues; the catalog keeps what is not exclusive.
    pub(crate) async fn close(&mut self) {
        if let Some(name) = self.reply_name.take() {
            self.broker().replies().close(&name);
        }
        if let Mode::Transactional(_) = self.mode {
            // What was settled but not committed is held by the client, and goes back with the rest.
            let _ = self.tx_rollback();
        }
        // First the consumers leave, so that what they held goes to others in its order.
        for consumer in self.port.close() {
            self.leave_queue(&consumer).await;
        }
        self.port.give_back();
        self.assembly.reset();
    }

    fn note_facts(&self) {
        let mode = match self.mode {
            Mode::Plain => 0,
            Mode::Confirm => 1,
            Mode::Transactional(_) => 2,
        };
        self.facts.mode.store(mode, Ordering::Relaxed);
        self.facts.prefetch.store(self.prefetch.into(), Ordering::Relaxed);
    }
}

/// Gives an error its place.
fn at(channel: u16, method: &Method) -> impl Fn(AmqpError) -> Fault + use<> {
    let class_method = method.class_method();
    move |error| Fault::new(error, channel, class_method)
}

//! A connection: one task that reads, and does what the client asks.
//!
//! ```text
//!   handshake ──> running ──(error, operator, shutdown)──> closing ──(close-ok, time)──> closed
//!                    └──────(client's close)────────────────────────────────────────────────┘
//! ```
//! Invariant: the task never waits for its own client; when something behind it is full it stops
//! reading. A read buffer belongs to the thread and is held only while there is something to do.

mod frames;
mod handshake;
mod heartbeat;
mod listing;

use crate::channel::{Channel, Publisher, Unanswered};
use crate::fault::Fault;
use crate::listener::ServerConfig;
use crate::port::Port;
use engine::alarm::Alarms;
use engine::{Broker, Queue, Session};
use handshake::Opened;
use heartbeat::Heartbeat;
pub(crate) use listing::ConnectionFacts;
use protocol::Method;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use types::limits::{
    CLOSE_TIMEOUT_MS, CONSUMER_BIAS_MS, OUTBOX_REPLY_LIMIT_BYTES, READ_BUFFER_BYTES, SHUTDOWN_TIMEOUT_MS,
};
use types::{AmqpError, ReplyCode};

/// Read buffers a thread keeps.
const SPARE_READ_BUFFERS_MAX: usize = 4;

thread_local! {
    static READ_BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A read buffer of this thread, given back when dropped.
struct ReadBuffer(Box<[u8]>);

impl ReadBuffer {
    fn take() -> ReadBuffer {
        let spare = READ_BUFFERS.with_borrow_mut(Vec::pop);
        ReadBuffer(spare.unwrap_or_else(|| vec![0; READ_BUFFER_BYTES].into_boxed_slice()))
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        READ_BUFFERS.with_borrow_mut(|spare| {
            if spare.len() < SPARE_READ_BUFFERS_MAX && buffer.len() == READ_BUFFER_BYTES {
                spare.push(buffer);
            }
        });
    }
}

/// Where the connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// connection.close was sent.
    Closing,
    /// Nothing more to do but to write what waits.
    Closed,
}

/// What reading the socket came to.
enum Read {
    Bytes(usize),
    Nothing,
    End,
}

pub(crate) struct Connection {
    port: Arc<Port>,
    config: Arc<ServerConfig>,
    session: Arc<Session>,
    facts: Arc<ConnectionFacts>,
    channels: Vec<Option<Box<Channel>>>,
    channel_max: u16,
    publisher: Publisher,
    unanswered: Unanswered,
    /// Bytes of a frame that has not come completely.
    partial: Vec<u8>,
    phase: Phase,
    heartbeat: Heartbeat,
    blocked_notify: bool,
    cancel_notify: bool,
    /// Parts of a content came, of which no publish may have been made yet.
    publishing: bool,
    /// Bytes in `partial` wait until the client has read its replies.
    throttled: bool,
    /// Set while an alarm keeps this publisher from being read.
    blocked: Option<watch::Receiver<Alarms>>,
    close_by: Option<Instant>,
}

/// Serves one accepted socket to its end.
pub(crate) async fn serve(port: Arc<Port>, config: Arc<ServerConfig>, peer: SocketAddr, local: SocketAddr) {
    let broker = port.broker.clone();
    let limit = Duration::from_millis(config.handshake_timeout_ms);
    let opening = Box::pin(handshake::open(&port, &config, peer, local));
    let opened = match tokio::time::timeout(limit, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(refusal)) => {
            handshake::refuse(&port, refusal).await;
            port.close();
            return;
        }
        Err(_) => {
            tracing::info!(%peer, "connection closed: handshake timed out");
            port.close();
            return;
        }
    };
    broker.metrics().connections_opened.add(1);
    let mut connection = Box::new(Connection::new(port, config, opened));
    // Only now, since whoever deletes this user or vhost from here on finds the connection listed.
    Method::ConnectionOpenOk.put(connection.port.out().frames(), 0);
    connection.port.flush();
    connection.run().await;
    connection.end().await;
    broker.metrics().connections_closed.add(1);
}

impl Connection {
    fn new(port: Arc<Port>, config: Arc<ServerConfig>, opened: Opened) -> Connection {
        let Opened { session, facts, tuned, partial, blocked_notify, cancel_notify } = opened;
        let facts = Arc::new(facts);
        port.broker.connections().add(port.id, facts.clone());
        Connection {
            port,
            config,
            session: Arc::new(session),
            facts,
            channels: Vec::new(),
            channel_max: tuned.channel_max,
            publisher: Publisher::default(),
            unanswered: Unanswered::default(),
            partial,
            phase: Phase::Running,
            heartbeat: Heartbeat::new(tuned.heartbeat),
            blocked_notify,
            cancel_notify,
            publishing: false,
            throttled: false,
            blocked: None,
            close_by: None,
        }
    }

    fn broker(&self) -> &Arc<Broker> {
        &self.port.broker
    }

    async fn run(&mut self) {
        let mut shutdown = self.config.shutdown.subscribe();
        // What came with the handshake's last bytes.
        if !self.partial.is_empty() && !self.read_and_process(true).await {
            return;
        }
        loop {
            // After close-ok the client closes the socket. Closing it here while bytes of the client are
            // still on their way would reset the connection, and the client might never read close-ok.
            if self.phase == Phase::Closed && self.close_by.is_none() {
                self.close_by = Some(Instant::now() + Duration::from_millis(CLOSE_TIMEOUT_MS));
            }
            // Looked at here too: a client that goes on sending keeps the socket readable.
            if self.close_by.is_some_and(|at| at <= Instant::now()) {
                return;
            }
            let reads = self.blocked.is_none() && self.has_room_for_replies();
            if reads && self.throttled {
                if !self.read_and_process(true).await {
                    return;
                }
                continue;
            }
            let stalled = self.port.stalled.load(Ordering::Acquire);
            let deadline = self.next_deadline();
            let port = self.port.clone();
            tokio::select! {
                biased;
                ready = port.socket.readable(), if reads => {
                    if ready.is_err() || !self.read_and_process(false).await {
                        return;
                    }
                }
                ready = port.socket.writable(), if stalled => {
                    if ready.is_err() {
                        return;
                    }
                    port.resume();
                    self.broker().flush();
                }
                () = port.wake.notified() => {
                    if !self.woken() {
                        return;
                    }
                }
                () = sleep_until(deadline), if deadline.is_some() => {
                    if !self.deadline_passed().await {
                        return;
                    }
                }
                () = alarm_cleared(&mut self.blocked), if self.blocked.is_some() => self.unblock(),
                () = stopping(&mut shutdown), if self.phase == Phase::Running => {
                    let error = "broker forced connection closure with reason 'shutdown'";
                    self.close_with(AmqpError::new(ReplyCode::ConnectionForced, error), (0, 0));
                    self.close_by = Some(Instant::now() + Duration::from_millis(SHUTDOWN_TIMEOUT_MS));
                }
            }
        }
    }

    fn has_room_for_replies(&self) -> bool {
        self.port.out().bytes() < OUTBOX_REPLY_LIMIT_BYTES
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.heartbeat.next(), self.close_by].into_iter().flatten().min()
    }

    /// Something was left for this task: an operator's close, or a socket that failed.
    fn woken(&mut self) -> bool {
        if self.port.out().closed {
            return false;
        }
        if let Some(reason) = self.port.take_forced()
            && self.phase == Phase::Running
        {
            self.close_with(AmqpError::new(ReplyCode::ConnectionForced, reason), (0, 0));
        }
        true
    }

    async fn deadline_passed(&mut self) -> bool {
        if self.close_by.is_some_and(|at| at <= Instant::now()) {
            return false;
        }
        let watched = self.blocked.is_none();
        let sent = self.port.sent_bytes.load(Ordering::Relaxed);
        let received = self.port.received_bytes.load(Ordering::Relaxed);
        match self.heartbeat.tick(sent, received, watched) {
            heartbeat::Beat::Quiet => {}
            heartbeat::Beat::Send => {
                protocol::frame::put_heartbeat(self.port.out().frames());
                self.port.flush();
            }
            heartbeat::Beat::Lost => {
                tracing::warn!(connection = %self.facts.name, "missed heartbeats from client");
                return false;
            }
        }
        self.check_consumer_timeouts().await;
        true
    }

    async fn check_consumer_timeouts(&mut self) {
        let now_ms = engine::clock::now_ms();
        let late: Vec<(u16, u64)> = self
            .channels
            .iter()
            .flatten()
            .filter(|channel| !channel.closing)
            .filter_map(|channel| {
                let timeout = channel.port.state.lock().missed_deadline(now_ms);
                timeout.map(|timeout_ms| (channel.number, timeout_ms))
            })
            .collect();
        for (number, timeout_ms) in late {
            let text = format!(
                "delivery acknowledgement on channel {number} timed out. Timeout value used: {timeout_ms} ms. \
                 This timeout value can be configured, see consumers doc guide to learn more"
            );
            self.fail(Fault::new(AmqpError::precondition_failed(text), number, (0, 0))).await;
        }
        self.port.flush();
    }

    /// Reads what has come and does it; false when the connection is over.
    async fn read_and_process(&mut self, first: bool) -> bool {
        let mut buffer = ReadBuffer::take();
        let held = self.partial.len();
        let mut grown;
        let bytes: &mut [u8] = if held + READ_BUFFER_BYTES / 4 <= buffer.0.len() {
            &mut buffer.0
        } else {
            // A frame larger than the buffer: only possible with a frame-max above it.
            grown = vec![0; held + READ_BUFFER_BYTES].into_boxed_slice();
            &mut grown
        };
        bytes[..held].copy_from_slice(&self.partial);
        self.partial.clear();
        let mut length = held;
        if !first {
            match self.read(&mut bytes[held..]) {
                Read::Bytes(count) => length += count,
                Read::Nothing => {
                    self.partial.extend_from_slice(&bytes[..held]);
                    return true;
                }
                Read::End => return false,
            }
        }
        let used = match self.process(&bytes[..length]).await {
            _ if self.phase == Phase::Closed => length,
            used => used,
        };
        self.partial.extend_from_slice(&bytes[used..length]);
        if self.partial.is_empty() && self.partial.capacity() > 4096 {
            self.partial = Vec::new();
        }
        drop(buffer);
        self.finish_batch();
        self.broker().flush();
        self.port.flush();
        self.wait_for_queues().await;
        true
    }

    fn read(&mut self, into: &mut [u8]) -> Read {
        let port = &self.port;
        let Some(tls) = &port.tls else {
            return match port.socket.try_read(into) {
                Ok(0) => Read::End,
                Ok(count) => {
                    port.received_bytes.fetch_add(count as u64, Ordering::Relaxed);
                    Read::Bytes(count)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Read::Nothing,
                Err(_) => Read::End,
            };
        };
        let read = crate::connection::handshake::read_tls(port, tls, into);
        port.flush_tls();
        match read {
            Ok(0) => Read::Nothing,
            Ok(count) => {
                port.received_bytes.fetch_add(count as u64, Ordering::Relaxed);
                Read::Bytes(count)
            }
            Err(()) => Read::End,
        }
    }

    /// Hands over what was published, and counts it.
    fn finish_batch(&mut self) {
        self.hand_over();
        let publisher = &mut self.publisher;
        if publisher.count > 0 {
            let (count, routed) = (publisher.count, publisher.routed);
            let with_confirm = publisher.with_confirm;
            (publisher.count, publisher.routed, publisher.with_confirm) = (0, 0, 0);
            self.port.broker.count_published(count, routed, with_confirm);
            self.publishing = true;
        }
        if std::mem::take(&mut self.publishing) {
            self.block_if_alarmed();
        }
    }

    /// Hands the batch over to its queues.
    fn hand_over(&mut self) {
        self.publisher.hand_over(&self.port.broker);
    }

    /// Lets slow queues catch up: while a mailbox is full for as long as it takes, while consumers
    /// cannot keep up for a moment.
    async fn wait_for_queues(&mut self) {
        let Some(queue) = self.publisher.slow.take() else { return };
        let moment = Duration::from_millis(CONSUMER_BIAS_MS);
        let _ = tokio::time::timeout(moment, queue.room()).await;
        while queue.is_full() {
            let _: Result<(), _> = tokio::time::timeout(moment, Queue::room(&queue)).await;
        }
    }

    fn block_if_alarmed(&mut self) {
        let alarms = self.port.broker.alarms().current();
        if !alarms.any() || self.blocked.is_some() {
            return;
        }
        self.blocked = Some(self.port.broker.alarms().watch());
        self.facts.set_blocked(true);
        if self.blocked_notify {
            let blocked = Method::ConnectionBlocked { reason: alarms.reason().to_owned() };
            blocked.put(self.port.out().frames(), 0);
        }
    }

    fn unblock(&mut self) {
        self.blocked = None;
        self.facts.set_blocked(false);
        if self.blocked_notify {
            Method::ConnectionUnblocked.put(self.port.out().frames(), 0);
            self.port.flush();
        }
    }

    /// Sends connection.close; from here on only close-ok counts.
    fn close_with(&mut self, error: AmqpError, class_method: (u16, u16)) {
        tracing::warn!(connection = %self.facts.name, %error, "connection closed by the broker");
        let close = Method::ConnectionClose {
            reply_code: error.code.code(),
            reply_text: error.reply_text(),
            class_id: class_method.0,
            method_id: class_method.1,
        };
        close.put(self.port.out().frames(), 0);
        self.phase = Phase::Closing;
        self.blocked = None;
        self.close_by = Some(Instant::now() + Duration::from_millis(CLOSE_TIMEOUT_MS));
        self.port.flush();
    }

    /// Gives everything back that the connection held.
    async fn end(&mut self) {
        self.finish_batch();
        self.broker().flush();
        self.port.close();
        for channel in &mut self.channels {
            if let Some(mut channel) = channel.take() {
                channel.close().await;
                self.port.broker.metrics().channels_closed.add(1);
            }
        }
        self.port.broker.forget_connection(self.port.id).await;
        self.port.broker.flush();
        tracing::debug!(connection = %self.facts.name, "connection ended");
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

/// Comes back when the node stops, also when it was told so before this connection was in.
async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    // An error means the server is gone, which is a stop too.
    let _ = shutdown.wait_for(|stopping| *stopping).await;
}

/// Comes back when no alarm is on.
async fn alarm_cleared(watch: &mut Option<watch::Receiver<Alarms>>) {
    if let Some(watch) = watch {
        // An error means the broker is gone; the shutdown ends the connection.
        let _ = watch.wait_for(|alarms| !alarms.any()).await;
    }
}

//! A connection's way out: everybody who has something for the client writes here.
//!
//! Invariant: one thread at a time writes to the socket (`writing`). Whoever finishes a piece of work
//! writes at once if the socket takes it; what it does not take is left to the connection's task.

use crate::outbox::{self, Outbox, Piece};
use engine::{Broker, QueueCommand};
use parking_lot::{Mutex, MutexGuard};
use rustls::ServerConnection;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use types::ConnectionId;
use types::limits::OUTBOX_LOW_WATER_BYTES;

/// The shared part of a connection.
pub(crate) struct Port {
    pub(crate) id: ConnectionId,
    pub(crate) broker: Arc<Broker>,
    pub(crate) socket: TcpStream,
    pub(crate) tls: Option<Mutex<ServerConnection>>,
    out: Mutex<Outbox>,
    /// The connection's task has something to do: write on, or close.
    pub(crate) wake: Notify,
    /// The socket did not take everything; the task waits for it to become writable.
    pub(crate) stalled: AtomicBool,
    pub(crate) frame_max: AtomicU32,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    forced: Mutex<Option<String>>,
    traces: Mutex<Vec<Trace>>,
}

/// A delivery to be shown to the firehose after the queue's turn.
pub(crate) struct Trace {
    pub(crate) vhost: types::VhostName,
    pub(crate) key: String,
    pub(crate) properties: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

enum Written {
    All,
    Stalled(VecDeque<Piece>),
    Failed,
}

impl Port {
    pub(crate) fn new(
        id: ConnectionId,
        broker: Arc<Broker>,
        socket: TcpStream,
        tls: Option<ServerConnection>,
    ) -> Port {
        Port {
            id,
            broker,
            socket,
            tls: tls.map(Mutex::new),
            out: Mutex::default(),
            wake: Notify::new(),
            stalled: AtomicBool::new(false),
            frame_max: AtomicU32::new(0),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            forced: Mutex::new(None),
            traces: Mutex::default(),
        }
    }

    /// The outbox, to append to.
    #[inline]
    pub(crate) fn out(&self) -> MutexGuard<'_, Outbox> {
        self.out.lock()
    }

    /// The connection's name in listings: the client's address and ours.
    pub(crate) fn name(&self) -> String {
        match (self.socket.peer_addr(), self.socket.local_addr()) {
            (Ok(peer), Ok(local)) => {
                format!("{} -> {}", crate::listener::plain(peer), crate::listener::plain(local))
            }
            _ => format!("connection {}", self.id),
        }
    }

    pub(crate) fn frame_max(&self) -> u32 {
        self.frame_max.load(Ordering::Relaxed)
    }

    /// Asks the connection's task to close with 320 and `reason`.
    pub(crate) fn force_close(&self, reason: &str) {
        *self.forced.lock() = Some(reason.to_owned());
        self.wake.notify_one();
    }

    pub(crate) fn take_forced(&self) -> Option<String> {
        self.forced.lock().take()
    }

    pub(crate) fn add_trace(&self, trace: Trace) {
        self.traces.lock().push(trace);
    }

    /// Writes what waits, as much as the socket takes now.
    pub(crate) fn flush(&self) {
        loop {
            let mut out = self.out.lock();
            if out.writing || out.closed || out.bytes() == 0 {
                break;
            }
            let pieces = out.take();
            out.writing = true;
            drop(out);
            let (pieces, bytes) = self.sealed(pieces);
            let written = self.write(pieces);
            let mut out = self.out.lock();
            out.writing = false;
            match written {
                Written::All => {
                    self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                }
                Written::Failed => {
                    // The reading side sees the same and ends the connection.
                    out.close();
                    self.wake.notify_one();
                }
                Written::Stalled(rest) => {
                    self.stall(&mut out, rest);
                    break;
                }
            }
        }
        self.wake_waiting();
        self.publish_traces();
    }

    fn stall(&self, out: &mut Outbox, rest: VecDeque<Piece>) {
        // Stays taken until the task has seen the socket writable.
        out.put_back(rest);
        out.writing = true;
        self.stalled.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// The socket is writable again: go on where it stalled.
    pub(crate) fn resume(&self) {
        if self.stalled.swap(false, Ordering::AcqRel) {
            self.out.lock().writing = false;
        }
        self.flush();
    }

    /// With TLS, frames become records. Keeps the order, since only the writing thread comes here.
    fn sealed(&self, pieces: VecDeque<Piece>) -> (VecDeque<Piece>, usize) {
        let mut slices = Vec::with_capacity(pieces.len());
        outbox::slices(&pieces, &mut slices);
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        let Some(tls) = &self.tls else {
            drop(slices);
            return (pieces, bytes);
        };
        drop(slices);
        let mut sealed = outbox::spare_buffer();
        let mut session = tls.lock();
        let mut pieces = pieces;
        while !pieces.is_empty() {
            let mut slices = Vec::new();
            outbox::slices(&pieces, &mut slices);
            let taken = session.writer().write_vectored(&slices).unwrap_or(0);
            drop(slices);
            if taken == 0 {
                break;
            }
            outbox::advance(&mut pieces, taken);
            while session.wants_write() && session.write_tls(&mut sealed).is_ok() {}
        }
        (VecDeque::from([Piece::Frames(sealed, 0)]), bytes)
    }

    /// Puts TLS records that the session itself wants to send (handshake, alerts) into the outbox.
    pub(crate) fn flush_tls(&self) {
        let Some(tls) = &self.tls else { return };
        let mut records = Vec::new();
        let mut session = tls.lock();
        while session.wants_write() && session.write_tls(&mut records).is_ok() {}
        drop(session);
        if records.is_empty() {
            return;
        }
        let mut out = self.out.lock();
        if out.closed || out.writing {
            return;
        }
        out.writing = true;
        drop(out);
        let written = self.write(VecDeque::from([Piece::Frames(records, 0)]));
        let mut out = self.out.lock();
        out.writing = false;
        match written {
            Written::All => {}
            Written::Failed => out.close(),
            Written::Stalled(rest) => self.stall(&mut out, rest),
        }
    }

    fn write(&self, mut pieces: VecDeque<Piece>) -> Written {
        loop {
            if pieces.is_empty() {
                return Written::All;
            }
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(pieces.len().min(64));
            outbox::slices(&pieces, &mut slices);
            let result = match slices.as_slice() {
                [only] => self.socket.try_write(only),
                many => self.socket.try_write_vectored(many),
            };
            drop(slices);
            match result {
                Ok(0) => return Written::Failed,
                Ok(written) => outbox::advance(&mut pieces, written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Written::Stalled(pieces),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Written::Failed,
            }
        }
    }

    fn wake_waiting(&self) {
        let mut out = self.out.lock();
        if out.waiting.is_empty() || out.bytes() > OUTBOX_LOW_WATER_BYTES {
            return;
        }
        let waiting = std::mem::take(&mut out.waiting);
        drop(out);
        for (queue, consumer) in waiting {
            self.broker.post(&queue, QueueCommand::Unblock(consumer));
        }
    }

    fn publish_traces(&self) {
        let traces = {
            let mut traces = self.traces.lock();
            if traces.is_empty() {
                return;
            }
            std::mem::take(&mut *traces)
        };
        for trace in traces {
            self.broker.trace(&trace.vhost, trace.key, trace.properties, &trace.body);
        }
    }

    /// Drops what waits; the socket is gone.
    pub(crate) fn close(&self) {
        self.out.lock().close();
    }
}

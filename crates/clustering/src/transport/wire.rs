//! The shared part of a link: its socket and what waits to be written to it.
//!
//! Invariant: one thread at a time seals and writes (`writing`), so the bytes leave in the order the frames
//! were put in. Whoever has put something in writes at once if the socket takes it; what it does not take
//! is left to the link's own task. `buffered` counts what was put in and is not written yet.

use super::config::Water;
use super::drain::Drain;
use parking_lot::{Mutex, MutexGuard};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use types::limits::LINK_FLUSH_TURN_BYTES;

/// Buffers above this size are not kept.
const SPARE_BUFFER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What is called when there is room again.
pub(super) type OnRoom = Arc<dyn Fn() + Send + Sync>;

/// Frames that wait, and who writes.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) plain: Vec<u8>,
    spare: Vec<u8>,
    writing: bool,
    pub(super) closed: bool,
}

enum Written {
    All,
    /// The socket is full, or this thread has done its share.
    Stalled,
    Failed,
}

pub(super) struct Wire {
    pub(super) socket: TcpStream,
    pub(super) tls: Option<Mutex<rustls::Connection>>,
    /// The TLS session itself has something to send.
    tls_owes: AtomicBool,
    pub(super) water: Water,
    pub(super) frame_max_bytes: usize,
    out: Mutex<Outbox>,
    drain: Mutex<Drain>,
    buffered: AtomicUsize,
    was_high: AtomicBool,
    stalled: AtomicBool,
    closed: AtomicBool,
    /// The link's task has something to do: write on, or end.
    wake: Notify,
    pub(super) room: Notify,
    on_room: Mutex<Option<OnRoom>>,
}

impl Wire {
    pub(super) fn new(
        socket: TcpStream,
        tls: Option<rustls::Connection>,
        drain: Drain,
        water: Water,
        frame_max_bytes: usize,
    ) -> Wire {
        Wire {
            socket,
            tls: tls.map(Mutex::new),
            tls_owes: AtomicBool::new(false),
            water,
            frame_max_bytes,
            out: Mutex::default(),
            drain: Mutex::new(drain),
            buffered: AtomicUsize::new(0),
            was_high: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
            room: Notify::new(),
            on_room: Mutex::new(None),
        }
    }

    /// What waits, to append to.
    pub(super) fn out(&self) -> MutexGuard<'_, Outbox> {
        self.out.lock()
    }

    /// Counts what was appended. Called under the lock of `out`, so that only writing happens meanwhile.
    pub(super) fn count(&self, bytes: usize) {
        // The mark first: who writes all of it at once then sees it.
        if self.buffered.load(Ordering::SeqCst) + bytes > self.water.high_bytes {
            self.was_high.store(true, Ordering::SeqCst);
        }
        self.buffered.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        if self.is_closed() { 0 } else { self.buffered.load(Ordering::SeqCst) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn set_on_room(&self, call: OnRoom) {
        *self.on_room.lock() = Some(call);
    }

    /// The TLS session wants to send something of its own.
    pub(super) fn tls_owes(&self) {
        self.tls_owes.store(true, Ordering::Release);
    }

    /// Writes what waits, as much as the socket takes now.
    pub(super) fn flush(&self) {
        let mut turn_bytes = LINK_FLUSH_TURN_BYTES;
        loop {
            let mut out = self.out.lock();
            let owes = self.tls_owes.load(Ordering::Acquire);
            if out.writing || out.closed || (out.plain.is_empty() && !owes) {
                return;
            }
            out.writing = true;
            let spare = std::mem::take(&mut out.spare);
            let plain = std::mem::replace(&mut out.plain, spare);
            drop(out);
            self.tls_owes.store(false, Ordering::Release);
            self.drain.lock().begin(plain);
            if !self.write(&mut turn_bytes) {
                return;
            }
        }
    }

    /// The link's task goes on where the socket was full.
    fn resume(&self) {
        if self.stalled.swap(false, Ordering::AcqRel) {
            let mut turn_bytes = LINK_FLUSH_TURN_BYTES;
            if self.write(&mut turn_bytes) {
                self.flush();
            }
        }
    }

    /// Writes what is in hand; true when all of it is written and nobody writes any more.
    fn write(&self, turn_bytes: &mut usize) -> bool {
        let written = loop {
            let mut drain = self.drain.lock();
            if let Some(end) = self.write_stage(&mut drain, turn_bytes) {
                break end;
            }
            drop(drain);
            // Not under any lock: what is called may put in more.
            self.tell_room();
        };
        match written {
            Written::All => {
                let mut plain = self.drain.lock().end();
                // Still as the one who writes: what is called may put in more and flush, and that does not
                // come back to here.
                self.tell_room();
                let mut out = self.out.lock();
                out.writing = false;
                if plain.capacity() <= SPARE_BUFFER_BYTES_MAX && plain.capacity() > out.spare.capacity() {
                    plain.clear();
                    out.spare = plain;
                }
                true
            }
            Written::Stalled => {
                // `writing` stays taken until the task has seen the socket writable.
                self.stalled.store(true, Ordering::Release);
                self.wake.notify_one();
                false
            }
            Written::Failed => {
                self.close();
                false
            }
        }
    }

    /// Writes what is sealed and seals the next; None when there is more to do.
    fn write_stage(&self, drain: &mut Drain, turn_bytes: &mut usize) -> Option<Written> {
        while !drain.sealed().is_empty() {
            match self.socket.try_write(drain.sealed()) {
                Ok(0) => return Some(Written::Failed),
                Ok(bytes) => drain.written(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Written::Stalled),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Written::Failed),
            }
        }
        let (frame_bytes, bytes) = drain.stage_bytes();
        self.buffered.fetch_sub(frame_bytes, Ordering::SeqCst);
        *turn_bytes = turn_bytes.saturating_sub(bytes);
        if drain.stage(self.tls.as_ref()).is_none() {
            return Some(Written::Failed);
        }
        if drain.sealed().is_empty() {
            return Some(Written::All);
        }
        if *turn_bytes == 0 {
            return Some(Written::Stalled);
        }
        None
    }

    fn tell_room(&self) {
        if self.buffered.load(Ordering::SeqCst) >= self.water.low_bytes {
            return;
        }
        self.room.notify_waiters();
        if self.was_high.swap(false, Ordering::SeqCst) {
            let call = self.on_room.lock().clone();
            let called = call.map(|call| std::panic::catch_unwind(AssertUnwindSafe(|| call())));
            if called.is_some_and(|called| called.is_err()) {
                // It would never be called again, and who waits for it would wait for ever.
                tracing::error!("a link is closed: who waited for room in it has panicked");
                self.close();
            }
        }
    }

    /// Drops what waits and shuts the socket, from any thread.
    pub(super) fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut out = self.out.lock();
        out.closed = true;
        let dropped = (std::mem::take(&mut out.plain), std::mem::take(&mut out.spare));
        drop(out);
        drop(dropped);
        // Wakes the reading side; the socket may be gone already.
        let _ = socket2::SockRef::from(&self.socket).shutdown(Shutdown::Both);
        self.wake.notify_one();
        self.room.notify_waiters();
    }
}

/// The link's own task: writes what the socket did not take at once.
pub(super) async fn write_on(wire: Arc<Wire>) {
    while !wire.is_closed() {
        wire.wake.notified().await;
        while wire.stalled.load(Ordering::Acquire) && !wire.is_closed() {
            tokio::select! {
                ready = wire.socket.writable() => {
                    if ready.is_err() {
                        wire.close();
                    }
                    wire.resume();
                    // Other links of this thread have their turn as well.
                    tokio::task::yield_now().await;
                }
                () = wire.wake.notified() => {}
            }
        }
    }
}

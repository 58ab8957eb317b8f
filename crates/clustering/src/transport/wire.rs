//! The shared part of a link: its socket and what waits to be written to it.
//!
//! Invariant: one thread at a time seals and writes (`writing`), so the bytes leave in the order the frames
//! were put in. Whoever has put something in writes at once if the socket takes it; what it does not take
//! is left to the link's own task. `buffered` counts what was put in and is not written yet.

use super::config::Water;
use super::record::{OVERHEAD_BYTES, Sealer};
use parking_lot::{Mutex, MutexGuard};
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use types::limits::{LINK_FLUSH_TURN_BYTES, LINK_STAGE_BYTES};

/// Buffers above this size are not kept.
const SPARE_BUFFER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What is called when there is room again.
pub(super) type OnRoom = Arc<dyn Fn() + Send + Sync>;

/// How a link's bytes are sealed.
pub(super) enum Seal {
    Own(Sealer),
    /// By the session in `Wire::tls`.
    Tls,
}

/// Frames that wait, and who writes.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) plain: Vec<u8>,
    spare: Vec<u8>,
    writing: bool,
    pub(super) closed: bool,
}

/// What the one who writes has in hand.
pub(super) struct Drain {
    seal: Seal,
    plain: Vec<u8>,
    plain_from: usize,
    staged: Vec<u8>,
    staged_from: usize,
    staged_end: usize,
    /// Bytes of frames in `staged`.
    staged_plain: usize,
    record_bytes: usize,
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

impl Drain {
    pub(super) fn new(seal: Seal, record_bytes: usize) -> Drain {
        Drain {
            seal,
            plain: Vec::new(),
            plain_from: 0,
            staged: Vec::new(),
            staged_from: 0,
            staged_end: 0,
            staged_plain: 0,
            record_bytes,
        }
    }

    /// Seals the next records; None when that cannot be done.
    fn stage(&mut self, tls: Option<&Mutex<rustls::Connection>>) -> Option<()> {
        (self.staged_from, self.staged_end, self.staged_plain) = (0, 0, 0);
        let from = self.plain_from;
        match (&mut self.seal, tls) {
            (Seal::Own(sealer), _) => {
                let rest = &self.plain[from..];
                let rest = &rest[..rest.len().min(LINK_STAGE_BYTES)];
                let wanted = rest.len() + rest.len().div_ceil(self.record_bytes) * OVERHEAD_BYTES;
                if self.staged.len() < wanted {
                    self.staged.resize(wanted, 0);
                }
                for record in rest.chunks(self.record_bytes) {
                    self.staged_end += sealer.seal(record, &mut self.staged[self.staged_end..]).ok()?;
                }
                self.plain_from += rest.len();
            }
            (Seal::Tls, Some(tls)) => {
                self.staged.clear();
                let mut session = tls.lock();
                loop {
                    while session.wants_write() {
                        session.write_tls(&mut self.staged).ok()?;
                    }
                    if self.plain_from == self.plain.len() || self.staged.len() >= LINK_STAGE_BYTES {
                        break;
                    }
                    let taken = session.writer().write(&self.plain[self.plain_from..]).ok()?;
                    if taken == 0 {
                        return None;
                    }
                    self.plain_from += taken;
                }
                self.staged_end = self.staged.len();
            }
            (Seal::Tls, None) => return None,
        }
        self.staged_plain = self.plain_from - from;
        Some(())
    }
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
            let mut drain = self.drain.lock();
            drain.plain = plain;
            drain.plain_from = 0;
            drop(drain);
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
                let mut plain = std::mem::take(&mut self.drain.lock().plain);
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
        while drain.staged_from < drain.staged_end {
            match self.socket.try_write(&drain.staged[drain.staged_from..drain.staged_end]) {
                Ok(0) => return Some(Written::Failed),
                Ok(written) => drain.staged_from += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Written::Stalled),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Written::Failed),
            }
        }
        self.buffered.fetch_sub(drain.staged_plain, Ordering::SeqCst);
        *turn_bytes = turn_bytes.saturating_sub(drain.staged_end);
        if drain.stage(self.tls.as_ref()).is_none() {
            return Some(Written::Failed);
        }
        if drain.staged_end == 0 {
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

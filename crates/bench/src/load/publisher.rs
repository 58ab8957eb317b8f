//! A publisher: one thread that writes, one that hears what the broker says to it.
//!
//! Invariant: the writing thread never waits for a reply, so the broker can always say why it closes; a stopped
//! publisher ends with a whole message.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope, Thread};
use std::time::Duration;

use super::batch::Batch;
use super::confirms::Confirms;
use super::run::Run;
use super::timetable::Timetable;
use crate::client::{Connection, Target, refuse_close, write_fully};
use crate::clock;
use crate::error::Result;
use crate::histogram::Histogram;
use crate::wire::read::Reader;
use crate::wire::scan::{Method, Sink};
use crate::wire::{self};

/// How long a publisher waits before it looks again whether the consumers have caught up.
const WINDOW_POLL: Duration = Duration::from_micros(100);
/// A confirm wakes the writer; this only bounds the wait when the run ends.
const CONFIRM_POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Publisher {
    connection: Connection,
    batch: Batch,
    pace: Pace,
}

/// What decides when the next message goes out.
#[derive(Debug)]
pub enum Pace {
    /// As fast as the window allows; at most this many unconfirmed when it is not 0.
    Flood { confirm_window_msgs: u64 },
    /// At fixed times.
    Timed(Timetable),
    /// As fast as possible, this many messages in all, without a window.
    Count(u64),
    /// This many messages with numbers from 1 on, each confirmed at the end; at most this many unconfirmed.
    Numbered { messages: u64, confirm_window_msgs: u64 },
}

/// What the two threads of a publisher share.
#[derive(Debug, Default)]
struct Shared {
    confirmed: AtomicU64,
    is_written: AtomicBool,
    /// The number of the last message of each write that is not confirmed yet, and when it was written.
    written: Mutex<VecDeque<(u64, u64)>>,
}

impl Shared {
    fn written(&self) -> MutexGuard<'_, VecDeque<(u64, u64)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Listener<'a> {
    run: &'a Run,
    shared: &'a Shared,
    writer: Thread,
    confirms: Confirms,
    confirm_ns: Histogram,
}

impl Sink for Listener<'_> {
    fn stamped(&mut self, _: u64) {}

    fn method(&mut self, method: Method<'_>) -> Result<()> {
        match method.id {
            wire::BASIC_ACK | wire::BASIC_NACK => {
                let mut args = Reader::new(method.args);
                let (tag, flags) = (args.u64()?, args.u8()?);
                let before = self.confirms.count();
                self.confirms.confirm(tag, flags & 1 == 1);
                if method.id == wire::BASIC_NACK {
                    self.run.nacked.fetch_add(self.confirms.count() - before, Ordering::Relaxed);
                }
                Ok(())
            }
            wire::CONNECTION_BLOCKED => {
                self.run.was_blocked.store(true, Ordering::Relaxed);
                Ok(())
            }
            _ => refuse_close(&method),
        }
    }
}

impl Listener<'_> {
    /// A write's messages count from the moment it was written.
    fn time_confirms(&mut self) {
        let now_ns = clock::now_ns();
        let mut written = self.shared.written();
        for (first, last) in self.confirms.take_new() {
            let mut next = first;
            let at = written.partition_point(|(last_of_write, _)| *last_of_write < first);
            for (last_of_write, written_ns) in written.range(at..) {
                let end = last.min(*last_of_write);
                if self.run.phases[0].contains(*written_ns) {
                    self.confirm_ns.record_many(now_ns.saturating_sub(*written_ns), end + 1 - next);
                }
                next = end + 1;
                if next > last {
                    break;
                }
            }
        }
        let low = self.confirms.low();
        while written.front().is_some_and(|(last_of_write, _)| *last_of_write <= low) {
            written.pop_front();
        }
    }

    fn listen(mut self, mut connection: Connection) -> Result<()> {
        while !self.shared.is_written.load(Ordering::Acquire) {
            connection.poll(&mut self)?;
            let count = self.confirms.count();
            let before = self.shared.confirmed.swap(count, Ordering::Relaxed);
            if before != count {
                self.run.confirmed.fetch_add(count - before, Ordering::Relaxed);
                self.time_confirms();
                self.writer.unpark();
            }
        }
        if let Ok(mut confirm_ns) = self.run.confirm_ns.lock() {
            confirm_ns.merge(&self.confirm_ns);
        }
        self.run.check()?;
        connection.close()
    }
}

struct Writer<'a> {
    run: &'a Run,
    shared: &'a Shared,
    stream: TcpStream,
    timeout: Duration,
}

impl Writer<'_> {
    fn write(&self, bytes: &[u8], count: u64) -> Result<()> {
        write_fully(&self.stream, bytes, self.timeout, &|| self.run.check())?;
        self.run.published.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    fn flood(&self, batch: &mut Batch, confirm_window_msgs: u64) -> Result<()> {
        let mut written = 0;
        // A piece of a quarter of the window keeps the broker busy while the next one is prepared.
        let piece_msgs_max = (self.run.window_msgs() / 4).max(1);
        while self.run.publishes() {
            let mut room_msgs = self.run.room_msgs().min(piece_msgs_max);
            if room_msgs == 0 {
                thread::sleep(WINDOW_POLL);
                continue;
            }
            if confirm_window_msgs > 0 {
                let unconfirmed = written - self.shared.confirmed.load(Ordering::Relaxed).min(written);
                room_msgs = room_msgs.min(confirm_window_msgs.saturating_sub(unconfirmed));
            }
            if room_msgs == 0 {
                thread::park_timeout(CONFIRM_POLL);
                continue;
            }
            let now_ns = clock::now_ns();
            let (bytes, count) = batch.piece(room_msgs, now_ns);
            written += count;
            if confirm_window_msgs > 0 {
                self.shared.written().push_back((written, now_ns));
            }
            self.write(bytes, count)?;
        }
        Ok(())
    }

    fn numbered(&self, batch: &mut Batch, messages: u64, confirm_window_msgs: u64) -> Result<()> {
        let mut written = 0;
        loop {
            let confirmed = self.shared.confirmed.load(Ordering::Relaxed).min(written);
            if confirmed >= messages || !self.run.publishes() {
                return Ok(());
            }
            let room_msgs = confirm_window_msgs.saturating_sub(written - confirmed).min(messages - written);
            if room_msgs == 0 {
                thread::park_timeout(CONFIRM_POLL);
                continue;
            }
            let now_ns = clock::now_ns();
            let (bytes, count) = batch.numbered_piece(room_msgs, written + 1);
            written += count;
            self.shared.written().push_back((written, now_ns));
            self.write(bytes, count)?;
        }
    }

    fn count(&self, batch: &mut Batch, messages: u64) -> Result<()> {
        let mut written = 0;
        while written < messages && self.run.publishes() {
            let (bytes, count) = batch.piece(messages - written, clock::now_ns());
            self.write(bytes, count)?;
            written += count;
        }
        Ok(())
    }

    fn timed(&self, batch: &mut Batch, mut timetable: Timetable) -> Result<()> {
        clock::ask_for_precise_sleep();
        timetable.start(clock::now_ns());
        let mut bytes = Vec::new();
        while self.run.publishes() {
            clock::sleep_until_ns(timetable.next_ns());
            let room_msgs = self.run.room_msgs();
            if room_msgs == 0 {
                // The schedule goes on: what is sent late carries the time it should have been sent at.
                thread::sleep(WINDOW_POLL);
                continue;
            }
            bytes.clear();
            let due =
                timetable.take_due(clock::now_ns(), room_msgs, |due_ns| batch.copy_one(&mut bytes, due_ns));
            self.write(&bytes, due)?;
        }
        Ok(())
    }
}

impl Publisher {
    pub fn open(
        target: &Target,
        make_batch: impl FnOnce(&Connection) -> Result<Batch>,
        pace: Pace,
    ) -> Result<Self> {
        let mut connection = Connection::open(target)?;
        if matches!(pace, Pace::Flood { confirm_window_msgs: 1.. } | Pace::Numbered { .. }) {
            connection.select_confirms()?;
        }
        let batch = make_batch(&connection)?;
        Ok(Self { connection, batch, pace })
    }

    pub fn message_bytes(&self) -> usize {
        self.batch.message_bytes()
    }

    /// Runs both threads to their end; the caller's thread is the writing one.
    pub fn publish(self, run: &Run, timeout: Duration) -> Result<()> {
        let Self { connection, mut batch, pace } = self;
        let shared = Shared::default();
        let stream = connection.writer()?;
        thread::scope(|scope: &Scope<'_, '_>| {
            let listener = Listener {
                run,
                shared: &shared,
                writer: thread::current(),
                confirms: Confirms::default(),
                confirm_ns: Histogram::default(),
            };
            scope.spawn(move || {
                if let Err(error) = listener.listen(connection) {
                    run.fail(error);
                }
            });
            let writer = Writer { run, shared: &shared, stream, timeout };
            let result = match pace {
                Pace::Flood { confirm_window_msgs } => writer.flood(&mut batch, confirm_window_msgs),
                Pace::Timed(timetable) => writer.timed(&mut batch, timetable),
                Pace::Count(messages) => writer.count(&mut batch, messages),
                Pace::Numbered { messages, confirm_window_msgs } => {
                    writer.numbered(&mut batch, messages, confirm_window_msgs)
                }
            };
            // A broken pipe should not win over the broker's reason, which the listener is about to read.
            if let Err(error) = result {
                thread::sleep(CONFIRM_POLL);
                run.fail(error);
            }
            shared.is_written.store(true, Ordering::Release);
        });
        run.check()
    }
}

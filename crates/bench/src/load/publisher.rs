//! A publisher: one thread that writes, one that hears what the broker says to it.
//!
//! Invariant: the writing thread never waits for a reply, so the broker can always say why it closes; a stopped
//! publisher ends with a whole message.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope, Thread};
use std::time::Duration;

use super::batch::Batch;
use super::confirms::Confirms;
use super::run::Run;
use super::timetable::Timetable;
use crate::client::{Connection, Target, refuse_close, write_fully};
use crate::clock;
use crate::error::Result;
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
}

/// What the two threads of a publisher share.
#[derive(Debug, Default)]
struct Shared {
    confirmed: AtomicU64,
    is_written: AtomicBool,
}

struct Listener<'a> {
    run: &'a Run,
    shared: &'a Shared,
    writer: Thread,
    confirms: Confirms,
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
    fn listen(mut self, mut connection: Connection) -> Result<()> {
        while !self.shared.is_written.load(Ordering::Acquire) {
            connection.poll(&mut self)?;
            if self.shared.confirmed.swap(self.confirms.count(), Ordering::Relaxed) != self.confirms.count() {
                self.writer.unpark();
            }
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
            let (bytes, count) = batch.piece(room_msgs, clock::now_ns());
            self.write(bytes, count)?;
            written += count;
        }
        Ok(())
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
        if matches!(pace, Pace::Flood { confirm_window_msgs: 1.. }) {
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
            let listener =
                Listener { run, shared: &shared, writer: thread::current(), confirms: Confirms::default() };
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

//! A minimal blocking AMQP client: one connection, one channel (number 1), round trips and raw streams.
//!
//! Invariant: whatever arrives goes through the connection's one scanner, so deliveries are counted no matter
//! whether a reply or a stream is waited for; a close from the broker always ends in `Error::Closed`.

mod calls;
mod handshake;
pub mod session;
pub mod target;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::error::{Error, Result, Scope};
use crate::interrupt;
use crate::wire::read::Reader;
use crate::wire::scan::{Method, Scanner, Sink};
use crate::wire::{self, MethodId, encode};

pub use calls::Queue;
pub use target::Target;

/// How long one read or write of the kernel may take before the loop around it looks at deadlines and flags.
const POLL: Duration = Duration::from_millis(100);
const INBOX_BYTES_MIN: usize = 8 * 1024;
/// Larger than the largest frame, so that a full inbox always holds a whole one.
const INBOX_BYTES_MAX: usize = 256 * 1024;
const CHANNEL: u16 = 1;

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    inbox: Inbox,
    outbox: Vec<u8>,
    pub scanner: Scanner,
    pub frame_bytes_max: u32,
    timeout: Duration,
    heeds_interrupt: bool,
    consumers: u32,
    /// Methods sent without a reply since the last one with a reply.
    unanswered: u32,
}

/// Received bytes that are not scanned yet: `bytes[start..end]`.
#[derive(Debug)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// Room for the next read behind what is left over.
    fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.bytes.len() {
            self.bytes.resize(INBOX_BYTES_MAX, 0);
        }
        &mut self.bytes[self.end..]
    }
}

/// The methods a broker may send at any time; those that end the work become errors.
pub fn refuse_close(method: &Method<'_>) -> Result<()> {
    let scope = match method.id {
        wire::CONNECTION_CLOSE => Scope::Connection,
        wire::CHANNEL_CLOSE => Scope::Channel,
        wire::BASIC_CANCEL => return Err(Error::Protocol("the broker cancelled the consumer".into())),
        _ => return Ok(()),
    };
    let mut args = Reader::new(method.args);
    Err(Error::Closed {
        scope,
        code: args.u16()?,
        text: args.short()?,
        class: args.u16()?,
        method: args.u16()?,
    })
}

/// Counts the replies of one kind and keeps the newest one's arguments.
struct Replies {
    want: MethodId,
    seen: u64,
    args: Vec<u8>,
}

impl Sink for Replies {
    fn stamped(&mut self, _: u64) {}

    fn method(&mut self, method: Method<'_>) -> Result<()> {
        if method.id == self.want {
            self.seen += 1;
            self.args = method.args.to_vec();
            return Ok(());
        }
        // While closing, the broker's own close may cross ours.
        if self.want == wire::CONNECTION_CLOSE_OK { Ok(()) } else { refuse_close(&method) }
    }
}

/// Writes everything, however long the peer takes, as long as it takes something within `timeout`.
/// `give_up` is asked whenever the peer takes nothing for a moment.
pub fn write_fully(
    mut stream: &TcpStream,
    mut bytes: &[u8],
    timeout: Duration,
    give_up: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let mut moved_at = Instant::now();
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(Error::Protocol("the broker's socket takes no more bytes".into())),
            Ok(written) => {
                bytes = &bytes[written..];
                moved_at = Instant::now();
            }
            Err(error) if is_timeout(error.kind()) => {
                give_up()?;
                if moved_at.elapsed() > timeout {
                    return Err(Error::Stalled(format!("the broker took no byte for {timeout:?}")));
                }
            }
            Err(error) => return Err(Error::io("writing to the broker", &error)),
        }
    }
    Ok(())
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Connection {
    /// Connects, shakes hands and opens the channel.
    pub fn open(target: &Target) -> Result<Self> {
        let mut connection = Self::connect(target)?;
        connection.shake_hands(target)?;
        connection.open_channel()?;
        Ok(connection)
    }

    fn connect(target: &Target) -> Result<Self> {
        let io = |error: &std::io::Error| Error::io(format!("connecting to {}", target.address), error);
        let stream =
            TcpStream::connect_timeout(&target.address, target.timeout).map_err(|error| io(&error))?;
        stream.set_nodelay(true).map_err(|error| io(&error))?;
        stream.set_read_timeout(Some(POLL)).map_err(|error| io(&error))?;
        stream.set_write_timeout(Some(POLL)).map_err(|error| io(&error))?;
        Ok(Self {
            stream,
            inbox: Inbox { bytes: vec![0; INBOX_BYTES_MIN], start: 0, end: 0 },
            outbox: Vec::new(),
            scanner: Scanner::default(),
            frame_bytes_max: wire::FRAME_BYTES_MAX,
            timeout: target.timeout,
            heeds_interrupt: target.heeds_interrupt,
            consumers: 0,
            unanswered: 0,
        })
    }

    /// Cleaning up goes on after an interrupt; all else stops.
    fn give_up(&self) -> &'static dyn Fn() -> Result<()> {
        if self.heeds_interrupt { &interrupt::check } else { &|| Ok(()) }
    }

    /// The socket, what was received and not scanned yet, and the largest frame that was agreed on.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>, u32) {
        let received = self.inbox.bytes[self.inbox.start..self.inbox.end].to_vec();
        (self.stream, received, self.frame_bytes_max)
    }

    /// Another handle of the socket, for a thread that only writes.
    pub fn writer(&self) -> Result<TcpStream> {
        self.stream.try_clone().map_err(|error| Error::io("duplicating a socket", &error))
    }

    /// One read of the socket and a scan of what came; 0 bytes when nothing came within a moment.
    pub fn poll(&mut self, sink: &mut impl Sink) -> Result<usize> {
        let received = match self.stream.read(self.inbox.room()) {
            Ok(0) => return Err(Error::Protocol("the broker closed the socket without a word".into())),
            Ok(received) => received,
            Err(error) if is_timeout(error.kind()) => 0,
            Err(error) => return Err(Error::io("reading from the broker", &error)),
        };
        self.inbox.end += received;
        let used = self.scanner.scan(&self.inbox.bytes[self.inbox.start..self.inbox.end], sink)?;
        self.inbox.start += used;
        Ok(received)
    }

    /// A large inbox from now on: a stream is coming.
    pub fn expect_stream(&mut self) {
        self.inbox.bytes.resize(INBOX_BYTES_MAX, 0);
    }

    pub fn send(&mut self, id: MethodId, fill: impl FnOnce(&mut encode::Args<'_>)) -> Result<()> {
        encode::method(&mut self.outbox, CHANNEL, id, fill);
        self.flush()
    }

    /// Adds a method to what the next flush writes.
    fn queue(&mut self, channel: u16, id: MethodId, fill: impl FnOnce(&mut encode::Args<'_>)) {
        encode::method(&mut self.outbox, channel, id, fill);
    }

    fn flush(&mut self) -> Result<()> {
        let result = write_fully(&self.stream, &self.outbox, self.timeout, self.give_up());
        self.outbox.clear();
        // A failed write often means that the broker closed first: its reason says more than a broken pipe.
        result.map_err(|error| self.reason_or(error))
    }

    fn reason_or(&mut self, error: Error) -> Error {
        let mut replies = Replies { want: 0, seen: 0, args: Vec::new() };
        match self.poll(&mut replies) {
            Err(closed @ Error::Closed { .. }) => closed,
            _ => error,
        }
    }

    /// Writes what is queued and waits for this many replies of one kind; gives the newest one's arguments.
    fn wait_for(&mut self, want: MethodId, count: u64) -> Result<Vec<u8>> {
        self.flush()?;
        let mut replies = Replies { want, seen: 0, args: Vec::new() };
        let mut moved_at = Instant::now();
        while replies.seen < count {
            if self.poll(&mut replies)? > 0 {
                moved_at = Instant::now();
                continue;
            }
            if want != wire::CONNECTION_CLOSE_OK {
                self.give_up()()?;
            }
            if moved_at.elapsed() > self.timeout {
                let method = wire::method_name(want);
                return Err(Error::Stalled(format!("no method {method} within {:?}", self.timeout)));
            }
        }
        Ok(replies.args)
    }

    /// connection.close and its answer, whatever still arrives in between.
    pub fn close(mut self) -> Result<()> {
        self.queue(0, wire::CONNECTION_CLOSE, |args| {
            args.u16(200).short("bye").u16(0).u16(0);
        });
        self.wait_for(wire::CONNECTION_CLOSE_OK, 1)?;
        Ok(())
    }
}

//! A blocking client that keeps what it receives: messages with their properties and bodies, confirms, replies.
//!
//! Invariant: what arrives while a reply is waited for is kept in order and given by `next` later; nothing is
//! dropped, and a close from the broker always ends in `Error::Closed`.

use std::collections::VecDeque;
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{CHANNEL, Connection, Target, is_timeout, refuse_close, write_fully};
use crate::error::{Error, Result};
use crate::wire::encode::{self, Args, Publish};
use crate::wire::read::Reader;
use crate::wire::scan::Method;
use crate::wire::{self, FRAME_END, FRAME_HEAD_BYTES, FRAME_OVERHEAD_BYTES, MethodId};

const READ_BYTES: usize = 64 * 1024;
/// How long a read may take before deadlines are looked at.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    events: VecDeque<Event>,
    replies: VecDeque<Reply>,
    content: Option<Content>,
    frame_bytes_max: u32,
    timeout: Duration,
}

/// What a broker sends without being asked.
#[derive(Debug)]
pub enum Event {
    Delivered(Delivery),
    Confirmed {
        tag: u64,
        multiple: bool,
        is_ack: bool,
    },
    /// A message had no queue to go to.
    Unroutable(Delivery),
    /// The queue of a consumer is gone.
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub tag: u64,
    pub redelivered: bool,
    /// Flags and values as they stand in the content header.
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

#[derive(Debug)]
struct Reply {
    id: MethodId,
    args: Vec<u8>,
    message: Option<Delivery>,
}

/// A message of which some frames have come.
#[derive(Debug)]
struct Content {
    id: MethodId,
    delivery: Delivery,
    body_bytes: u64,
    has_header: bool,
}

impl Session {
    pub fn open(target: &Target) -> Result<Self> {
        let (stream, inbox, frame_bytes_max) = Connection::open(target)?.into_parts();
        stream.set_read_timeout(Some(POLL)).map_err(|error| Error::io("a socket's time-out", &error))?;
        Ok(Self {
            stream,
            inbox,
            outbox: Vec::new(),
            events: VecDeque::new(),
            replies: VecDeque::new(),
            content: None,
            frame_bytes_max,
            timeout: target.timeout,
        })
    }

    /// Adds a message to what the next flush writes.
    pub fn publish(&mut self, exchange: &str, routing_key: &str, properties: &[u8], body: &[u8]) {
        let frame_bytes_max = self.frame_bytes_max;
        let message = Publish { channel: CHANNEL, exchange, routing_key, persistent: false, frame_bytes_max };
        encode::publish_with(&mut self.outbox, &message, properties, body);
    }

    /// Adds a method to what the next flush writes.
    pub fn queue(&mut self, id: MethodId, fill: impl FnOnce(&mut Args<'_>)) {
        encode::method(&mut self.outbox, CHANNEL, id, fill);
    }

    pub fn flush(&mut self) -> Result<()> {
        let result = write_fully(&self.stream, &self.outbox, self.timeout, &|| Ok(()));
        self.outbox.clear();
        // The broker's reason says more than a broken pipe.
        if result.is_err()
            && let Err(closed @ Error::Closed { .. }) = self.read(POLL)
        {
            return Err(closed);
        }
        result
    }

    /// What came next; none when nothing did within `wait`.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Event>> {
        let until = Instant::now() + wait;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let left = until.saturating_duration_since(Instant::now());
            self.read(left.clamp(Duration::from_millis(1), POLL))?;
            if self.events.is_empty() && left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// A method and the arguments of its answer.
    pub fn call(
        &mut self,
        id: MethodId,
        want: MethodId,
        fill: impl FnOnce(&mut Args<'_>),
    ) -> Result<Vec<u8>> {
        self.queue(id, fill);
        let reply = self.reply()?;
        if reply.id == want { Ok(reply.args) } else { Err(self.unexpected(&reply, id)) }
    }

    fn unexpected(&self, reply: &Reply, id: MethodId) -> Error {
        let (got, asked) = (wire::method_name(reply.id), wire::method_name(id));
        Error::Protocol(format!("method {got} as the answer to {asked}"))
    }

    /// basic.get with a manual ack.
    pub fn get(&mut self, queue: &str) -> Result<Option<Delivery>> {
        self.queue(wire::BASIC_GET, |args| {
            args.u16(0).short(queue).u8(0);
        });
        match self.reply()? {
            Reply { id: wire::BASIC_GET_OK, message: Some(message), .. } => Ok(Some(message)),
            Reply { id: wire::BASIC_GET_EMPTY, .. } => Ok(None),
            reply => Err(self.unexpected(&reply, wire::BASIC_GET)),
        }
    }

    fn reply(&mut self) -> Result<Reply> {
        self.flush()?;
        let mut moved_at = Instant::now();
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            if self.read(POLL)? > 0 {
                moved_at = Instant::now();
            } else if moved_at.elapsed() > self.timeout {
                return Err(Error::Stalled(format!("no answer within {:?}", self.timeout)));
            }
        }
    }

    /// connection.close and its answer.
    pub fn close(mut self) -> Result<()> {
        encode::method(&mut self.outbox, 0, wire::CONNECTION_CLOSE, |args| {
            args.u16(200).short("bye").u16(0).u16(0);
        });
        while self.reply()?.id != wire::CONNECTION_CLOSE_OK {}
        Ok(())
    }

    /// One read of the socket; says how many bytes came.
    fn read(&mut self, wait: Duration) -> Result<usize> {
        self.stream.set_read_timeout(Some(wait)).map_err(|error| Error::io("a socket's time-out", &error))?;
        let kept = self.inbox.len();
        self.inbox.resize(kept + READ_BYTES, 0);
        let received = match self.stream.read(&mut self.inbox[kept..]) {
            Ok(0) => return Err(Error::Protocol("the broker closed the socket without a word".into())),
            Ok(received) => received,
            Err(error) if is_timeout(error.kind()) => 0,
            Err(error) => return Err(Error::io("reading from the broker", &error)),
        };
        self.inbox.truncate(kept + received);
        let inbox = std::mem::take(&mut self.inbox);
        let used = self.take_frames(&inbox);
        self.inbox = inbox;
        self.inbox.drain(..used?);
        Ok(received)
    }

    /// Goes over the complete frames; says how many bytes they take.
    fn take_frames(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        while let Some(frame) = bytes.get(at..) {
            let Some((head, rest)) = frame.split_first_chunk::<FRAME_HEAD_BYTES>() else { break };
            let [kind, _, _, length @ ..] = *head;
            let payload_bytes = u32::from_be_bytes(length) as usize;
            let Some((payload, behind)) = rest.split_at_checked(payload_bytes) else { break };
            let Some(end) = behind.first() else { break };
            if *end != FRAME_END {
                return Err(Error::Protocol("a frame without its end mark".into()));
            }
            self.take_frame(kind, payload)?;
            at += payload_bytes + FRAME_OVERHEAD_BYTES;
        }
        Ok(at)
    }

    fn take_frame(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        match kind {
            wire::FRAME_METHOD => return self.take_method(payload),
            wire::FRAME_HEADER => {
                let mut reader = Reader::new(payload);
                reader.u32()?;
                let content = self.content.as_mut().filter(|content| !content.has_header);
                let content = content.ok_or_else(|| stray("content header"))?;
                content.body_bytes = reader.u64()?;
                content.delivery.properties = reader.rest().to_vec();
                content.has_header = true;
            }
            wire::FRAME_BODY => {
                let content = self.content.as_mut().filter(|content| content.has_header);
                content.ok_or_else(|| stray("body frame"))?.delivery.body.extend_from_slice(payload);
            }
            wire::FRAME_HEARTBEAT => {}
            other => return Err(Error::Protocol(format!("a frame of the unknown type {other}"))),
        }
        self.finish_content()
    }

    fn finish_content(&mut self) -> Result<()> {
        let body_bytes = |content: &Content| content.delivery.body.len() as u64;
        let Some(content) = self.content.take_if(|c| c.has_header && body_bytes(c) >= c.body_bytes) else {
            return Ok(());
        };
        if body_bytes(&content) > content.body_bytes {
            return Err(Error::Protocol("a body longer than announced".into()));
        }
        let (id, delivery) = (content.id, content.delivery);
        match id {
            wire::BASIC_DELIVER => self.events.push_back(Event::Delivered(delivery)),
            wire::BASIC_GET_OK => {
                self.replies.push_back(Reply { id, args: Vec::new(), message: Some(delivery) });
            }
            _ => self.events.push_back(Event::Unroutable(delivery)),
        }
        Ok(())
    }

    fn take_method(&mut self, payload: &[u8]) -> Result<()> {
        if self.content.is_some() {
            return Err(stray("method frame"));
        }
        let mut args = Reader::new(payload);
        let id = args.u32()?;
        refuse_close_of(id, args.rest())?;
        match id {
            wire::BASIC_DELIVER | wire::BASIC_GET_OK | wire::BASIC_RETURN => {
                let (mut tag, mut redelivered) = (0, false);
                if id == wire::BASIC_DELIVER {
                    args.short()?;
                }
                if id != wire::BASIC_RETURN {
                    tag = args.u64()?;
                    redelivered = args.u8()? & 1 == 1;
                }
                let delivery = Delivery { tag, redelivered, properties: Vec::new(), body: Vec::new() };
                self.content = Some(Content { id, delivery, body_bytes: 0, has_header: false });
            }
            wire::BASIC_ACK | wire::BASIC_NACK => {
                let (tag, flags) = (args.u64()?, args.u8()?);
                let is_ack = id == wire::BASIC_ACK;
                self.events.push_back(Event::Confirmed { tag, multiple: flags & 1 == 1, is_ack });
            }
            wire::BASIC_CANCEL => self.events.push_back(Event::Cancelled),
            wire::CONNECTION_BLOCKED | wire::CONNECTION_UNBLOCKED => {}
            _ => self.replies.push_back(Reply { id, args: args.rest().to_vec(), message: None }),
        }
        Ok(())
    }
}

fn stray(what: &str) -> Error {
    Error::Protocol(format!("a {what} where none belongs"))
}

/// A cancelled consumer is no error here.
fn refuse_close_of(id: MethodId, args: &[u8]) -> Result<()> {
    if id == wire::BASIC_CANCEL { Ok(()) } else { refuse_close(&Method { id, args }) }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;

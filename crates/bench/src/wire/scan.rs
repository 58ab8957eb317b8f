//! Counts messages in a stream of frames by jumping over them.
//!
//! Invariant: the counts do not depend on how the stream is cut into reads, and a message counts when its last
//! byte is there. Contents of one channel must not interleave with those of another: the generator opens one
//! channel per consuming connection.

use super::{
    BASIC_DELIVER, BASIC_RETURN, FRAME_BODY, FRAME_BYTES_MAX, FRAME_END, FRAME_HEAD_BYTES, FRAME_HEADER,
    FRAME_HEARTBEAT, FRAME_METHOD, FRAME_OVERHEAD_BYTES, MethodId,
};
use crate::error::{Error, Result};

/// Every method but basic.deliver.
#[derive(Debug, Clone, Copy)]
pub struct Method<'a> {
    pub id: MethodId,
    pub args: &'a [u8],
}

/// Who is told about what the scanner meets.
pub trait Sink {
    /// The first eight bytes of a delivered body, when they are not zero: the time it was sent at.
    fn stamped(&mut self, stamp_ns: u64);
    fn method(&mut self, method: Method<'_>) -> Result<()>;
}

#[derive(Debug, Default)]
pub struct Scanner {
    /// Messages delivered completely.
    pub deliveries: u64,
    /// The delivery tag of the newest one.
    pub last_tag: u64,
    content: Content,
    shape: Option<Shape>,
}

/// Where in a message the stream stands.
#[derive(Debug, Default, Clone, Copy)]
struct Content {
    of: Of,
    expects_header: bool,
    body_bytes_left: u64,
    body_started: bool,
    stamp_ns: u64,
    tag: u64,
    /// The frame lengths of the message so far, to learn its shape.
    deliver_bytes: usize,
    header_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Of {
    #[default]
    Nothing,
    Delivery,
    Return,
}

/// The layout of the newest single-body message. The next one nearly always looks the same, and comparing with
/// a known layout does not wait for each frame's length as jumping does.
#[derive(Debug, Clone, Copy)]
struct Shape {
    header_at: usize,
    body_at: usize,
    message_bytes: usize,
    /// Type, channel, length and the class's first byte of the deliver frame.
    deliver_head: u64,
    header_head: u64,
    /// The announced body length, as it stands in the header.
    body_length: u64,
    /// Type, channel and length of the body frame, without the byte behind them.
    body_head: u64,
}

const BODY_HEAD_MASK: u64 = u64::from_be_bytes([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0]);
const BODY_LENGTH_AT: usize = FRAME_HEAD_BYTES + 4;
const METHOD_ID_BYTES: usize = 4;

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|chunk| u64::from_be_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|chunk| u32::from_be_bytes(*chunk))
}

impl Shape {
    /// Does a whole message of this layout stand at the start of `bytes`?
    #[inline]
    fn fits(&self, bytes: &[u8]) -> bool {
        u64_at(bytes, 0) == Some(self.deliver_head)
            && u32_at(bytes, FRAME_HEAD_BYTES) == Some(BASIC_DELIVER)
            && bytes[self.header_at - 1] == FRAME_END
            && u64_at(bytes, self.header_at) == Some(self.header_head)
            && u64_at(bytes, self.header_at + BODY_LENGTH_AT) == Some(self.body_length)
            && bytes[self.body_at - 1] == FRAME_END
            && u64_at(bytes, self.body_at).map(|head| head & BODY_HEAD_MASK) == Some(self.body_head)
            && bytes[self.message_bytes - 1] == FRAME_END
    }
}

impl Scanner {
    /// Goes over the complete frames of `bytes` and says how many bytes they take.
    pub fn scan(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize> {
        let mut at = 0;
        loop {
            if self.content.of == Of::Nothing {
                at += self.scan_alike(&bytes[at..], sink);
            }
            match self.scan_frame(&bytes[at..], sink)? {
                0 => return Ok(at),
                frame_bytes => at += frame_bytes,
            }
        }
    }

    /// As many messages of the known shape as stand there; says how many bytes they take.
    fn scan_alike(&mut self, bytes: &[u8], sink: &mut impl Sink) -> usize {
        let Some(shape) = self.shape else { return 0 };
        let mut at = 0;
        let mut newest = None;
        while let Some(message) = bytes.get(at..at + shape.message_bytes) {
            if !shape.fits(message) {
                break;
            }
            if let Some(stamp_ns @ 1..) = u64_at(message, shape.body_at + FRAME_HEAD_BYTES)
                && shape.body_length.ge(&8)
            {
                sink.stamped(stamp_ns);
            }
            newest = Some(message);
            self.deliveries += 1;
            at += shape.message_bytes;
        }
        if let Some(message) = newest {
            self.last_tag =
                delivery_tag(&message[FRAME_HEAD_BYTES + METHOD_ID_BYTES..]).unwrap_or(self.last_tag);
        }
        at
    }

    /// One frame, or 0 when it is not complete yet.
    fn scan_frame(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize> {
        let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else { return Ok(0) };
        let [kind, _, _, l0, l1, l2, l3] = *head;
        let payload_bytes = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let frame_bytes = payload_bytes + FRAME_OVERHEAD_BYTES;
        if frame_bytes > FRAME_BYTES_MAX as usize {
            return Err(Error::Protocol(format!(
                "a frame of {frame_bytes} bytes, {FRAME_BYTES_MAX} were agreed"
            )));
        }
        if bytes.len() < frame_bytes {
            return Ok(0);
        }
        if rest[payload_bytes] != FRAME_END {
            return Err(Error::Protocol("a frame without its end mark".into()));
        }
        let payload = &rest[..payload_bytes];
        match kind {
            FRAME_METHOD => self.on_method(payload, sink)?,
            FRAME_HEADER => self.on_header(payload, sink)?,
            FRAME_BODY => self.on_body(payload, sink)?,
            FRAME_HEARTBEAT => {}
            other => return Err(Error::Protocol(format!("a frame of the unknown type {other}"))),
        }
        if self.content.of == Of::Nothing && kind == FRAME_BODY {
            self.learn_shape(bytes, payload_bytes);
        }
        Ok(frame_bytes)
    }

    fn on_method(&mut self, payload: &[u8], sink: &mut impl Sink) -> Result<()> {
        let Some((id, args)) = payload.split_first_chunk::<METHOD_ID_BYTES>() else {
            return Err(Error::Protocol("a method frame without a method".into()));
        };
        let id = u32::from_be_bytes(*id);
        // A channel may close in the middle of a content; anything else there is wrong, but not ours to judge.
        self.content = Content::default();
        let of = match id {
            BASIC_DELIVER => Of::Delivery,
            BASIC_RETURN => Of::Return,
            _ => return sink.method(Method { id, args }),
        };
        let tag = delivery_tag(args).filter(|_| of == Of::Delivery);
        self.content = Content {
            of,
            expects_header: true,
            tag: tag.unwrap_or(0),
            deliver_bytes: payload.len() + FRAME_OVERHEAD_BYTES,
            ..Content::default()
        };
        if of == Of::Return { sink.method(Method { id, args }) } else { Ok(()) }
    }

    fn on_header(&mut self, payload: &[u8], sink: &mut impl Sink) -> Result<()> {
        let Some(body_bytes) = u64_at(payload, 4).filter(|_| self.content.expects_header) else {
            return Err(Error::Protocol("a content header where none belongs".into()));
        };
        self.content.expects_header = false;
        self.content.body_bytes_left = body_bytes;
        self.content.header_bytes = payload.len() + FRAME_OVERHEAD_BYTES;
        if body_bytes == 0 {
            self.complete(sink);
        }
        Ok(())
    }

    fn on_body(&mut self, payload: &[u8], sink: &mut impl Sink) -> Result<()> {
        let content = &mut self.content;
        let left = content.body_bytes_left.checked_sub(payload.len() as u64);
        let Some(left) = left.filter(|_| content.of != Of::Nothing && !content.expects_header) else {
            return Err(Error::Protocol("a body frame where none belongs".into()));
        };
        if !content.body_started {
            content.stamp_ns = u64_at(payload, 0).unwrap_or(0);
            content.body_started = true;
        }
        content.body_bytes_left = left;
        if left == 0 {
            self.complete(sink);
        }
        Ok(())
    }

    fn complete(&mut self, sink: &mut impl Sink) {
        if self.content.of == Of::Delivery {
            self.deliveries += 1;
            self.last_tag = self.content.tag;
            if self.content.stamp_ns != 0 {
                sink.stamped(self.content.stamp_ns);
            }
        }
        self.content.of = Of::Nothing;
    }

    /// Remembers the layout of the message that ends with this body frame. Only lengths of the earlier frames are
    /// still known, so the heads are rebuilt from them.
    fn learn_shape(&mut self, body_frame: &[u8], payload_bytes: usize) {
        let content = self.content;
        let is_single = content.tag != 0 && content.deliver_bytes != 0;
        if !is_single || payload_bytes == 0 {
            return;
        }
        let channel = [body_frame[1], body_frame[2]];
        let head = |kind: u8, frame_bytes: usize| {
            let length = ((frame_bytes - FRAME_OVERHEAD_BYTES) as u32).to_be_bytes();
            let [c0, c1] = channel;
            let [l0, l1, l2, l3] = length;
            u64::from_be_bytes([kind, c0, c1, l0, l1, l2, l3, 0])
        };
        self.shape = Some(Shape {
            header_at: content.deliver_bytes,
            body_at: content.deliver_bytes + content.header_bytes,
            message_bytes: content.deliver_bytes
                + content.header_bytes
                + payload_bytes
                + FRAME_OVERHEAD_BYTES,
            deliver_head: head(FRAME_METHOD, content.deliver_bytes),
            header_head: head(FRAME_HEADER, content.header_bytes),
            body_length: payload_bytes as u64,
            body_head: head(FRAME_BODY, payload_bytes + FRAME_OVERHEAD_BYTES),
        });
    }
}

/// The delivery tag in the arguments of basic.deliver: it stands behind the consumer tag.
fn delivery_tag(args: &[u8]) -> Option<u64> {
    let consumer_tag_bytes = usize::from(*args.first()?);
    u64_at(args, 1 + consumer_tag_bytes)
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;

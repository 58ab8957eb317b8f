//! Frames: the envelope of everything that is sent after the protocol header.
//!
//! ```text
//! 0      1         3         7               7+size   8+size
//! +------+---------+---------+---------------+--------+
//! | type | channel |  size   |    payload    |  0xCE  |
//! +------+---------+---------+---------------+--------+
//!  octet    short     long      size octets    octet
//! ```
//! Invariant: type and size are judged as soon as they are there, so a peer cannot make the broker wait for,
//! or keep, more than frame-max. Source: AMQP 0-9-1 section 4.2.3, RabbitMQ's `rabbit_reader`.

use crate::octets::Snippet;
use types::AmqpError;
use types::limits::FRAME_OVERHEAD_BYTES;

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;
/// What a client sends first.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// Octets of a frame before its payload.
pub(crate) const FRAME_HEAD_BYTES: usize = 7;
const HEARTBEAT_FRAME: [u8; 8] = [FrameKind::Heartbeat.octet(), 0, 0, 0, 0, 0, 0, FRAME_END];

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// 1
    Method,
    /// 2
    Header,
    /// 3
    Body,
    /// 8
    Heartbeat,
}

impl FrameKind {
    /// The type octet.
    #[inline]
    pub const fn octet(self) -> u8 {
        match self {
            FrameKind::Method => 1,
            FrameKind::Header => 2,
            FrameKind::Body => 3,
            FrameKind::Heartbeat => 8,
        }
    }

    /// The kind with this type octet.
    #[inline]
    pub const fn from_octet(octet: u8) -> Option<FrameKind> {
        Some(match octet {
            1 => FrameKind::Method,
            2 => FrameKind::Header,
            3 => FrameKind::Body,
            8 => FrameKind::Heartbeat,
            _ => return None,
        })
    }
}

/// A frame in the buffer it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: FrameKind,
    /// 0 for the connection itself.
    pub channel: u16,
    /// What stands between size and end mark.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Whether this kind of frame may come on this channel at all.
    pub fn check_place(&self) -> Result<(), AmqpError> {
        // Section 4.2.7: heartbeat frames MUST have a channel number of zero; they have no payload.
        if self.kind == FrameKind::Heartbeat && !self.payload.is_empty() {
            return Err(unknown_frame(self.kind.octet(), self.payload));
        }
        // Section 4.2.3: channel 0 is for frames which are global to the connection: methods of class
        // connection, and heartbeats.
        let is_global = matches!(self.kind, FrameKind::Heartbeat);
        let is_content = matches!(self.kind, FrameKind::Header | FrameKind::Body);
        if (self.channel == 0 && is_content) || (self.channel != 0 && is_global) {
            return Err(unexpected_frame(self.kind, self.payload));
        }
        Ok(())
    }
}

/// Whether a payload of this size breaks the negotiated frame-max.
///
/// As RabbitMQ we let the payload alone be as long as frame-max, since clients get the 8 octets wrong.
#[inline]
pub(crate) fn is_too_large(size: u32, frame_max: u32) -> bool {
    frame_max != 0 && size > frame_max
}

/// The first frame in `buf` with the count of bytes it takes; None when more bytes are needed.
///
/// `frame_max` 0 means unlimited. After an error the stream is out of step and must not be read on.
#[inline]
pub fn next_frame(buf: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, AmqpError> {
    let Some(&[octet, c0, c1, s0, s1, s2, s3]) = buf.first_chunk::<FRAME_HEAD_BYTES>() else {
        // Section 4.2.3: a peer that reads an unknown type MUST treat it as a fatal protocol error.
        return match buf.first() {
            Some(&octet) if FrameKind::from_octet(octet).is_none() => Err(unknown_frame(octet, &[])),
            _ => Ok(None),
        };
    };
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    let Some(kind) = FrameKind::from_octet(octet) else {
        let came = &buf[FRAME_HEAD_BYTES..];
        return Err(unknown_frame(octet, &came[..came.len().min(size as usize)]));
    };
    // Section 4.2.3: a peer MUST NOT send frames larger than the agreed-upon size.
    if is_too_large(size, frame_max) {
        return Err(frame_too_large(octet, size, frame_max));
    }
    let Some((payload, rest)) = buf[FRAME_HEAD_BYTES..].split_at_checked(size as usize) else {
        return Ok(None);
    };
    // Section 4.2.3: the frame-end octet MUST always be the hexadecimal value %xCE.
    match rest.first() {
        None => Ok(None),
        Some(&FRAME_END) => {
            let frame = Frame { kind, channel: u16::from_be_bytes([c0, c1]), payload };
            Ok(Some((frame, payload.len() + FRAME_OVERHEAD_BYTES)))
        }
        Some(&mark) => Err(invalid_end(octet, payload, mark)),
    }
}

/// Appends one frame.
#[inline]
pub fn put_frame(out: &mut Vec<u8>, kind: FrameKind, channel: u16, payload: &[u8]) {
    out.reserve(payload.len() + FRAME_OVERHEAD_BYTES);
    out.extend_from_slice(&frame_head(kind, channel, payload.len() as u32));
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}

/// Appends a heartbeat.
pub fn put_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&HEARTBEAT_FRAME);
}

/// The seven octets before a payload of `size`.
#[inline]
pub(crate) const fn frame_head(kind: FrameKind, channel: u16, size: u32) -> [u8; FRAME_HEAD_BYTES] {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = size.to_be_bytes();
    [kind.octet(), c0, c1, s0, s1, s2, s3]
}

/// 501 for a frame that is of no known type, or whose payload is too short for its type.
#[cold]
pub fn unknown_frame(octet: u8, payload: &[u8]) -> AmqpError {
    AmqpError::frame_error(format!("type {octet}, {}: unknown_frame", Snippet(payload)))
}

/// 505 for a frame that has no place on its channel.
#[cold]
pub fn unexpected_frame(kind: FrameKind, payload: &[u8]) -> AmqpError {
    AmqpError::unexpected_frame(format!("type {}, {}", kind.octet(), Snippet(payload)))
}

#[cold]
fn frame_too_large(octet: u8, size: u32, frame_max: u32) -> AmqpError {
    let limit = i64::from(frame_max) - FRAME_OVERHEAD_BYTES as i64;
    AmqpError::frame_error(format!("type {octet}, {}: {{frame_too_large,{size},{limit}}}", Snippet(&[])))
}

#[cold]
fn invalid_end(octet: u8, payload: &[u8], mark: u8) -> AmqpError {
    AmqpError::frame_error(format!("type {octet}, {}: {{invalid_frame_end_marker,{mark}}}", Snippet(payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_every_cut_waits() {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, FrameKind::Body, 513, b"hello");
        let frame = Frame { kind: FrameKind::Body, channel: 513, payload: b"hello" };
        assert_eq!(next_frame(&bytes, 4096), Ok(Some((frame, 13))));
        for end in 0..bytes.len() {
            assert_eq!(next_frame(&bytes[..end], 4096), Ok(None), "cut at {end}");
        }
        bytes.push(9);
        assert_eq!(next_frame(&bytes, 0), Ok(Some((frame, 13))));
    }

    #[test]
    fn heartbeats_are_eight_octets() {
        let mut bytes = Vec::new();
        put_heartbeat(&mut bytes);
        let (frame, used) = next_frame(&bytes, 4096).unwrap().unwrap();
        assert_eq!((frame.kind, frame.channel, frame.payload, used), (FrameKind::Heartbeat, 0, &b""[..], 8));
    }

    #[test]
    fn errors_are_in_rabbitmqs_words() {
        for (bytes, text) in [
            (&[4][..], "FRAME_ERROR - type 4, all octets = <<>>: unknown_frame"),
            (&[0, 0, 1, 0, 0, 0, 9, 1, 2], "FRAME_ERROR - type 0, all octets = <<1,2>>: unknown_frame"),
            (
                &[3, 0, 1, 0, 0, 0x10, 1],
                "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}",
            ),
            (
                &[1, 0, 1, 0, 0, 0, 2, 7, 8, 0xCD],
                "FRAME_ERROR - type 1, all octets = <<7,8>>: {invalid_frame_end_marker,205}",
            ),
        ] {
            assert_eq!(next_frame(bytes, 4096).unwrap_err().reply_text(), text);
        }
        // The payload alone may be as long as frame-max; without a limit anything may.
        assert_eq!(next_frame(&[3, 0, 1, 0, 0, 0x10, 0], 4096), Ok(None));
        assert_eq!(next_frame(&[3, 0, 1, 255, 255, 255, 255], 0), Ok(None));
    }

    #[test]
    fn frames_have_their_places() {
        use FrameKind::*;
        let check = |kind, channel, payload| {
            Frame { kind, channel, payload }.check_place().map_err(|error| error.reply_text())
        };
        assert_eq!(check(Method, 0, b""), Ok(()));
        assert_eq!(check(Body, 1, b""), Ok(()));
        assert_eq!(check(Heartbeat, 0, b""), Ok(()));
        let text = |text: &str| Err(text.to_string());
        assert_eq!(check(Heartbeat, 1, b""), text("UNEXPECTED_FRAME - type 8, all octets = <<>>"));
        assert_eq!(
            check(Heartbeat, 0, b"x"),
            text("FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame")
        );
        assert_eq!(check(Body, 0, b""), text("UNEXPECTED_FRAME - type 3, all octets = <<>>"));
    }
}

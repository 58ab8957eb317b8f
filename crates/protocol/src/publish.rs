//! The hot way in: basic.publish with its content header, read in place.
//!
//! ```text
//! method payload   | 0 60 | 0 40 | ticket | exchange | routing key | bits |      bits: 1 mandatory, 2 immediate
//!                                         |<------- route ------->|
//! header payload   | 0 60 | weight 0 | body size (64) | properties |
//! whole publish    [method frame][header frame][body frame, when body size > 0]
//! ```
//! Invariant: `whole_publish` gives a message exactly when the slow way (frame, head, header, body one by one)
//! would give the same one from the same bytes without an error; else it gives None.
//! Source: AMQP 0-9-1 sections 1.8.3.7 and 4.2.6.

use crate::fields::{put_short, take_short, take_u16, take_u32, take_u64};
use crate::frame::{FRAME_END, FRAME_HEAD_BYTES, FrameKind, is_too_large, unknown_frame};
use crate::octets::Binary;
use types::AmqpError;
use types::limits::FRAME_OVERHEAD_BYTES;

/// Class basic.
pub(crate) const CLASS_BASIC: u16 = 60;
const BASIC_PUBLISH: u32 = 0x003C_0028;
/// Class 60, weight 0.
const BASIC_HEADER: u32 = 0x003C_0000;
const HEADER_FIXED_BYTES: usize = 12;
const MANDATORY: u8 = 1;
const IMMEDIATE: u8 = 2;

/// What a basic.publish says before its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishHead<'a> {
    /// Exchange and routing key as two short strings, exactly as on the wire.
    pub route: &'a [u8],
    /// Give the message back when no queue takes it.
    pub mandatory: bool,
    /// Give the message back when no consumer takes it at once.
    pub immediate: bool,
}

impl<'a> PublishHead<'a> {
    /// Reads the payload of a basic.publish method frame.
    #[inline]
    pub fn parse(method_payload: &'a [u8]) -> Result<PublishHead<'a>, AmqpError> {
        PublishHead::read(method_payload).ok_or_else(|| undecodable(method_payload))
    }

    #[inline]
    fn read(payload: &'a [u8]) -> Option<PublishHead<'a>> {
        let (ids, rest) = take_u32(payload)?;
        let (_ticket, route_on) = take_u16(rest)?;
        let (_exchange, rest) = take_short(route_on)?;
        let (_key, rest) = take_short(rest)?;
        // Section 1.8.3.7: the two bits share the last octet; nothing follows it.
        let &[bits] = rest else { return None };
        if ids != BASIC_PUBLISH {
            return None;
        }
        let route = route_on.get(..route_on.len().checked_sub(1)?)?;
        Some(PublishHead { route, mandatory: bits & MANDATORY != 0, immediate: bits & IMMEDIATE != 0 })
    }

    /// The exchange's name.
    #[inline]
    pub fn exchange(&self) -> &'a [u8] {
        split_route(self.route).map_or(&[], |(exchange, _)| exchange)
    }

    /// The routing key.
    #[inline]
    pub fn routing_key(&self) -> &'a [u8] {
        split_route(self.route).map_or(&[], |(_, key)| key)
    }
}

/// 502 for a method whose fields do not fill its payload exactly, in RabbitMQ's words.
#[cold]
pub(crate) fn undecodable(payload: &[u8]) -> AmqpError {
    // RabbitMQ calls it a frame error, not a syntax error.
    let fields = payload.get(4..).unwrap_or_default();
    AmqpError::frame_error(format!("cannot decode {}", Binary(fields.get(..16).unwrap_or(fields))))
}

/// The payload of a content header frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// Octets of body that will follow.
    pub body_size: u64,
    /// Property flags and fields, undecoded.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads a content header; it must be one of class basic.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Result<ContentHeader<'a>, AmqpError> {
        let Some(((class, weight), (body_size, properties))) = ContentHeader::read(payload) else {
            return Err(unknown_frame(FrameKind::Header.octet(), payload));
        };
        // Section 4.2.6.1: the class-id MUST match the method frame class id, weight MUST be zero.
        if weight != 0 {
            return Err(AmqpError::unexpected_frame(NO_HEADER));
        }
        if class != CLASS_BASIC {
            return Err(AmqpError::unexpected_frame(format!(
                "expected content header for class {CLASS_BASIC}, got one for class {class} instead"
            )));
        }
        Ok(ContentHeader { body_size, properties })
    }

    #[inline]
    #[allow(clippy::type_complexity)] // two pairs that are taken apart at once
    fn read(payload: &'a [u8]) -> Option<((u16, u16), (u64, &'a [u8]))> {
        let (class, rest) = take_u16(payload)?;
        let (weight, rest) = take_u16(rest)?;
        Some(((class, weight), take_u64(rest)?))
    }
}

/// RabbitMQ's words for a frame that stands where a content header must.
pub(crate) const NO_HEADER: &str =
    "expected content header for class 60, got non content header frame instead";

/// A published message that lies in the buffer in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholePublish<'a> {
    /// The channel of all its frames.
    pub channel: u16,
    /// The method.
    pub head: PublishHead<'a>,
    /// Property flags and fields, undecoded.
    pub properties: &'a [u8],
    /// The body, empty when none was announced.
    pub body: &'a [u8],
}

/// A payload with its end mark checked, and what follows the frame.
#[inline(always)]
fn split_payload(after_head: &[u8], size: u32, frame_max: u32) -> Option<(&[u8], &[u8])> {
    if is_too_large(size, frame_max) {
        return None;
    }
    let (payload, rest) = after_head.split_at_checked(size as usize)?;
    let (&mark, rest) = rest.split_first()?;
    (mark == FRAME_END).then_some((payload, rest))
}

/// A frame of this kind on this channel at the front of `buf`: its payload and what follows it.
#[inline(always)]
fn split_frame(buf: &[u8], kind: FrameKind, channel: [u8; 2], frame_max: u32) -> Option<(&[u8], &[u8])> {
    let (&[octet, c0, c1, s0, s1, s2, s3], rest) = buf.split_first_chunk::<FRAME_HEAD_BYTES>()?;
    if octet != kind.octet() || [c0, c1] != channel {
        return None;
    }
    split_payload(rest, u32::from_be_bytes([s0, s1, s2, s3]), frame_max)
}

/// A basic.publish whose method, header and at most one body frame are at the front of `buf`, with the count
/// of bytes they take.
///
/// None for anything else, malformed bytes too: the slow way reports those. The caller still judges the body
/// by the configured message size.
#[inline]
pub fn whole_publish(buf: &[u8], frame_max: u32) -> Option<(WholePublish<'_>, usize)> {
    let (&[octet, c0, c1, s0, s1, s2, s3], rest) = buf.split_first_chunk::<FRAME_HEAD_BYTES>()?;
    let channel = [c0, c1];
    if octet != FrameKind::Method.octet() || channel == [0, 0] {
        return None;
    }
    let (method, rest) = split_payload(rest, u32::from_be_bytes([s0, s1, s2, s3]), frame_max)?;
    let head = PublishHead::read(method)?;
    let (header, rest) = split_frame(rest, FrameKind::Header, channel, frame_max)?;
    let (fixed, properties) = header.split_first_chunk::<HEADER_FIXED_BYTES>()?;
    let (class_weight, size) = take_u32(fixed)?;
    let (body_size, _) = take_u64(size)?;
    if class_weight != BASIC_HEADER {
        return None;
    }
    let (body, rest) = if body_size == 0 {
        (&[][..], rest)
    } else {
        split_frame(rest, FrameKind::Body, channel, frame_max)?
    };
    if body.len() as u64 != body_size {
        return None;
    }
    let publish = WholePublish { channel: u16::from_be_bytes(channel), head, properties, body };
    Some((publish, buf.len() - rest.len()))
}

/// Exchange and routing key of a route; None when it is not two short strings and nothing more.
#[inline]
pub fn split_route(route: &[u8]) -> Option<(&[u8], &[u8])> {
    let (exchange, rest) = take_short(route)?;
    let (key, rest) = take_short(rest)?;
    rest.is_empty().then_some((exchange, key))
}

/// Appends a route; names over 255 octets are cut.
#[inline]
pub fn put_route(out: &mut Vec<u8>, exchange: &[u8], routing_key: &[u8]) {
    put_short(out, exchange);
    put_short(out, routing_key);
}

const _: () = assert!(FRAME_HEAD_BYTES + 1 == FRAME_OVERHEAD_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::put_frame;

    fn method(exchange: &[u8], key: &[u8], bits: u8) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 40, 0, 0];
        put_route(&mut payload, exchange, key);
        payload.push(bits);
        payload
    }

    fn header(body_size: u64, properties: &[u8]) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 0];
        payload.extend_from_slice(&body_size.to_be_bytes());
        payload.extend_from_slice(properties);
        payload
    }

    fn message(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, FrameKind::Method, 7, &method(b"ex", b"key", MANDATORY));
        put_frame(&mut bytes, FrameKind::Header, 7, &header(body.len() as u64, &[0x10, 0, 2]));
        if !body.is_empty() {
            put_frame(&mut bytes, FrameKind::Body, 7, body);
        }
        bytes
    }

    #[test]
    fn a_head_is_read_in_place() {
        let payload = method(b"ex", b"\xFF\x00", IMMEDIATE);
        let head = PublishHead::parse(&payload).unwrap();
        assert_eq!((head.exchange(), head.routing_key()), (&b"ex"[..], &b"\xFF\x00"[..]));
        assert_eq!((head.mandatory, head.immediate), (false, true));
        assert_eq!(head.route, b"\x02ex\x02\xFF\x00");
        for end in 0..payload.len() {
            assert!(PublishHead::parse(&payload[..end]).is_err(), "cut at {end}");
        }
        let long = [&payload[..], &[0]].concat();
        let error = PublishHead::parse(&long).unwrap_err();
        assert_eq!(error.reply_text(), "FRAME_ERROR - cannot decode <<0,0,2,101,120,2,255,0,2,0>>");
    }

    #[test]
    fn a_header_must_be_of_class_basic() {
        let good = header(9, &[0, 0]);
        assert_eq!(ContentHeader::parse(&good), Ok(ContentHeader { body_size: 9, properties: &[0, 0] }));
        for end in 0..12 {
            assert!(ContentHeader::parse(&good[..end]).is_err(), "cut at {end}");
        }
        for (place, text) in [
            (1, "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead"),
            (
                3,
                "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
            ),
        ] {
            let mut bad = good.clone();
            bad[place] = 50;
            assert_eq!(ContentHeader::parse(&bad).unwrap_err().reply_text(), text);
        }
    }

    #[test]
    fn a_whole_publish_is_found_and_every_cut_is_none() {
        for body in [&b""[..], b"x", &[0xCE; 300]] {
            let bytes = message(body);
            let more = [&bytes[..], &bytes[..9]].concat();
            let (publish, used) = whole_publish(&more, 4096).unwrap();
            assert_eq!((publish.channel, publish.body, used), (7, body, bytes.len()));
            assert_eq!(publish.properties, [0x10, 0, 2]);
            assert_eq!(publish.head.routing_key(), b"key");
            assert!(publish.head.mandatory && !publish.head.immediate);
            for end in 0..bytes.len() {
                assert!(whole_publish(&bytes[..end], 0).is_none(), "cut at {end}");
            }
        }
        assert!(whole_publish(&message(&[1; 4097]), 4096).is_none());
        assert!(whole_publish(&message(&[1; 4097]), 0).is_some());
    }

    #[test]
    fn frames_of_another_channel_are_not_joined() {
        let mut bytes = message(b"abc");
        let header_at = 8 + method(b"ex", b"key", 1).len();
        bytes[header_at + 2] = 8;
        assert!(whole_publish(&bytes, 0).is_none());
        let mut body_larger = message(b"abc");
        body_larger[header_at + 7 + 11] = 4;
        assert!(whole_publish(&body_larger, 0).is_none());
    }

    #[test]
    fn routes_come_apart() {
        let mut route = Vec::new();
        put_route(&mut route, &[b'e'; 300], b"");
        assert_eq!(split_route(&route), Some((&[b'e'; 255][..], &b""[..])));
        assert_eq!(split_route(&route[1..]), None);
        route.push(0);
        assert_eq!(split_route(&route), None);
    }
}

//! The hot way out: deliveries and confirms, appended as complete frames.
//!
//! ```text
//! deliver payload  | 0 60 | 0 60 | consumer tag | delivery tag (64) | redelivered | route |
//! get-ok payload   | 0 60 | 0 71 | delivery tag (64) | redelivered | route | message count (32) |
//! return payload   | 0 60 | 0 50 | reply code (16) | reply text | route |
//! header payload   | 0 60 | 0 0  | body size (64) | properties |
//! ```
//! Invariant: only whole frames are appended, none larger than frame-max; short strings are cut to 255 octets.
//! Source: AMQP 0-9-1 sections 1.8.3 and 4.2.6.

use crate::fields::{cut_short, put_short};
use crate::frame::{FRAME_END, FRAME_HEAD_BYTES, FrameKind, frame_head, put_frame};
pub use crate::settle::{Settle, parse_settle};
use types::ReplyCode;
use types::limits::FRAME_OVERHEAD_BYTES;

const BASIC_RETURN: [u8; 4] = [0, 60, 0, 50];
const BASIC_DELIVER: [u8; 4] = [0, 60, 0, 60];
const BASIC_GET_OK: [u8; 4] = [0, 60, 0, 71];
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];
const BASIC_NACK: [u8; 4] = [0, 60, 0, 120];
const BASIC_HEADER: [u8; 4] = [0, 60, 0, 0];
/// Ids, delivery tag and redelivered bit.
const DELIVER_FIXED_BYTES: usize = 4 + 8 + 1;
/// Ids, weight and body size.
const HEADER_FIXED_BYTES: usize = 4 + 8;

/// Appends basic.deliver.
#[inline]
pub fn put_deliver(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &[u8],
    delivery_tag: u64,
    redelivered: bool,
    route: &[u8],
) {
    let tag = cut_short(consumer_tag);
    let size = DELIVER_FIXED_BYTES + 1 + tag.len() + route.len();
    out.reserve(size + FRAME_OVERHEAD_BYTES);
    out.extend_from_slice(&frame_head(FrameKind::Method, channel, size as u32));
    out.extend_from_slice(&BASIC_DELIVER);
    put_short(out, tag);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.push(u8::from(redelivered));
    out.extend_from_slice(route);
    out.push(FRAME_END);
}

/// Appends basic.get-ok.
pub fn put_get_ok(
    out: &mut Vec<u8>,
    channel: u16,
    delivery_tag: u64,
    redelivered: bool,
    route: &[u8],
    message_count: u32,
) {
    let size = DELIVER_FIXED_BYTES + route.len() + 4;
    out.reserve(size + FRAME_OVERHEAD_BYTES);
    out.extend_from_slice(&frame_head(FrameKind::Method, channel, size as u32));
    out.extend_from_slice(&BASIC_GET_OK);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.push(u8::from(redelivered));
    out.extend_from_slice(route);
    out.extend_from_slice(&message_count.to_be_bytes());
    out.push(FRAME_END);
}

/// Appends basic.return; `text` is the reply text in full, over 255 octets it is cut.
pub fn put_return(out: &mut Vec<u8>, channel: u16, code: ReplyCode, text: &str, route: &[u8]) {
    let mut payload = Vec::with_capacity(7 + text.len() + route.len());
    payload.extend_from_slice(&BASIC_RETURN);
    payload.extend_from_slice(&code.code().to_be_bytes());
    put_short(&mut payload, text.as_bytes());
    payload.extend_from_slice(route);
    put_frame(out, FrameKind::Method, channel, &payload);
}

/// Appends a content header of class basic.
#[inline]
pub fn put_content_header(out: &mut Vec<u8>, channel: u16, properties: &[u8], body_size: u64) {
    let size = HEADER_FIXED_BYTES + properties.len();
    out.reserve(size + FRAME_OVERHEAD_BYTES);
    out.extend_from_slice(&frame_head(FrameKind::Header, channel, size as u32));
    out.extend_from_slice(&BASIC_HEADER);
    out.extend_from_slice(&body_size.to_be_bytes());
    out.extend_from_slice(properties);
    out.push(FRAME_END);
}

/// Largest body payload of one frame.
#[inline]
fn body_payload_max(frame_max: u32) -> usize {
    match (frame_max as usize).checked_sub(FRAME_OVERHEAD_BYTES) {
        Some(room) if room > 0 => room,
        // Without a limit a frame's size field still has only 32 bits.
        _ => u32::MAX as usize,
    }
}

/// Appends the body in frames of at most `frame_max` octets with their overhead; 0 means unlimited. An empty
/// body has no frame.
#[inline]
pub fn put_body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: u32) {
    for payload in body.chunks(body_payload_max(frame_max)) {
        put_frame(out, FrameKind::Body, channel, payload);
    }
}

/// The octets before a body payload of `size`, for bodies handed to the socket by reference: the caller puts
/// the payload and [`FRAME_END`] behind them.
#[inline]
pub fn body_frame_head(channel: u16, size: u32) -> [u8; 7] {
    frame_head(FrameKind::Body, channel, size)
}

/// Appends basic.ack.
#[inline]
pub fn put_ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    put_settlement(out, channel, BASIC_ACK, delivery_tag, u8::from(multiple));
}

/// Appends basic.nack.
#[inline]
pub fn put_nack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool, requeue: bool) {
    put_settlement(out, channel, BASIC_NACK, delivery_tag, u8::from(multiple) | u8::from(requeue) << 1);
}

#[inline]
fn put_settlement(out: &mut Vec<u8>, channel: u16, ids: [u8; 4], delivery_tag: u64, bits: u8) {
    let mut frame = [0; 21];
    frame[..7].copy_from_slice(&frame_head(FrameKind::Method, channel, 13));
    frame[7..11].copy_from_slice(&ids);
    frame[11..19].copy_from_slice(&delivery_tag.to_be_bytes());
    frame[19] = bits;
    frame[20] = FRAME_END;
    out.extend_from_slice(&frame);
}

/// Writes into memory that was reserved before, without asking again for each piece.
struct Pen {
    at: *mut u8,
}

impl Pen {
    /// Writes `bytes` and moves behind them.
    ///
    /// # Safety
    /// `bytes.len()` octets from the pen on must be reserved for it, and must not overlap `bytes`.
    #[inline(always)]
    unsafe fn put(&mut self, bytes: &[u8]) {
        // SAFETY: the caller has reserved the room; source and target are different allocations.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at, bytes.len());
            self.at = self.at.add(bytes.len());
        }
    }

    /// Like `put`, but for lengths that only a run knows and that are mostly small: a call of memcpy costs
    /// more than the copy itself, so up to 32 octets are copied as two blocks that may overlap.
    ///
    /// # Safety
    /// As for `put`.
    #[inline(always)]
    unsafe fn put_small(&mut self, bytes: &[u8]) {
        let (from, to, length) = (bytes.as_ptr(), self.at, bytes.len());
        // SAFETY: each block starts at 0 or ends at `length`, and is no longer than `length`, so it is inside
        // `bytes` and inside the room that the caller has reserved. Blocks are read before they are written.
        unsafe {
            match length {
                17..=32 => copy_ends::<16>(from, to, length),
                8..=16 => copy_ends::<8>(from, to, length),
                4..=7 => copy_ends::<4>(from, to, length),
                2..=3 => copy_ends::<2>(from, to, length),
                1 => *to = *from,
                0 => {}
                _ => std::ptr::copy_nonoverlapping(from, to, length),
            }
            self.at = to.add(length);
        }
    }
}

/// Copies the first and the last `N` of `length` octets.
///
/// # Safety
/// `N <= length <= 2 * N`, and `length` octets must be readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn copy_ends<const N: usize>(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: both blocks are inside `length` octets, arrays of octets need no alignment.
    unsafe {
        let first = from.cast::<[u8; N]>().read();
        let last = from.add(length - N).cast::<[u8; N]>().read();
        to.cast::<[u8; N]>().write(first);
        to.add(length - N).cast::<[u8; N]>().write(last);
    }
}

/// Appends a whole delivery: what `put_deliver`, `put_content_header` and `put_body` append one after another.
///
/// The hottest function of the broker: one reserve, then straight copies when the body fits into one frame.
#[inline]
#[allow(clippy::too_many_arguments)] // the fields of three frames
pub fn put_delivery(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &[u8],
    delivery_tag: u64,
    redelivered: bool,
    route: &[u8],
    properties: &[u8],
    body: &[u8],
    frame_max: u32,
) {
    if body.is_empty() || body.len() > body_payload_max(frame_max) {
        put_deliver(out, channel, consumer_tag, delivery_tag, redelivered, route);
        put_content_header(out, channel, properties, body.len() as u64);
        put_body(out, channel, body, frame_max);
        return;
    }
    let tag = cut_short(consumer_tag);
    let method_size = DELIVER_FIXED_BYTES + 1 + tag.len() + route.len();
    let header_size = HEADER_FIXED_BYTES + properties.len();
    let total = 3 * FRAME_OVERHEAD_BYTES + method_size + header_size + body.len();
    out.reserve(total);
    let after_mark = |kind: FrameKind, size: usize| {
        let head = u64::from(kind.octet()) << 48 | u64::from(channel) << 32 | size as u64;
        (u64::from(FRAME_END) << 56 | head).to_be_bytes()
    };
    let [_, method_head @ ..] = after_mark(FrameKind::Method, method_size);
    // SAFETY: `reserve` left room for `total` octets behind `len`, and what is put below adds up to `total`:
    // (7 + 4 + 1 + tag + 8 + 1 + route) + (8 + 4 + 8 + properties) + (8 + body + 1) = 50 + …, and
    // total = 24 + (14 + tag + route) + (12 + properties) + body = 50 + ….
    // The arguments are shared borrows, so none of them lies in `out`'s memory.
    unsafe {
        let mut pen = Pen { at: out.as_mut_ptr().add(out.len()) };
        pen.put(&method_head);
        pen.put(&BASIC_DELIVER);
        pen.put(&[tag.len() as u8]);
        pen.put_small(tag);
        pen.put(&delivery_tag.to_be_bytes());
        pen.put(&[u8::from(redelivered)]);
        pen.put_small(route);
        pen.put(&after_mark(FrameKind::Header, header_size));
        pen.put(&BASIC_HEADER);
        pen.put(&(body.len() as u64).to_be_bytes());
        pen.put_small(properties);
        pen.put(&after_mark(FrameKind::Body, body.len()));
        pen.put_small(body);
        pen.put(&[FRAME_END]);
        debug_assert_eq!(pen.at, out.as_mut_ptr().add(out.len() + total));
        out.set_len(out.len() + total);
    }
}

const _: () = assert!(FRAME_HEAD_BYTES == 7 && FRAME_OVERHEAD_BYTES == 8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::next_frame;
    use crate::publish::ContentHeader;

    const ROUTE: &[u8] = b"\x02ex\x03key";

    fn one_by_one(tag: &[u8], body: &[u8], frame_max: u32) -> Vec<u8> {
        let mut out = vec![9];
        put_deliver(&mut out, 3, tag, 77, true, ROUTE);
        put_content_header(&mut out, 3, &[0x10, 0, 2], body.len() as u64);
        put_body(&mut out, 3, body, frame_max);
        out
    }

    #[test]
    fn a_delivery_in_one_go_is_the_same_bytes() {
        let body: Vec<u8> = (0..10_000).map(|n| n as u8).collect();
        for frame_max in [0, 4096] {
            for size in (0..40).chain(4080..4100).chain(8170..8190) {
                for tag in [&b""[..], b"ctag", &[b't'; 255], &[b't'; 300]] {
                    let mut out = vec![9];
                    put_delivery(&mut out, 3, tag, 77, true, ROUTE, &[0x10, 0, 2], &body[..size], frame_max);
                    assert_eq!(out, one_by_one(tag, &body[..size], frame_max), "{size} of {frame_max}");
                }
            }
        }
    }

    #[test]
    fn bodies_are_split_at_frame_max() {
        for (size, frames) in
            [(0, vec![]), (4088, vec![4088]), (4089, vec![4088, 1]), (8176, vec![4088, 4088])]
        {
            let mut out = Vec::new();
            put_body(&mut out, 1, &vec![5; size], 4096);
            let (mut at, mut sizes) = (0, Vec::new());
            while let Some((frame, used)) = next_frame(&out[at..], 4096).unwrap() {
                assert!(used <= 4096 && frame.kind == FrameKind::Body);
                assert_eq!(out[at..at + 7], body_frame_head(1, frame.payload.len() as u32));
                sizes.push(frame.payload.len());
                at += used;
            }
            assert_eq!((sizes, at), (frames, out.len()));
        }
    }

    #[test]
    fn the_wire_picture_of_each() {
        let mut out = Vec::new();
        put_ack(&mut out, 1, 2, true);
        assert_eq!(out, [1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0xCE]);
        out.clear();
        put_nack(&mut out, 1, 2, false, true);
        assert_eq!(out, [1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 120, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0xCE]);
        out.clear();
        put_return(&mut out, 1, ReplyCode::NoRoute, "NO_ROUTE", ROUTE);
        let (frame, _) = next_frame(&out, 0).unwrap().unwrap();
        assert_eq!(frame.payload, [&[0, 60, 0, 50, 1, 56, 8][..], b"NO_ROUTE", ROUTE].concat());
        out.clear();
        put_get_ok(&mut out, 1, 2, true, ROUTE, 5);
        let (frame, _) = next_frame(&out, 0).unwrap().unwrap();
        let picture = [&[0, 60, 0, 71, 0, 0, 0, 0, 0, 0, 0, 2, 1][..], ROUTE, &[0, 0, 0, 5]].concat();
        assert_eq!(frame.payload, picture);
        out.clear();
        put_content_header(&mut out, 1, &[0, 0], 6);
        let (frame, _) = next_frame(&out, 0).unwrap().unwrap();
        assert_eq!(ContentHeader::parse(frame.payload).unwrap().body_size, 6);
    }
}

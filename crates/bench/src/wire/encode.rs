//! Writes frames into a byte vector.
//!
//! Invariant: every frame this file writes has the length it announces and ends with the end mark.

use super::{
    BASIC_PUBLISH, CLASS_BASIC, FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD, FRAME_OVERHEAD_BYTES,
    MethodId,
};

/// Appends AMQP values to a frame that is being written.
pub struct Args<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Args<'a> {
    /// Values outside of a frame, for example the properties of a message.
    pub fn to(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.out.push(value);
        self
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.out.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.out.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.out.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A text of at most 255 bytes; what is longer is cut. Operator input is checked before it gets here.
    pub fn short(&mut self, text: &str) -> &mut Self {
        let bytes = &text.as_bytes()[..text.len().min(255)];
        self.out.push(bytes.len() as u8);
        self.out.extend_from_slice(bytes);
        self
    }

    pub fn long(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32);
        self.out.extend_from_slice(bytes);
        self
    }

    pub fn table(&mut self, fill: impl FnOnce(&mut Table<'_>)) -> &mut Self {
        let at = self.out.len();
        self.u32(0);
        fill(&mut Table { out: self.out });
        let bytes = (self.out.len() - at - 4) as u32;
        self.out[at..at + 4].copy_from_slice(&bytes.to_be_bytes());
        self
    }
}

/// Appends named fields to a field table.
pub struct Table<'a> {
    out: &'a mut Vec<u8>,
}

impl Table<'_> {
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        Args { out: self.out }.short(name).u8(b'S').long(value.as_bytes());
        self
    }

    pub fn long(&mut self, name: &str, value: i64) -> &mut Self {
        Args { out: self.out }.short(name).u8(b'l').u64(value.cast_unsigned());
        self
    }

    pub fn nothing(&mut self, name: &str) -> &mut Self {
        Args { out: self.out }.short(name).u8(b'V');
        self
    }

    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        Args { out: self.out }.short(name).u8(b't').u8(u8::from(value));
        self
    }

    pub fn table(&mut self, name: &str, fill: impl FnOnce(&mut Table<'_>)) -> &mut Self {
        Args { out: self.out }.short(name).u8(b'F').table(fill);
        self
    }
}

/// One frame; `fill` writes its payload.
fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, fill: impl FnOnce(&mut Args<'_>)) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(&mut Args { out });
    let payload_bytes = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&payload_bytes.to_be_bytes());
    out.push(FRAME_END);
}

pub fn method(out: &mut Vec<u8>, channel: u16, id: MethodId, fill: impl FnOnce(&mut Args<'_>)) {
    frame(out, FRAME_METHOD, channel, |args| {
        args.u32(id);
        fill(args);
    });
}

/// What is published: everything of one message but its body.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    pub channel: u16,
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub persistent: bool,
    /// The negotiated frame_max; a body longer than it allows is split.
    pub frame_bytes_max: u32,
}

/// basic.publish, content header and body frames of one message.
pub fn publish(out: &mut Vec<u8>, message: &Publish<'_>, body: &[u8]) {
    method(out, message.channel, BASIC_PUBLISH, |args| {
        args.u16(0).short(message.exchange).short(message.routing_key).u8(0);
    });
    header(out, message.channel, message.persistent, body.len());
    body_frames(out, message.channel, message.frame_bytes_max, body);
}

/// A mandatory message with properties of any kind: flags and values as they stand in a content header.
pub fn publish_with(out: &mut Vec<u8>, message: &Publish<'_>, properties: &[u8], body: &[u8]) {
    const MANDATORY: u8 = 1;
    method(out, message.channel, BASIC_PUBLISH, |args| {
        args.u16(0).short(message.exchange).short(message.routing_key).u8(MANDATORY);
    });
    frame(out, FRAME_HEADER, message.channel, |args| {
        args.u16(CLASS_BASIC).u16(0).u64(body.len() as u64);
        args.out.extend_from_slice(properties);
    });
    body_frames(out, message.channel, message.frame_bytes_max, body);
}

fn body_frames(out: &mut Vec<u8>, channel: u16, frame_bytes_max: u32, body: &[u8]) {
    for chunk in body.chunks(frame_bytes_max as usize - FRAME_OVERHEAD_BYTES) {
        out.push(FRAME_BODY);
        Args { out }.u16(channel).long(chunk).u8(FRAME_END);
    }
}

/// The content header: no properties, or delivery-mode 2 alone.
fn header(out: &mut Vec<u8>, channel: u16, persistent: bool, body_bytes: usize) {
    const DELIVERY_MODE: u16 = 1 << 12;
    frame(out, FRAME_HEADER, channel, |args| {
        args.u16(CLASS_BASIC).u16(0).u64(body_bytes as u64);
        if persistent {
            args.u16(DELIVERY_MODE).u8(2);
        } else {
            args.u16(0);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{BASIC_ACK, QUEUE_DECLARE};

    #[test]
    fn an_ack_is_these_bytes() {
        let mut out = Vec::new();
        method(&mut out, 1, BASIC_ACK, |args| {
            args.u64(7).u8(1);
        });
        assert_eq!(
            out,
            [1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 7, 1, 0xCE],
            "type, channel, length, class, method, tag, multiple, end"
        );
    }

    #[test]
    fn a_table_announces_its_length() {
        let mut out = Vec::new();
        method(&mut out, 1, QUEUE_DECLARE, |args| {
            args.table(|table| {
                table.flag("a", true).table("b", |inner| {
                    inner.text("c", "de");
                });
            });
        });
        let table = &out[11..out.len() - 1];
        let inner = b"\x01cS\x00\x00\x00\x02de";
        let mut expected =
            vec![0, 0, 0, 4 + 3 + 4 + inner.len() as u8, 1, b'a', b't', 1, 1, b'b', b'F', 0, 0, 0];
        expected.push(inner.len() as u8);
        expected.extend_from_slice(inner);
        assert_eq!(table, expected);
    }

    #[test]
    fn a_publish_is_these_bytes() {
        let mut out = Vec::new();
        let message = Publish {
            channel: 1,
            exchange: "",
            routing_key: "q",
            persistent: true,
            frame_bytes_max: FRAME_BYTES_MIN,
        };
        publish(&mut out, &message, b"hi");
        let mut expected = vec![1, 0, 1, 0, 0, 0, 10, 0, 60, 0, 40, 0, 0, 0, 1, b'q', 0, 0xCE];
        expected.extend_from_slice(&[
            2, 0, 1, 0, 0, 0, 15, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x10, 0, 2, 0xCE,
        ]);
        expected.extend_from_slice(&[3, 0, 1, 0, 0, 0, 2, b'h', b'i', 0xCE]);
        assert_eq!(out, expected);
    }

    const FRAME_BYTES_MIN: u32 = 4096;

    #[test]
    fn a_body_is_split_at_the_frame_limit_and_an_empty_one_has_no_frame() {
        let message = Publish {
            channel: 1,
            exchange: "e",
            routing_key: "k",
            persistent: false,
            frame_bytes_max: FRAME_BYTES_MIN,
        };
        let frames = |body: &[u8]| {
            let mut out = Vec::new();
            publish(&mut out, &message, body);
            let mut lengths = Vec::new();
            let mut at = 0;
            while at < out.len() {
                let length =
                    u32::from_be_bytes([out[at + 3], out[at + 4], out[at + 5], out[at + 6]]) as usize;
                assert_eq!(out[at + 7 + length], FRAME_END);
                lengths.push((out[at], length));
                at += length + FRAME_OVERHEAD_BYTES;
            }
            lengths[2..].to_vec()
        };
        assert_eq!(frames(&[]), []);
        assert_eq!(frames(&[0; 4088]), [(3, 4088)]);
        assert_eq!(frames(&[0; 4089]), [(3, 4088), (3, 1)]);
    }
}

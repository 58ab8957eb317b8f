//! Turns publishes into deliveries.
//!
//! Invariant: header and body frames are copied as they stand; only the method frame differs.

use crate::error::{Error, Result};
use crate::wire::read::Reader;
use crate::wire::{
    BASIC_DELIVER, BASIC_PUBLISH, FRAME_BODY, FRAME_END, FRAME_HEAD_BYTES, FRAME_HEADER, FRAME_METHOD,
    FRAME_OVERHEAD_BYTES,
};

/// One frame in a buffer: its type, its payload, and all its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    pub kind: u8,
    pub channel: u16,
    pub payload: &'a [u8],
    pub whole: &'a [u8],
}

/// The first frame of `bytes`; none when it is not complete.
#[inline]
pub fn first_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let Some(([kind, c0, c1, l0, l1, l2, l3], _)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else {
        return Ok(None);
    };
    let frame_bytes = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize + FRAME_OVERHEAD_BYTES;
    let Some(whole) = bytes.get(..frame_bytes) else { return Ok(None) };
    if whole[frame_bytes - 1] != FRAME_END {
        return Err(Error::Protocol("a frame without its end mark".into()));
    }
    let payload = &whole[FRAME_HEAD_BYTES..frame_bytes - 1];
    Ok(Some(Frame { kind: *kind, channel: u16::from_be_bytes([*c0, *c1]), payload, whole }))
}

pub fn method_id(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<4>().map(|id| u32::from_be_bytes(*id))
}

#[derive(Debug, Default)]
pub struct Relay {
    tag: u64,
}

impl Relay {
    /// Publishes so far.
    pub fn count(&self) -> u64 {
        self.tag
    }

    /// Copies one frame of a publish to the deliveries; false when it is no part of a publish.
    #[inline]
    pub fn frame(&mut self, frame: &Frame<'_>, deliveries: &mut Vec<u8>) -> Result<bool> {
        match frame.kind {
            FRAME_HEADER | FRAME_BODY => deliveries.extend_from_slice(frame.whole),
            FRAME_METHOD if method_id(frame.payload) == Some(BASIC_PUBLISH) => {
                self.tag += 1;
                self.deliver(frame.payload, deliveries)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// basic.deliver to the first consumer, with the exchange and the routing key of the publish.
    #[inline]
    fn deliver(&self, publish: &[u8], deliveries: &mut Vec<u8>) -> Result<()> {
        const CONSUMER_TAG: &[u8] = b"\x011";
        const FIXED_BYTES: usize = FRAME_HEAD_BYTES + 4 + CONSUMER_TAG.len() + 8 + 1;
        // Ticket before, flags behind: what lies between are the two names, as deliver wants them.
        let names = publish
            .get(6..publish.len().saturating_sub(1))
            .ok_or_else(|| Error::Protocol("basic.publish ends too early".into()))?;
        let payload_bytes = (FIXED_BYTES - FRAME_HEAD_BYTES + names.len()) as u32;
        let mut fixed = [0; FIXED_BYTES];
        fixed[0] = FRAME_METHOD;
        fixed[2] = 1;
        fixed[3..7].copy_from_slice(&payload_bytes.to_be_bytes());
        fixed[7..11].copy_from_slice(&BASIC_DELIVER.to_be_bytes());
        fixed[11..13].copy_from_slice(CONSUMER_TAG);
        fixed[13..21].copy_from_slice(&self.tag.to_be_bytes());
        deliveries.extend_from_slice(&fixed);
        deliveries.extend_from_slice(names);
        deliveries.push(FRAME_END);
        Ok(())
    }
}

/// The texts of a method's arguments behind a 16-bit ticket, as far as they are wanted.
pub fn first_name(payload: &[u8]) -> Result<String> {
    let mut reader = Reader::new(payload.get(6..).unwrap_or_default());
    reader.short()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode::{self, Publish};
    use crate::wire::scan::{Method, Scanner, Sink};

    struct Stamps(Vec<u64>);

    impl Sink for Stamps {
        fn stamped(&mut self, stamp_ns: u64) {
            self.0.push(stamp_ns);
        }

        fn method(&mut self, _: Method<'_>) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_publish_becomes_one_delivery() {
        let mut publishes = Vec::new();
        for stamp in 1..=3_u64 {
            let message = Publish {
                channel: 1,
                exchange: "ex",
                routing_key: "key",
                persistent: true,
                frame_bytes_max: 4096,
            };
            let mut body = vec![0; 5000];
            body[..8].copy_from_slice(&stamp.to_be_bytes());
            encode::publish(&mut publishes, &message, &body);
        }
        let (mut relay, mut deliveries) = (Relay::default(), Vec::new());
        let mut rest = publishes.as_slice();
        while let Some(frame) = first_frame(rest).expect("correct frames") {
            assert!(relay.frame(&frame, &mut deliveries).expect("correct publishes"));
            rest = &rest[frame.whole.len()..];
        }
        assert!(rest.is_empty());
        let (mut scanner, mut stamps) = (Scanner::default(), Stamps(Vec::new()));
        assert_eq!(scanner.scan(&deliveries, &mut stamps).ok(), Some(deliveries.len()));
        assert_eq!((scanner.deliveries, scanner.last_tag), (3, 3));
        assert_eq!(stamps.0, [1, 2, 3]);
    }

    #[test]
    fn other_methods_are_not_copied() {
        let mut bytes = Vec::new();
        encode::method(&mut bytes, 1, crate::wire::BASIC_ACK, |args| {
            args.u64(1).u8(0);
        });
        let frame = first_frame(&bytes).expect("a correct frame").expect("a whole frame");
        let mut deliveries = Vec::new();
        assert_eq!(Relay::default().frame(&frame, &mut deliveries).ok(), Some(false));
        assert!(deliveries.is_empty());
    }
}

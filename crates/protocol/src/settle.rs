//! The hot way back: basic.ack, basic.nack and basic.reject of a client.
//!
//! ```text
//! | 0 60 | 0 80 or 90 or 120 | delivery tag (64) | bits |     ack: multiple   nack: multiple, requeue   reject: requeue
//! ```
//! Invariant: only a payload of exactly this length is taken. Source: AMQP 0-9-1 section 1.8.3, RabbitMQ's nack.

const PAYLOAD_BYTES: usize = 13;
const ACK: [u8; 4] = [0, 60, 0, 80];
const REJECT: [u8; 4] = [0, 60, 0, 90];
const NACK: [u8; 4] = [0, 60, 0, 120];

/// What a client says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// basic.ack
    Ack {
        /// The delivery; 0 with `multiple` means all.
        delivery_tag: u64,
        /// All up to this one.
        multiple: bool,
    },
    /// basic.nack
    Nack {
        /// The delivery; 0 with `multiple` means all.
        delivery_tag: u64,
        /// All up to this one.
        multiple: bool,
        /// Back into the queue instead of away.
        requeue: bool,
    },
    /// basic.reject
    Reject {
        /// The delivery.
        delivery_tag: u64,
        /// Back into the queue instead of away.
        requeue: bool,
    },
}

/// The payload of a method frame as an ack, nack or reject; None when it is none of them or malformed.
#[inline]
pub fn parse_settle(method_payload: &[u8]) -> Option<Settle> {
    let payload: &[u8; PAYLOAD_BYTES] = method_payload.try_into().ok()?;
    let (ids, rest) = payload.split_first_chunk::<4>()?;
    let (tag, rest) = rest.split_first_chunk::<8>()?;
    let &[bits] = rest else { return None };
    let delivery_tag = u64::from_be_bytes(*tag);
    let (first, second) = (bits & 1 != 0, bits & 2 != 0);
    Some(match *ids {
        ACK => Settle::Ack { delivery_tag, multiple: first },
        NACK => Settle::Nack { delivery_tag, multiple: first, requeue: second },
        REJECT => Settle::Reject { delivery_tag, requeue: first },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_are_told_apart() {
        let payload = |id, bits| [0, 60, 0, id, 0, 0, 0, 0, 0, 0, 1, 2, bits];
        assert_eq!(parse_settle(&payload(80, 1)), Some(Settle::Ack { delivery_tag: 258, multiple: true }));
        assert_eq!(parse_settle(&payload(90, 1)), Some(Settle::Reject { delivery_tag: 258, requeue: true }));
        let nack = Settle::Nack { delivery_tag: 258, multiple: false, requeue: true };
        assert_eq!(parse_settle(&payload(120, 2)), Some(nack));
        assert_eq!(parse_settle(&payload(100, 0)), None);
        for end in 0..PAYLOAD_BYTES {
            assert_eq!(parse_settle(&payload(80, 1)[..end]), None);
        }
        assert_eq!(parse_settle(&[0; 14]), None);
    }
}

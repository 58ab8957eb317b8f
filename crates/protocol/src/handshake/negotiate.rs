//! Negotiation: the protocol header and the limits of connection.tune.
//!
//! ```text
//! | A M Q P | 0 | 0 9 1 |   AMQP 0-9-1          limit 0 = none      accepted: minimum <= client <= broker
//! | A M Q P | 1 | 1 0 9 |   AMQP 0-9, taken for 0-9-1
//! ```
//! Invariant: a negotiated limit is never looser than the offered one.
//! Source: AMQP 0-9-1 sections 1.4.2.6 and 4.2.2, RabbitMQ's `validate_negotiated_integer_value`.

use crate::frame::PROTOCOL_HEADER;
use types::AmqpError;
use types::limits::FRAME_SIZE_MIN_BYTES;

const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";
/// Sent by clients of 0-8, which talk the same dialect once they are in.
const PROTOCOL_HEADER_0_8: [u8; 8] = *b"AMQP\x01\x01\x08\0";
const CHANNEL_COUNT_MIN: u32 = 1;

/// What the broker offers in connection.tune. 0 means no limit, for the heartbeat none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Channels of a connection.
    pub channel_max: u16,
    /// Octets of a frame.
    pub frame_max: u32,
    /// Seconds.
    pub heartbeat: u16,
}

/// What was agreed. 0 means no limit, for the heartbeat none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuned {
    /// Channels of a connection.
    pub channel_max: u16,
    /// Octets of a frame.
    pub frame_max: u32,
    /// Seconds.
    pub heartbeat: u16,
}

/// Judges the limits of connection.tune-ok. The heartbeat is the client's to choose.
pub fn negotiate(
    offer: &Offer,
    channel_max: u16,
    frame_max: u32,
    heartbeat: u16,
) -> Result<Tuned, AmqpError> {
    check_limit("frame_max", FRAME_SIZE_MIN_BYTES, offer.frame_max, frame_max)?;
    check_limit("channel_max", CHANNEL_COUNT_MIN, offer.channel_max.into(), channel_max.into())?;
    Ok(Tuned { channel_max, frame_max, heartbeat })
}

fn check_limit(field: &str, least: u32, offered: u32, chosen: u32) -> Result<(), AmqpError> {
    let refuse = |comparison: &str, bound: &str, limit: u32| {
        let detail = if field == "channel_max" && chosen == 0 { " (no limit)" } else { "" };
        Err(AmqpError::not_allowed(format!(
            "negotiated {field} = {chosen}{detail} is {comparison} than the {bound} allowed value ({limit})"
        )))
    };
    // Section 4.2.3: until it is tuned, and so at least, a frame may have frame-min-size octets.
    if chosen != 0 && chosen < least {
        return refuse("lower", "minimum", least);
    }
    // Section 1.4.2.6: if the client specifies a value higher than the server's, the server MUST close the
    // connection. Zero indicates no limit, which is higher than any.
    if offered != 0 && (chosen == 0 || chosen > offered) {
        return refuse("higher", "maximum", offered);
    }
    Ok(())
}

/// Judges the first eight octets of a client; the error is the header to answer before the socket is closed.
pub fn check_protocol_header(bytes: &[u8; 8]) -> Result<(), [u8; 8]> {
    // Section 4.2.2: if the server does not support the version it MUST send a protocol header that it does
    // support, and then close the socket.
    let known = [PROTOCOL_HEADER, PROTOCOL_HEADER_0_9, PROTOCOL_HEADER_0_8];
    if known.contains(bytes) { Ok(()) } else { Err(PROTOCOL_HEADER) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_headers_are_taken() {
        assert_eq!(check_protocol_header(b"AMQP\x01\x01\x08\0"), Ok(()));
        assert_eq!(check_protocol_header(b"AMQP\0\0\x09\x01"), Ok(()));
        assert_eq!(check_protocol_header(b"AMQP\x01\x01\0\x09"), Ok(()));
        for other in [b"AMQP\0\x01\0\0", b"AMQP\x03\x01\0\0", b"AMQP\0\0\x09\0", b"GET / HT", &[0; 8]] {
            assert_eq!(check_protocol_header(other), Err(*b"AMQP\0\0\x09\x01"));
        }
    }

    #[test]
    fn limits_follow_rabbitmqs_rules() {
        let offer = Offer { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
        let open = Offer { channel_max: 0, frame_max: 0, heartbeat: 0 };
        let refused = |text: &str| Err(text.to_string());
        for (offer, channel_max, frame_max, heartbeat, verdict) in [
            (offer, 2047, 131_072, 60, Ok(())),
            (offer, 1, 4096, 0, Ok(())),
            (offer, 7, 5000, u16::MAX, Ok(())),
            (open, 0, 0, 0, Ok(())),
            (open, u16::MAX, u32::MAX, 1, Ok(())),
            (
                offer,
                1,
                4095,
                60,
                refused("negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"),
            ),
            (
                open,
                0,
                1,
                60,
                refused("negotiated frame_max = 1 is lower than the minimum allowed value (4096)"),
            ),
            (
                offer,
                1,
                131_073,
                60,
                refused("negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"),
            ),
            (
                offer,
                1,
                0,
                60,
                refused("negotiated frame_max = 0 is higher than the maximum allowed value (131072)"),
            ),
            (
                offer,
                2048,
                4096,
                60,
                refused("negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"),
            ),
            (
                offer,
                0,
                4096,
                60,
                refused(
                    "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
                ),
            ),
        ] {
            let tuned = negotiate(&offer, channel_max, frame_max, heartbeat);
            let expected = verdict.map(|()| Tuned { channel_max, frame_max, heartbeat });
            assert_eq!(tuned.map_err(|error| error.explanation), expected);
        }
    }
}

//! One message as a record: a fixed head, then the properties as sent, then the body.
//!
//! ```text
//! 0        4             8        12      14      15         16
//! +--------+-------------+--------+-------+-------+----------+------------+------+
//! | body   | properties  | ttl ms | route | flags | priority | properties | body |
//! | length | length      |        |       |       |          | bytes      | bytes|
//! +--------+-------------+--------+-------+-------+----------+------------+------+
//! ```
//! Numbers are little-endian. `route` is an index into the chunk's routes. Invariant: a record in a
//! chunk is complete; nobody ever writes to it again.

/// Bytes before the properties.
pub const RECORD_HEAD_BYTES: usize = 16;

const NO_TTL: u32 = u32::MAX;
const PERSISTENT: u8 = 1;
/// The time to live is in seconds, since it does not fit in milliseconds.
const TTL_IN_SECONDS: u8 = 2;

/// What the broker needs to know of a message without looking into its properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RecordHead {
    /// Length of the body.
    pub body_bytes: u32,
    /// Length of the properties.
    pub properties_bytes: u32,
    /// The message's own time to live.
    pub ttl_ms: Option<u64>,
    /// Which of the chunk's routes it was published with.
    pub route: u16,
    /// Delivery mode 2.
    pub persistent: bool,
    /// 0 when the publisher gave none.
    pub priority: u8,
}

impl RecordHead {
    /// Bytes of the whole record.
    pub fn record_bytes(&self) -> usize {
        RECORD_HEAD_BYTES + self.properties_bytes as usize + self.body_bytes as usize
    }

    /// The head's bytes.
    #[inline]
    pub fn encode(&self) -> [u8; RECORD_HEAD_BYTES] {
        let mut head = [0; RECORD_HEAD_BYTES];
        head[0..4].copy_from_slice(&self.body_bytes.to_le_bytes());
        head[4..8].copy_from_slice(&self.properties_bytes.to_le_bytes());
        let in_seconds = self.ttl_ms.is_some_and(|ttl| ttl >= u64::from(NO_TTL));
        let ttl = match self.ttl_ms {
            None => NO_TTL,
            Some(ttl) if in_seconds => (ttl / 1000).min(u64::from(NO_TTL - 1)) as u32,
            Some(ttl) => ttl as u32,
        };
        head[8..12].copy_from_slice(&ttl.to_le_bytes());
        head[12..14].copy_from_slice(&self.route.to_le_bytes());
        head[14] = if self.persistent { PERSISTENT } else { 0 } | if in_seconds { TTL_IN_SECONDS } else { 0 };
        head[15] = self.priority;
        head
    }

    /// Reads a head back.
    #[inline]
    pub fn decode(head: &[u8; RECORD_HEAD_BYTES]) -> RecordHead {
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let ttl = word(8);
        let unit = if head[14] & TTL_IN_SECONDS != 0 { 1000 } else { 1 };
        RecordHead {
            body_bytes: word(0),
            properties_bytes: word(4),
            ttl_ms: (ttl != NO_TTL).then_some(u64::from(ttl) * unit),
            route: u16::from_le_bytes([head[12], head[13]]),
            persistent: head[14] & PERSISTENT != 0,
            priority: head[15],
        }
    }
}

/// A message inside a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The fixed head.
    pub head: RecordHead,
    /// Exchange and routing key as two short strings, as on the wire.
    pub route: &'a [u8],
    /// Property flags and fields, as sent.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    fn route_parts(&self) -> (&'a [u8], &'a [u8]) {
        let exchange_bytes = self.route.first().map_or(0, |length| usize::from(*length));
        let (exchange, key) = self.route.split_at((1 + exchange_bytes).min(self.route.len()));
        (exchange.get(1..).unwrap_or_default(), key.get(1..).unwrap_or_default())
    }

    /// The exchange it was published to.
    pub fn exchange(&self) -> &'a [u8] {
        self.route_parts().0
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &'a [u8] {
        self.route_parts().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back() {
        let head = RecordHead {
            body_bytes: 70_000,
            properties_bytes: 14,
            ttl_ms: Some(0),
            route: 513,
            persistent: true,
            priority: 9,
        };
        assert_eq!(RecordHead::decode(&head.encode()), head);
        assert_eq!(RecordHead::decode(&RecordHead::default().encode()), RecordHead::default());
        let long = RecordHead { ttl_ms: Some(315_360_000_000), ..head };
        assert_eq!(RecordHead::decode(&long.encode()), long);
    }

    #[test]
    fn a_route_splits_into_exchange_and_key() {
        let record =
            Record { head: RecordHead::default(), route: b"\x02ex\x03key", properties: &[0, 0], body: &[] };
        assert_eq!((record.exchange(), record.routing_key()), (&b"ex"[..], &b"key"[..]));
    }
}

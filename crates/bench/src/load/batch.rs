//! Publishes encoded ahead of time, to be written again and again.
//!
//! Invariant: every message of a batch has the same length, and at most the first message of a piece carries a
//! time stamp.

use crate::error::{Error, Result};
use crate::wire::encode::{self, Publish};
use crate::wire::{FRAME_HEAD_BYTES, FRAME_OVERHEAD_BYTES};

/// One write to the socket: large enough to make the system call cheap, small enough for the processor's cache.
const PIECE_BYTES: usize = 256 * 1024;
/// All keys must fit into the batch once; beyond this the generator itself would need too much memory.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;
const STAMP_BYTES: usize = 8;

/// What the messages of a batch have in common.
#[derive(Debug, Clone)]
pub struct Kind {
    pub exchange: String,
    pub persistent: bool,
    pub body_bytes: usize,
    pub frame_bytes_max: u32,
}

#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    message_bytes: usize,
    messages: usize,
    piece_msgs_max: usize,
    /// Where in a message the stamp stands; none when the body is too short for one.
    stamp_at: Option<usize>,
    next: usize,
    stamped: Option<usize>,
}

impl Batch {
    /// Messages to each of `keys` in turn. All keys must have one length.
    pub fn new(kind: &Kind, keys: &[String]) -> Result<Self> {
        let mut one = Vec::new();
        encode_one(&mut one, kind, keys.first().map_or("", String::as_str));
        let message_bytes = one.len();
        let rounds = (PIECE_BYTES / message_bytes / keys.len().max(1)).max(1);
        let messages = rounds * keys.len().max(1);
        if messages.saturating_mul(message_bytes) > BATCH_BYTES_MAX {
            return Err(Error::Input(format!(
                "{} keys of {message_bytes}-byte messages are too much",
                keys.len()
            )));
        }
        let mut bytes = Vec::with_capacity(messages * message_bytes);
        for _ in 0..rounds {
            for key in keys {
                encode_one(&mut bytes, kind, key);
            }
        }
        if bytes.len() != messages * message_bytes {
            return Err(Error::Input("routing keys of different lengths".into()));
        }
        let method_bytes = FRAME_OVERHEAD_BYTES + 4 + 2 + 1 + kind.exchange.len() + 1 + key_bytes(keys) + 1;
        let header_bytes = FRAME_OVERHEAD_BYTES + 14 + usize::from(kind.persistent);
        let stamp_at =
            (kind.body_bytes >= STAMP_BYTES).then_some(method_bytes + header_bytes + FRAME_HEAD_BYTES);
        let piece_msgs_max = (PIECE_BYTES / message_bytes).clamp(1, messages);
        Ok(Self { bytes, message_bytes, messages, piece_msgs_max, stamp_at, next: 0, stamped: None })
    }

    pub fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// The next messages, at most `msgs_max` of them (at least one), the first stamped; and their number.
    pub fn piece(&mut self, msgs_max: u64, stamp_ns: u64) -> (&[u8], u64) {
        if let Some(stamped) = self.stamped.take() {
            self.stamp(stamped, 0);
        }
        let msgs_max = usize::try_from(msgs_max).unwrap_or(usize::MAX).clamp(1, self.piece_msgs_max);
        let first = self.next;
        let count = msgs_max.min(self.messages - first);
        self.next = (first + count) % self.messages;
        self.stamp(first, stamp_ns);
        self.stamped = Some(first);
        let bytes = &self.bytes[first * self.message_bytes..(first + count) * self.message_bytes];
        (bytes, count as u64)
    }

    /// The next messages, at most `msgs_max` of them (at least one), their stamps numbers from `first` on; and how
    /// many they are. Without room for a stamp they have no numbers.
    pub fn numbered_piece(&mut self, msgs_max: u64, first: u64) -> (&[u8], u64) {
        let msgs_max = usize::try_from(msgs_max).unwrap_or(usize::MAX).clamp(1, self.piece_msgs_max);
        let begin = self.next;
        let count = msgs_max.min(self.messages - begin);
        self.next = (begin + count) % self.messages;
        for (message, number) in (begin..begin + count).zip(first..) {
            self.stamp(message, number);
        }
        (&self.bytes[begin * self.message_bytes..(begin + count) * self.message_bytes], count as u64)
    }

    /// Appends one stamped message to `out`.
    pub fn copy_one(&mut self, out: &mut Vec<u8>, stamp_ns: u64) {
        let (bytes, _) = self.piece(1, stamp_ns);
        out.extend_from_slice(bytes);
    }

    fn stamp(&mut self, message: usize, stamp_ns: u64) {
        if let Some(stamp_at) = self.stamp_at {
            let at = message * self.message_bytes + stamp_at;
            self.bytes[at..at + STAMP_BYTES].copy_from_slice(&stamp_ns.to_be_bytes());
        }
    }
}

fn key_bytes(keys: &[String]) -> usize {
    keys.first().map_or(0, String::len)
}

fn encode_one(out: &mut Vec<u8>, kind: &Kind, key: &str) {
    let mut body = vec![b'.'; kind.body_bytes];
    if kind.body_bytes >= STAMP_BYTES {
        body[..STAMP_BYTES].fill(0);
    }
    let message = Publish {
        channel: 1,
        exchange: &kind.exchange,
        routing_key: key,
        persistent: kind.persistent,
        frame_bytes_max: kind.frame_bytes_max,
    };
    encode::publish(out, &message, &body);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(body_bytes: usize) -> Kind {
        Kind { exchange: "ex".into(), persistent: true, body_bytes, frame_bytes_max: 131_072 }
    }

    fn keys(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("key{at:04}")).collect()
    }

    /// Splits a piece into messages and gives each one's routing key and stamp.
    fn parts(batch: &Batch, piece: &[u8]) -> Vec<(String, u64)> {
        let part = |message: &[u8]| {
            let key_at = 7 + 4 + 2 + 1 + 2 + 1;
            let body = &message[message.len() - 1 - 16..];
            let stamp = body[..8].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
            (String::from_utf8_lossy(&message[key_at..key_at + 7]).into_owned(), stamp)
        };
        piece.chunks(batch.message_bytes).map(part).collect()
    }

    #[test]
    fn only_the_first_message_of_a_piece_is_stamped() {
        let mut batch = Batch::new(&kind(16), &keys(3)).expect("equal keys");
        let reference = batch.clone();
        for (round, stamp_ns) in [77, 78, u64::MAX - 1].into_iter().enumerate() {
            let (piece, count) = batch.piece(5, stamp_ns);
            let found = parts(&reference, piece);
            assert_eq!(found.len() as u64, count);
            for (at, (key, stamp)) in found.iter().enumerate() {
                assert_eq!(*key, format!("key{:04}", (round * 5 + at) % 3));
                assert_eq!(*stamp, if at == 0 { stamp_ns } else { 0 });
            }
        }
    }

    #[test]
    fn numbers_go_on_from_piece_to_piece() {
        let mut batch = Batch::new(&kind(16), &keys(3)).expect("equal keys");
        let reference = batch.clone();
        let mut next = 1;
        for _ in 0..3 {
            let (piece, count) = batch.numbered_piece(u64::MAX, next);
            let numbers: Vec<u64> = parts(&reference, piece).into_iter().map(|(_, number)| number).collect();
            assert_eq!(numbers, (next..next + count).collect::<Vec<u64>>());
            next += count;
        }
    }

    #[test]
    fn pieces_go_round_and_stay_in_turn() {
        let mut batch = Batch::new(&kind(16), &keys(7)).expect("equal keys");
        let reference = batch.clone();
        let mut expected = 0;
        for _ in 0..10 {
            let (piece, count) = batch.piece(u64::MAX, 1);
            assert!(count > 1000 && piece.len() <= PIECE_BYTES);
            for (key, _) in parts(&reference, piece) {
                assert_eq!(key, format!("key{:04}", expected % 7));
                expected += 1;
            }
        }
    }

    #[test]
    fn a_message_larger_than_a_piece_is_a_piece() {
        let mut batch = Batch::new(&kind(1_000_000), &keys(2)).expect("equal keys");
        let (piece, count) = batch.piece(u64::MAX, 1);
        assert_eq!(count, 1);
        assert!(piece.len() > 1_000_000);
    }

    #[test]
    fn a_short_body_has_no_stamp() {
        let mut batch = Batch::new(&kind(7), &keys(1)).expect("equal keys");
        let before = batch.bytes.clone();
        batch.piece(10, u64::MAX);
        assert_eq!(batch.bytes, before);
    }

    #[test]
    fn what_cannot_be_a_batch_is_refused() {
        assert!(Batch::new(&kind(16), &["a".into(), "bb".into()]).is_err());
        assert!(Batch::new(&kind(1 << 20), &keys(1000)).is_err());
    }
}

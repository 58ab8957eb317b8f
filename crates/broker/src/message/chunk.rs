//! A chunk: the records of one batch of publishes, with the routes they were published with.
//!
//! Invariant: a chunk is immutable once built; `offsets` has one entry per record, ascending. The
//! bytes are what the log writes and mirrors get, so a message is copied once on its way in.
//!
//! On disk a chunk is its records, then a trailer with the routes and the counts, all little-endian:
//! ```text
//! +---------+----------------------------------+----------+----------+---------+-----------+
//! | records | per route: length u16, its bytes | records' | records' | routes' | version   |
//! |         |                                  | bytes u32| count u32| count   | u32 = 1   |
//! +---------+----------------------------------+----------+----------+---------+-----------+
//! ```

use super::record::{RECORD_HEAD_BYTES, Record, RecordHead};
use crate::codec::DecodeError;
use std::sync::{Arc, OnceLock};
use types::limits::CHUNK_SIZE_MAX_BYTES;

/// The version of the form above.
const CHUNK_VERSION: u32 = 1;
/// Bytes of the trailer behind the routes.
const TRAILER_END_BYTES: usize = 16;

/// Published messages, shared by all queues they were routed to.
#[derive(Debug)]
pub struct Chunk {
    data: Vec<u8>,
    offsets: Vec<u32>,
    routes: Vec<Arc<[u8]>>,
    uniform: bool,
    /// Whether every record is persistent, or none is.
    persistence: Persistence,
    trailer: OnceLock<Arc<[u8]>>,
}

/// Which records of a chunk are to survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// None.
    None,
    /// Those whose head says so.
    Some,
    /// Every one.
    All,
}

impl AsRef<[u8]> for Chunk {
    /// The records' bytes.
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Chunk {
    /// A chunk of the one message in `buffer`, which holds room for a record head, then properties
    /// and body as `head` says. The body is not copied.
    pub fn of_one(mut buffer: Vec<u8>, head: RecordHead, route: Arc<[u8]>) -> Chunk {
        debug_assert_eq!(buffer.len(), head.record_bytes());
        let head = RecordHead { route: 0, ..head };
        buffer[..RECORD_HEAD_BYTES].copy_from_slice(&head.encode());
        Chunk {
            data: buffer,
            offsets: vec![0],
            routes: vec![route],
            uniform: is_plain(&head),
            persistence: if head.persistent { Persistence::All } else { Persistence::None },
            trailer: OnceLock::new(),
        }
    }

    /// Which records are to survive a crash.
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// What follows the records' bytes on disk.
    pub fn trailer(&self) -> Arc<[u8]> {
        let make = || {
            let mut trailer = Vec::new();
            for route in &self.routes {
                trailer.extend_from_slice(&(route.len() as u16).to_le_bytes());
                trailer.extend_from_slice(route);
            }
            for number in [self.data.len(), self.offsets.len(), self.routes.len(), CHUNK_VERSION as usize] {
                trailer.extend_from_slice(&(number as u32).to_le_bytes());
            }
            trailer.into()
        };
        self.trailer.get_or_init(make).clone()
    }

    /// Appends the chunk as it is on disk.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.data);
        out.extend_from_slice(&self.trailer());
    }

    /// Reads a chunk from its bytes on disk.
    pub fn decode(mut bytes: Vec<u8>) -> Result<Chunk, DecodeError> {
        let wrong = |at: usize, reason: &'static str| DecodeError { at, reason: reason.into() };
        let end = bytes.len().checked_sub(TRAILER_END_BYTES).ok_or(wrong(bytes.len(), "chunk too short"))?;
        let number = |field: usize| {
            let at = end + 4 * field;
            bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes) as usize
        };
        let (data_bytes, records, route_count) = (number(0), number(1), number(2));
        if number(3) != CHUNK_VERSION as usize {
            return Err(wrong(end + 12, "chunk of another version"));
        }
        if data_bytes > end || records > data_bytes / RECORD_HEAD_BYTES || route_count > end / 2 {
            return Err(wrong(end, "chunk's counts do not fit"));
        }
        let mut routes = Vec::with_capacity(route_count);
        let mut at = data_bytes;
        for _ in 0..route_count {
            let length = bytes.get(at..at + 2).map(|two| usize::from(u16::from_le_bytes([two[0], two[1]])));
            let route = length.and_then(|length| bytes.get(at + 2..at + 2 + length));
            let route =
                route.filter(|route| at + 2 + route.len() <= end).ok_or(wrong(at, "route cut off"))?;
            routes.push(Arc::from(route));
            at += 2 + route.len();
        }
        if at != end {
            return Err(wrong(at, "bytes behind the routes"));
        }
        bytes.truncate(data_bytes);
        let mut summary = Summary::default();
        let mut offsets = Vec::with_capacity(records);
        let mut at = 0;
        for _ in 0..records {
            let raw = bytes[at..].first_chunk::<RECORD_HEAD_BYTES>().ok_or(wrong(at, "record cut off"))?;
            let head = RecordHead::decode(raw);
            if head.record_bytes() > data_bytes - at || usize::from(head.route) >= routes.len() {
                return Err(wrong(at, "record does not fit"));
            }
            summary.add(&head);
            offsets.push(at as u32);
            at += head.record_bytes();
        }
        if at != data_bytes {
            return Err(wrong(at, "bytes behind the records"));
        }
        Ok(summary.chunk(bytes, offsets, routes))
    }

    /// How many records there are.
    pub fn len(&self) -> u32 {
        self.offsets.len() as u32
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of all records.
    pub fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// All records' bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where `part`, a slice of this chunk's bytes, begins in them.
    pub fn offset_of(&self, part: &[u8]) -> Option<usize> {
        let offset = (part.as_ptr() as usize).checked_sub(self.data.as_ptr() as usize)?;
        (offset + part.len() <= self.data.len()).then_some(offset)
    }

    /// Whether no record has a priority or a time to live of its own.
    pub fn is_uniform(&self) -> bool {
        self.uniform
    }

    /// The head of record `ordinal`.
    #[inline]
    pub fn head(&self, ordinal: u32) -> RecordHead {
        let at = self.offsets[ordinal as usize] as usize;
        match self.data[at..].first_chunk::<RECORD_HEAD_BYTES>() {
            Some(head) => RecordHead::decode(head),
            None => RecordHead::default(),
        }
    }

    /// Record `ordinal`.
    #[inline]
    pub fn record(&self, ordinal: u32) -> Record<'_> {
        let head = self.head(ordinal);
        let start = self.offsets[ordinal as usize] as usize + RECORD_HEAD_BYTES;
        let (properties, rest) = self.data[start..].split_at(head.properties_bytes as usize);
        Record {
            head,
            route: &self.routes[usize::from(head.route)],
            properties,
            body: &rest[..head.body_bytes as usize],
        }
    }

    /// A chunk of its own with just these records, in this order.
    pub fn extract(&self, ordinals: impl Iterator<Item = u32> + Clone) -> Chunk {
        let bytes = ordinals.clone().map(|ordinal| self.head(ordinal).record_bytes()).sum();
        let mut builder = ChunkBuilder { data: Vec::with_capacity(bytes), ..ChunkBuilder::default() };
        ordinals.for_each(|ordinal| builder.take_over(self, ordinal));
        builder.finish()
    }

    /// A chunk of one message, copied to its own size.
    pub fn single(head: RecordHead, route: Arc<[u8]>, properties: &[u8], body: &[u8]) -> Chunk {
        let mut builder = ChunkBuilder::default();
        builder.push(head, &route, properties, body);
        builder.finish()
    }

    /// Body bytes of the records from `first` on.
    pub fn body_bytes(&self, first: u32, count: u32) -> u64 {
        (first..first + count).map(|ordinal| u64::from(self.head(ordinal).body_bytes)).sum()
    }
}

/// What a chunk knows of its records as a whole.
#[derive(Debug, Default)]
struct Summary {
    special: bool,
    persistent: bool,
    transient: bool,
}

impl Summary {
    #[inline]
    fn add(&mut self, head: &RecordHead) {
        self.special |= !is_plain(head);
        self.persistent |= head.persistent;
        self.transient |= !head.persistent;
    }

    fn chunk(self, data: Vec<u8>, offsets: Vec<u32>, routes: Vec<Arc<[u8]>>) -> Chunk {
        let persistence = match (self.persistent, self.transient) {
            (false, _) => Persistence::None,
            (true, true) => Persistence::Some,
            (true, false) => Persistence::All,
        };
        Chunk { data, offsets, routes, uniform: !self.special, persistence, trailer: OnceLock::new() }
    }
}

fn is_plain(head: &RecordHead) -> bool {
    head.ttl_ms.is_none() && head.priority == 0
}

/// Gathers publishes into a chunk.
#[derive(Debug, Default)]
pub struct ChunkBuilder {
    data: Vec<u8>,
    offsets: Vec<u32>,
    routes: Vec<Arc<[u8]>>,
    summary: Summary,
    /// Many records are expected: room for a whole chunk is taken at once.
    roomy: bool,
}

impl ChunkBuilder {
    /// A builder that expects full chunks.
    pub fn roomy() -> ChunkBuilder {
        ChunkBuilder { roomy: true, ..ChunkBuilder::default() }
    }

    /// How many records it holds.
    pub fn len(&self) -> u32 {
        self.offsets.len() as u32
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of the records it holds.
    pub fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// Whether the next record should go into a new chunk.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.data.len() >= CHUNK_SIZE_MAX_BYTES || self.routes.len() >= usize::from(u16::MAX)
    }

    /// Appends a record; `head`'s lengths and route are set here. Gives its ordinal.
    #[inline]
    pub fn push(&mut self, head: RecordHead, route: &Arc<[u8]>, properties: &[u8], body: &[u8]) -> u32 {
        let same = self.routes.last().is_some_and(|last| Arc::ptr_eq(last, route));
        if !same {
            self.routes.push(route.clone());
        }
        let head = RecordHead {
            body_bytes: body.len() as u32,
            properties_bytes: properties.len() as u32,
            route: (self.routes.len() - 1) as u16,
            ..head
        };
        self.summary.add(&head);
        if self.roomy && self.data.capacity() == 0 {
            self.data.reserve(CHUNK_SIZE_MAX_BYTES + CHUNK_SIZE_MAX_BYTES / 32);
        }
        let ordinal = self.offsets.len() as u32;
        self.offsets.push(self.data.len() as u32);
        self.data.reserve(head.record_bytes());
        self.data.extend_from_slice(&head.encode());
        self.data.extend_from_slice(properties);
        self.data.extend_from_slice(body);
        ordinal
    }

    /// Appends a record of whatever chunk. A route like the last one's is not kept again.
    pub fn copy(&mut self, record: &Record<'_>) -> u32 {
        let known = self.routes.last().filter(|last| ***last == *record.route).cloned();
        let route = known.unwrap_or_else(|| record.route.into());
        self.push(record.head, &route, record.properties, record.body)
    }

    /// Appends record `ordinal` of another chunk. A route like the last one's is not kept again.
    pub fn take_over(&mut self, chunk: &Chunk, ordinal: u32) {
        let record = chunk.record(ordinal);
        let known = self.routes.last().filter(|last| ***last == *record.route).cloned();
        let route = known.unwrap_or_else(|| chunk.routes[usize::from(record.head.route)].clone());
        self.push(record.head, &route, record.properties, record.body);
    }

    /// The chunk, and an empty builder again. A small chunk is copied to its own size, so that it
    /// pins no more memory than it needs.
    pub fn finish(&mut self) -> Chunk {
        let data = if self.data.len() * 2 >= self.data.capacity() {
            std::mem::take(&mut self.data)
        } else {
            let data = self.data.as_slice().to_vec();
            self.data.clear();
            data
        };
        let offsets = self.offsets.as_slice().to_vec();
        self.offsets.clear();
        std::mem::take(&mut self.summary).chunk(data, offsets, std::mem::take(&mut self.routes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_pushed() {
        let mut builder = ChunkBuilder::default();
        let (a, b): (Arc<[u8]>, Arc<[u8]>) = (Arc::from(&b"\0\x01a"[..]), Arc::from(&b"\0\x01b"[..]));
        builder.push(RecordHead::default(), &a, &[0, 0], b"one");
        builder.push(RecordHead { priority: 3, ..Default::default() }, &b, &[8, 0, 3], b"");
        builder.push(RecordHead { persistent: true, ..Default::default() }, &b, &[0, 0], b"three");
        let chunk = builder.finish();
        assert_eq!(chunk.len(), 3);
        assert!(!chunk.is_uniform());
        assert_eq!(chunk.record(0).body, b"one");
        assert_eq!(chunk.record(0).routing_key(), b"a");
        assert_eq!(chunk.record(1).properties, [8, 0, 3]);
        assert_eq!((chunk.record(2).body, chunk.record(2).routing_key()), (&b"three"[..], &b"b"[..]));
        assert!(chunk.record(2).head.persistent);
        assert_eq!(chunk.body_bytes(0, 3), 8);
        assert!(builder.is_empty() && builder.finish().is_empty());
    }

    #[test]
    fn a_chunk_comes_back_from_disk_and_damage_is_refused() {
        let mut builder = ChunkBuilder::default();
        let (a, b): (Arc<[u8]>, Arc<[u8]>) = (Arc::from(&b"\0\x01a"[..]), Arc::from(&b"\x01e\x01b"[..]));
        builder.push(RecordHead { persistent: true, ..Default::default() }, &a, &[0, 0], b"one");
        builder.push(RecordHead { ttl_ms: Some(9), ..Default::default() }, &b, &[8, 0, 3], b"");
        let chunk = builder.finish();
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes);
        let back = Chunk::decode(bytes.clone()).unwrap();
        assert_eq!((back.data(), back.len()), (chunk.data(), 2));
        assert_eq!((back.is_uniform(), back.persistence()), (false, Persistence::Some));
        assert_eq!(back.record(1).route, &b[..]);
        for length in 0..bytes.len() {
            assert!(Chunk::decode(bytes[..length].to_vec()).is_err(), "cut at {length}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                // Bodies may differ, nothing may panic and no record may reach beyond its chunk.
                if let Ok(chunk) = Chunk::decode(damaged) {
                    (0..chunk.len()).for_each(|ordinal| drop(chunk.record(ordinal).body.to_vec()));
                }
            }
        }
    }

    #[test]
    fn a_chunk_of_one_keeps_the_buffer() {
        let mut buffer = vec![0; RECORD_HEAD_BYTES];
        buffer.extend_from_slice(&[0, 0]);
        buffer.extend_from_slice(b"body");
        let head = RecordHead { body_bytes: 4, properties_bytes: 2, route: 9, ..Default::default() };
        let chunk = Chunk::of_one(buffer, head, Arc::from(&b"\0\0"[..]));
        assert_eq!(chunk.record(0).body, b"body");
        assert_eq!(chunk.record(0).head.route, 0);
    }
}

//! A chunk: the records of one batch of publishes, with the routes they were published with.
//!
//! Invariant: a chunk is immutable once built; `offsets` has one entry per record, ascending. The
//! bytes are what the log writes and mirrors get, so a message is copied once on its way in.

use super::record::{RECORD_HEAD_BYTES, Record, RecordHead};
use std::sync::Arc;
use types::limits::CHUNK_SIZE_MAX_BYTES;

/// Published messages, shared by all queues they were routed to.
#[derive(Debug)]
pub struct Chunk {
    data: Vec<u8>,
    offsets: Vec<u32>,
    routes: Vec<Arc<[u8]>>,
    uniform: bool,
}

impl Chunk {
    /// A chunk of the one message in `buffer`, which holds room for a record head, then properties
    /// and body as `head` says. The body is not copied.
    pub fn of_one(mut buffer: Vec<u8>, head: RecordHead, route: Arc<[u8]>) -> Chunk {
        debug_assert_eq!(buffer.len(), head.record_bytes());
        let head = RecordHead { route: 0, ..head };
        buffer[..RECORD_HEAD_BYTES].copy_from_slice(&head.encode());
        Chunk { data: buffer, offsets: vec![0], routes: vec![route], uniform: is_plain(&head) }
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

    /// Body bytes of the records from `first` on.
    pub fn body_bytes(&self, first: u32, count: u32) -> u64 {
        (first..first + count).map(|ordinal| u64::from(self.head(ordinal).body_bytes)).sum()
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
    special: bool,
}

impl ChunkBuilder {
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
        self.special |= !is_plain(&head);
        if self.data.capacity() == 0 {
            self.data.reserve(CHUNK_SIZE_MAX_BYTES + CHUNK_SIZE_MAX_BYTES / 4);
        }
        let ordinal = self.offsets.len() as u32;
        self.offsets.push(self.data.len() as u32);
        self.data.reserve(head.record_bytes());
        self.data.extend_from_slice(&head.encode());
        self.data.extend_from_slice(properties);
        self.data.extend_from_slice(body);
        ordinal
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
        let uniform = !std::mem::take(&mut self.special);
        Chunk { data, offsets, routes: std::mem::take(&mut self.routes), uniform }
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

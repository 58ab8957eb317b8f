//! The types that openraft is put together with.
//!
//! Invariant: what is agreed on is bytes here; only the state machine reads them.

use bytes::Bytes;
use openraft::{EmptyNode, Entry, EntryPayload};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io::Cursor;

use super::proposal::Answers;

openraft::declare_raft_types!(
    /// Nodes by id, entries as bytes, answers as the catalog's outcomes.
    pub Types:
        D = Payload,
        R = Answers,
        NodeId = u64,
        Node = EmptyNode,
        Entry = Entry<Types>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Meta = openraft::SnapshotMeta<u64, EmptyNode>;
pub(crate) type Membership = openraft::StoredMembership<u64, EmptyNode>;
pub(crate) type LogEntry = Entry<Types>;
pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type Metrics = openraft::RaftMetrics<u64, EmptyNode>;

/// An entry's own bytes: changes of the catalog, see `proposal`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        deserializer.deserialize_bytes(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl Visitor<'_> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Payload, E> {
        Ok(Payload(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Payload, E> {
        Ok(Payload(Bytes::from(bytes)))
    }
}

/// What an entry takes in memory and on the way, about.
pub(crate) fn entry_bytes(entry: &LogEntry) -> usize {
    const HEAD_BYTES: usize = 64;
    match &entry.payload {
        EntryPayload::Normal(payload) => HEAD_BYTES + payload.0.len(),
        EntryPayload::Blank => HEAD_BYTES,
        EntryPayload::Membership(membership) => HEAD_BYTES + 16 * membership.nodes().count(),
    }
}

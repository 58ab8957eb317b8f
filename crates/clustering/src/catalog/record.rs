//! Records of the cluster's log in a node's write-ahead log, drawn in `docs/internals/cluster-log.md`.
//!
//! A record is a version byte, a kind byte, and the kind's fields in postcard. Checksums are the write-ahead
//! log's, around whole batches.
//!
//! Invariant: a record says all that it means by itself; bytes that are not one whole record of a known
//! version and kind are refused, never guessed at.

use super::raft::{LogEntry, LogId, Meta, Vote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// First byte of each record.
const FORMAT: u8 = 1;

/// Which cluster this node is a member of, as which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The cluster.
    pub cluster: u128,
    /// The node whose data directory this is.
    pub node: u64,
}

/// The one vote of a node on who forms a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// Who is to form it.
    pub founder: u64,
    /// The cluster's id.
    pub cluster: u128,
}

/// A catalog at some entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) meta: Meta,
    pub(crate) data: super::raft::Payload,
}

/// Everything that is in the log, for the record that makes earlier ones superfluous.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Whole {
    pub(crate) membership: Option<Membership>,
    pub(crate) ballot: Option<Ballot>,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) entries: Vec<LogEntry>,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// The node becomes a member.
    Member(Membership),
    /// The node votes on who forms a cluster.
    Ballot(Ballot),
    /// A vote on the leader.
    Vote(Vote),
    /// One more entry.
    Entry(LogEntry),
    /// This entry and all behind it are gone.
    Truncate(LogId),
    /// This entry and all before it are gone.
    Purge(LogId),
    /// Entries up to this one are known to be committed.
    Committed(Option<LogId>),
    /// All of it. Only as a snapshot of the write-ahead log.
    Whole(Box<Whole>),
}

const MEMBER: u8 = 1;
const BALLOT: u8 = 2;
const VOTE: u8 = 3;
const ENTRY: u8 = 4;
const TRUNCATE: u8 = 5;
const PURGE: u8 = 6;
const COMMITTED: u8 = 7;
const WHOLE: u8 = 8;

impl Record {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        match self {
            Record::Member(row) => encode(MEMBER, row),
            Record::Ballot(row) => encode(BALLOT, row),
            Record::Vote(vote) => encode(VOTE, vote),
            Record::Entry(entry) => encode(ENTRY, entry),
            Record::Truncate(id) => encode(TRUNCATE, id),
            Record::Purge(id) => encode(PURGE, id),
            Record::Committed(id) => encode(COMMITTED, id),
            Record::Whole(whole) => encode(WHOLE, &**whole),
        }
    }

    /// Reads what [`Record::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Record, String> {
        let (kind, body) = match bytes {
            [FORMAT, kind, body @ ..] => (*kind, body),
            [other, ..] if *other != FORMAT => {
                return Err(format!("a record of format {other}, known is format {FORMAT}"));
            }
            _ => return Err("a record without a kind".to_owned()),
        };
        Ok(match kind {
            MEMBER => Record::Member(decode("membership", body)?),
            BALLOT => Record::Ballot(decode("ballot", body)?),
            VOTE => Record::Vote(decode("vote", body)?),
            ENTRY => Record::Entry(decode("entry", body)?),
            TRUNCATE => Record::Truncate(decode("truncation", body)?),
            PURGE => Record::Purge(decode("purge", body)?),
            COMMITTED => Record::Committed(decode("committed entry", body)?),
            WHOLE => Record::Whole(Box::new(decode("whole log", body)?)),
            other => return Err(format!("a record of the unknown kind {other}")),
        })
    }
}

fn encode(kind: u8, body: &impl Serialize) -> Result<Vec<u8>, String> {
    postcard::to_extend(body, vec![FORMAT, kind])
        .map_err(|error| format!("a record of kind {kind} cannot be written: {error}"))
}

fn decode<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{what}: {} bytes are left over", rest.len())),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

//! Why a node does not link with another, in words, and how often that is logged.
//!
//! Invariant: one address fills no log: each kind of trouble with it is one line in ten seconds.

use crate::identity::{ClusterId, WIRE_VERSION, WireVersion};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use types::limits::{LINK_REFUSAL_LOG_COUNT_MAX, LINK_REFUSAL_LOG_SECONDS};

/// Why one side does not go on. Sent sealed; new kinds only at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The side that refuses belongs to this other cluster.
    OtherCluster(ClusterId),
    /// The side that refuses speaks this version.
    Version(WireVersion),
    /// Two nodes have one id.
    SameId(u64),
    /// A node met itself.
    Myself,
    /// The side that refuses does not know the other one as a member, yet or any more.
    Unknown,
    /// There is a link already.
    Duplicate,
    /// At the address is another node than the one that was looked for, which is named here.
    OtherNode(u64),
    /// In words.
    Other(String),
}

impl Refusal {
    /// It is no trouble: it happens when nodes start or learn of each other.
    pub fn is_quiet(&self) -> bool {
        matches!(self, Refusal::Myself | Refusal::Unknown | Refusal::Duplicate)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OtherCluster(cluster) => {
                write!(f, "the nodes belong to different clusters (the one that refuses: {:032x})", cluster.0)
            }
            Refusal::Version(wire) => {
                let WireVersion { major, minor } = wire;
                write!(
                    f,
                    "the versions of what is spoken between nodes do not fit (it speaks {major}.{minor})"
                )
            }
            Refusal::SameId(id) => {
                write!(f, "two nodes have the id {id:016x}: one has a copy of the other's data directory")
            }
            Refusal::Myself => f.write_str("it is this node itself"),
            Refusal::Unknown => f.write_str("it does not know this node as a member of the cluster"),
            Refusal::Duplicate => f.write_str("there is a link already"),
            Refusal::OtherNode(id) => write!(f, "another node was looked for at the address, {id:016x}"),
            Refusal::Other(text) => f.write_str(text),
        }
    }
}

/// Why a handshake came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The two do not have the same secret.
    WrongSecret,
    /// What was said is no handshake of a node.
    Garbage(String),
    /// The other side speaks another major version.
    Version(WireVersion),
    /// TLS failed: a certificate, most likely.
    Tls(String),
    /// This side refused the other, whose name this is.
    Refused(String, Refusal),
    /// The other side, whose name this is, refused this one.
    RefusedByPeer(String, Refusal),
    /// The connection could not be made, broke or took too long.
    Io(String),
}

impl HandshakeError {
    /// Worth a line for the operator.
    fn is_loud(&self) -> bool {
        match self {
            HandshakeError::Refused(_, refusal) | HandshakeError::RefusedByPeer(_, refusal) => {
                !refusal.is_quiet()
            }
            HandshakeError::Io(_) => false,
            _ => true,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            HandshakeError::WrongSecret => 0,
            HandshakeError::Garbage(_) => 1,
            HandshakeError::Version(_) => 2,
            HandshakeError::Tls(_) => 3,
            HandshakeError::Refused(..) => 4,
            HandshakeError::RefusedByPeer(..) => 5,
            HandshakeError::Io(_) => 6,
        }
    }
}

impl From<std::io::Error> for HandshakeError {
    fn from(error: std::io::Error) -> HandshakeError {
        // TLS tells of refused certificates while the first bytes are read.
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => HandshakeError::Tls(tls.to_string()),
            None => HandshakeError::Io(error.to_string()),
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::WrongSecret => {
                f.write_str("the two nodes do not have the same secret: compare their cluster-secret-file")
            }
            HandshakeError::Garbage(what) => write!(f, "it does not speak as a node of a cluster: {what}"),
            HandshakeError::Version(wire) => {
                let (theirs, ours) = (wire, WIRE_VERSION);
                let (WireVersion { major, minor }, WireVersion { major: our_major, minor: our_minor }) =
                    (theirs, ours);
                write!(
                    f,
                    "it speaks version {major}.{minor} between nodes, this node {our_major}.{our_minor}"
                )?;
                f.write_str(": update the older one")
            }
            HandshakeError::Tls(what) => write!(f, "TLS failed: {what}"),
            HandshakeError::Refused(name, refusal) => write!(f, "{name} was refused: {refusal}"),
            HandshakeError::RefusedByPeer(name, refusal) => write!(f, "{name} refused this node: {refusal}"),
            HandshakeError::Io(what) => f.write_str(what),
        }
    }
}

/// An address, seen as the one who connects or is dialled, and what was wrong.
type Trouble = (IpAddr, u16, u8);

/// Logs trouble with other nodes, not too often.
#[derive(Default)]
pub(crate) struct RefusalLog {
    last: Mutex<HashMap<Trouble, Instant>>,
}

impl RefusalLog {
    /// The handshake with who connected from `addr`, on whatever port, failed.
    pub(crate) fn accepted(&self, addr: SocketAddr, error: &HandshakeError) {
        if self.is_due((addr.ip(), 0, error.kind()), error, Instant::now()) {
            tracing::warn!("the node at {addr} gets no link: {error}");
        } else {
            tracing::debug!("the node at {addr} gets no link: {error}");
        }
    }

    /// The handshake with `addr`, which this node dialled, failed.
    pub(crate) fn dialled(&self, addr: SocketAddr, error: &HandshakeError) {
        if self.is_due((addr.ip(), addr.port(), error.kind()), error, Instant::now()) {
            tracing::warn!("no link to the node at {addr}: {error}");
        } else {
            tracing::debug!("no link to the node at {addr}: {error}");
        }
    }

    fn is_due(&self, trouble: Trouble, error: &HandshakeError, now: Instant) -> bool {
        if !error.is_loud() {
            return false;
        }
        let pause = Duration::from_secs(LINK_REFUSAL_LOG_SECONDS);
        let mut last = self.last.lock();
        if last.get(&trouble).is_some_and(|at| now.saturating_duration_since(*at) < pause) {
            return false;
        }
        if last.len() >= LINK_REFUSAL_LOG_COUNT_MAX {
            last.retain(|_, at| now.saturating_duration_since(*at) < pause);
        }
        // With so many addresses at once, new ones are not told of.
        if last.len() >= LINK_REFUSAL_LOG_COUNT_MAX {
            return false;
        }
        last.insert(trouble, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each_address_and_trouble_in_ten_seconds() {
        let log = RefusalLog::default();
        let start = Instant::now();
        let addr = |at: u8| IpAddr::from([127, 0, 0, at]);
        let due = |at: u8, error: &HandshakeError, s: u64| {
            log.is_due((addr(at), 0, error.kind()), error, start + Duration::from_secs(s))
        };
        let garbage = HandshakeError::Garbage(String::new());
        assert!(due(1, &HandshakeError::WrongSecret, 0));
        assert!(!due(1, &HandshakeError::WrongSecret, 9));
        assert!(due(2, &HandshakeError::WrongSecret, 9));
        assert!(due(1, &garbage, 9));
        assert!(due(1, &HandshakeError::WrongSecret, 10));
        assert!(!due(3, &HandshakeError::Io(String::new()), 0));
        assert!(!due(3, &HandshakeError::Refused(String::new(), Refusal::Duplicate), 0));
        assert!(due(3, &HandshakeError::Refused(String::new(), Refusal::SameId(1)), 0));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let log = RefusalLog::default();
        let now = Instant::now();
        for at in 0..3 * LINK_REFUSAL_LOG_COUNT_MAX as u32 {
            let trouble = (IpAddr::from(at.to_be_bytes()), 0, 0);
            log.is_due(trouble, &HandshakeError::WrongSecret, now);
        }
        assert_eq!(log.last.lock().len(), LINK_REFUSAL_LOG_COUNT_MAX);
        let later = now + Duration::from_secs(LINK_REFUSAL_LOG_SECONDS);
        assert!(log.is_due((IpAddr::from([9; 4]), 0, 0), &HandshakeError::WrongSecret, later));
        assert_eq!(log.last.lock().len(), 1);
    }
}

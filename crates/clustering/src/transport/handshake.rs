//! How two nodes get to know each other on a new connection.
//!
//! The one who dials says hello, the other one answers with its own. From both come the keys. Then, sealed:
//! the dialler tells who it is; the other side tells who it is and whether it goes on; the dialler tells
//! whether it goes on. A side that cannot open the first seal answers with four zero bytes, so that both know
//! that their secrets differ. Inside TLS the same is said, with keys that also hang on the TLS session.
//!
//! Invariant: nothing is told of a node before the other side has proved that it knows the secret, but its
//! version; who refuses says why, and the other side gets to read it.

use super::hello::{HELLO_BYTES, LinkClass, OwnHello, PeerHello};
use super::record::{HEAD_BYTES, OVERHEAD_BYTES, Opener, Record, RecordError, Sealer, TAG_BYTES};
use super::refusal::{HandshakeError, Refusal};
use crate::identity::{ClusterId, NodeIdentity};
use crate::secret::ClusterSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use types::limits::LINK_HANDSHAKE_MESSAGE_MAX_BYTES;

/// How long the side that refused waits for the other one to have read why.
const PARTING: Duration = Duration::from_millis(500);
/// What stands in place of a record when the other side's did not open.
const SECRET_DIFFERS: [u8; HEAD_BYTES] = [0; HEAD_BYTES];
/// First byte of what a TLS server or client sends.
const TLS_RECORD_TYPES: [u8; 2] = [0x15, 0x16];

/// What both sides know of each other after a handshake.
pub(crate) struct Agreed {
    pub(crate) peer: NodeIdentity,
    pub(crate) class: LinkClass,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

/// Whether a node may have a link of a class.
pub type Admit<'a> = &'a (dyn Fn(&NodeIdentity, LinkClass) -> Result<(), Refusal> + Send + Sync);

/// What one side brings to a handshake.
pub(crate) struct Side<'a> {
    pub(crate) me: &'a NodeIdentity,
    pub(crate) secret: &'a ClusterSecret,
    /// Bytes that only this TLS session has; none without TLS.
    pub(crate) session: &'a [u8],
}

impl Side<'_> {
    /// The dialler's part; `expect` is the id of the node that should be there.
    pub(crate) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        class: LinkClass,
        expect: Option<u64>,
    ) -> Result<Agreed, HandshakeError> {
        let hello = OwnHello::new(self.me.wire, class)?;
        stream.write_all(&hello.bytes).await?;
        stream.flush().await?;
        let theirs = self.hello(stream).await?;
        if theirs.class != class {
            return Err(HandshakeError::Garbage("it answers for another class of link".to_owned()));
        }
        let wire = theirs.wire;
        let keys = hello.keys(&theirs, true, self.secret, self.session)?;
        let mut sealer = Sealer::new(keys.from_dialler).map_err(seal_failed)?;
        let mut opener = Opener::new(keys.to_dialler).map_err(seal_failed)?;
        send(stream, &mut sealer, self.me).await?;
        let (peer, refused): (NodeIdentity, Option<Refusal>) = receive(stream, &mut opener).await?;
        if let Some(refusal) = refused {
            return Err(HandshakeError::RefusedByPeer(peer.name, refusal));
        }
        if peer.wire != wire {
            return Err(HandshakeError::Garbage("it says two versions".to_owned()));
        }
        let verdict = match expect {
            Some(node) if peer.id != node => Err(Refusal::OtherNode(node)),
            _ => self.fits(&peer),
        };
        send(stream, &mut sealer, &verdict.as_ref().err()).await?;
        if let Err(refusal) = verdict {
            part(stream).await;
            return Err(HandshakeError::Refused(peer.name, refusal));
        }
        Ok(Agreed { peer, class, sealer, opener })
    }

    /// The part of the one who was dialled.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        admit: Admit<'_>,
    ) -> Result<Agreed, HandshakeError> {
        let theirs = match self.hello(stream).await {
            Ok(theirs) => theirs,
            Err(HandshakeError::Version(wire)) => {
                // Its beginning is the same in all versions: the dialler sees that they do not fit.
                let hello = OwnHello::new(self.me.wire, LinkClass::Control)?;
                stream.write_all(&hello.bytes).await?;
                part(stream).await;
                return Err(HandshakeError::Version(wire));
            }
            Err(error) => return Err(error),
        };
        let class = theirs.class;
        let wire = theirs.wire;
        let hello = OwnHello::new(self.me.wire, class)?;
        let hello_bytes = hello.bytes;
        let keys = hello.keys(&theirs, false, self.secret, self.session)?;
        stream.write_all(&hello_bytes).await?;
        stream.flush().await?;
        let mut sealer = Sealer::new(keys.to_dialler).map_err(seal_failed)?;
        let mut opener = Opener::new(keys.from_dialler).map_err(seal_failed)?;
        let peer: NodeIdentity = match receive(stream, &mut opener).await {
            Ok(peer) => peer,
            Err(HandshakeError::WrongSecret) => {
                stream.write_all(&SECRET_DIFFERS).await?;
                part(stream).await;
                return Err(HandshakeError::WrongSecret);
            }
            Err(error) => return Err(error),
        };
        if peer.wire != wire {
            return Err(HandshakeError::Garbage("it says two versions".to_owned()));
        }
        let refusal = self.fits(&peer).and_then(|()| admit(&peer, class)).err();
        let answer = (self.me, &refusal);
        send(stream, &mut sealer, &answer).await?;
        if let Some(refusal) = refusal {
            part(stream).await;
            return Err(HandshakeError::Refused(peer.name, refusal));
        }
        let refused: Option<Refusal> = receive(stream, &mut opener).await?;
        match refused {
            Some(refusal) => Err(HandshakeError::RefusedByPeer(peer.name, refusal)),
            None => Ok(Agreed { peer, class, sealer, opener }),
        }
    }

    async fn hello<S: AsyncRead + Unpin>(&self, stream: &mut S) -> Result<PeerHello, HandshakeError> {
        let mut bytes = [0; HELLO_BYTES];
        stream.read_exact(&mut bytes[..1]).await?;
        // Such a peer would wait for an answer and never send a whole hello.
        if self.session.is_empty() && TLS_RECORD_TYPES.contains(&bytes[0]) {
            let text = "it speaks TLS, and TLS between nodes is not set up here";
            return Err(HandshakeError::Garbage(text.to_owned()));
        }
        stream.read_exact(&mut bytes[1..8]).await?;
        // Before the rest, which another version may have cut differently.
        PeerHello::check(&bytes, self.me.wire)?;
        stream.read_exact(&mut bytes[8..]).await?;
        PeerHello::read(bytes, self.me.wire)
    }

    /// Whether the two can be nodes of one cluster.
    fn fits(&self, peer: &NodeIdentity) -> Result<(), Refusal> {
        let none = ClusterId::default();
        if peer.wire.major != self.me.wire.major {
            return Err(Refusal::Version(self.me.wire));
        }
        if peer.id == self.me.id {
            let is_this_process = peer.boot == self.me.boot;
            return Err(if is_this_process { Refusal::Myself } else { Refusal::SameId(peer.id) });
        }
        if peer.cluster != self.me.cluster && peer.cluster != none && self.me.cluster != none {
            return Err(Refusal::OtherCluster(self.me.cluster));
        }
        Ok(())
    }
}

fn seal_failed(error: RecordError) -> HandshakeError {
    HandshakeError::Io(error.to_string())
}

async fn send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    sealer: &mut Sealer,
    message: &impl Serialize,
) -> Result<(), HandshakeError> {
    let plain = postcard::to_allocvec(message).map_err(|error| HandshakeError::Io(error.to_string()))?;
    if plain.len() > LINK_HANDSHAKE_MESSAGE_MAX_BYTES {
        return Err(HandshakeError::Io(
            "this node has too much to say of itself: its name is too long".to_owned(),
        ));
    }
    let mut record = vec![0; plain.len() + OVERHEAD_BYTES];
    sealer.seal(&plain, &mut record).map_err(seal_failed)?;
    stream.write_all(&record).await?;
    stream.flush().await?;
    Ok(())
}

async fn receive<S: AsyncRead + Unpin, T: DeserializeOwned>(
    stream: &mut S,
    opener: &mut Opener,
) -> Result<T, HandshakeError> {
    let mut bytes = vec![0; HEAD_BYTES];
    stream.read_exact(&mut bytes).await?;
    if bytes == SECRET_DIFFERS {
        return Err(HandshakeError::WrongSecret);
    }
    let length = bytes.first_chunk().map_or(0, |head| u32::from_le_bytes(*head) as usize);
    if length > LINK_HANDSHAKE_MESSAGE_MAX_BYTES {
        return Err(HandshakeError::Garbage(format!("a message of {length} bytes")));
    }
    bytes.resize(HEAD_BYTES + length + TAG_BYTES, 0);
    stream.read_exact(&mut bytes[HEAD_BYTES..]).await?;
    let incomplete = || HandshakeError::Garbage("a message is not whole".to_owned());
    let record = Record::first(&bytes).map_err(|_| incomplete())?.ok_or_else(incomplete)?;
    let mut plain = vec![0; record.plain_bytes()];
    opener.open(&record, &mut plain).map_err(|_| HandshakeError::WrongSecret)?;
    let (message, _) = postcard::take_from_bytes(&plain)
        .map_err(|error| HandshakeError::Garbage(format!("a message cannot be read: {error}")))?;
    Ok(message)
}

/// Lets the other side read what was sent last: closing at once could take it away.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let all = async {
        stream.flush().await?;
        stream.shutdown().await?;
        let mut rest = [0; 64];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    let _ = tokio::time::timeout(PARTING, all).await;
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;

//! What passes between nodes in gossip, before it is sealed.
//!
//! A body is a kind byte and either a packet of the failure detector (0) or a note (1), both in postcard's form.
//!
//! Invariant: an id speaks with one voice: of two that use it, the higher rank (generation, then boot) is heard.

use crate::identity::{ClusterId, NodeIdentity};
use foca::{Codec, Header, Member, PostcardCodec};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// First byte of a packet of the failure detector.
const KIND_SWIM: u8 = 0;
/// First byte of a note.
const KIND_NOTE: u8 = 1;

/// A node as the failure detector knows it: its identity and how often it had to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Speaker {
    /// What the node says of itself.
    pub identity: NodeIdentity,
    /// Begins with the wall clock's milliseconds, so that a later start of a process is higher; grows each time
    /// the node comes back after it was declared down, and with each change of its identity.
    pub generation: u64,
}

impl Speaker {
    /// Stands for whoever is at an address.
    pub fn anybody_at(addr: SocketAddr, own: &NodeIdentity) -> Speaker {
        let identity = NodeIdentity {
            id: 0,
            name: String::new(),
            cluster: ClusterId(0),
            boot: 0,
            wire: own.wire,
            version: String::new(),
            addr,
        };
        Speaker { identity, generation: 0 }
    }

    /// Decides between two that use one id.
    pub fn rank(&self) -> (u64, u64) {
        (self.generation, self.identity.boot)
    }

    /// The sender of notes.
    pub fn signature(&self) -> Signature {
        Signature { node: self.identity.id, boot: self.identity.boot, generation: self.generation }
    }
}

impl foca::Identity for Speaker {
    type Addr = u64;

    fn renew(&self) -> Option<Speaker> {
        Some(Speaker { identity: self.identity.clone(), generation: self.generation.saturating_add(1) })
    }

    fn addr(&self) -> u64 {
        self.identity.id
    }

    fn win_addr_conflict(&self, adversary: &Speaker) -> bool {
        self.rank() >= adversary.rank()
    }
}

/// Who sent a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signature {
    /// The node.
    pub node: u64,
    /// The start of its process.
    pub boot: u64,
    /// Its generation.
    pub generation: u64,
}

/// How new a node's facts are: `born` is the generation with which its process began to tell facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FactVersion {
    /// Orders the starts of a process.
    pub born: u64,
    /// Counts within one.
    pub count: u64,
}

/// A node's facts on their way. The bytes are passed on as they are, also by who cannot read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FactItem {
    /// Whose facts.
    pub node: u64,
    /// The start of its process.
    pub boot: u64,
    /// How new they are.
    pub version: FactVersion,
    /// The facts.
    pub bytes: Vec<u8>,
}

/// What nodes tell each other besides the failure detector's packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// Facts of the sender or of others.
    Facts { from: Signature, items: Vec<FactItem> },
    /// Which facts the sender has; `complete`: there are no others. An `answer` is not answered by a digest.
    Digest { from: Signature, have: Vec<(u64, FactVersion)>, complete: bool, answer: bool },
    /// The sender goes, on purpose.
    Leave { from: Signature },
    /// To a node whose id is known with a higher rank: the generation it must exceed to be heard.
    Outranked { to: Signature, generation: u64 },
}

/// The body of a datagram.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// Bytes for the failure detector.
    Swim(&'a [u8]),
    /// A note.
    Note(Note),
}

/// Takes a body apart; none when it is not one.
pub(crate) fn open(body: &[u8]) -> Option<Body<'_>> {
    match body.split_first()? {
        (&KIND_SWIM, rest) => Some(Body::Swim(rest)),
        (&KIND_NOTE, rest) => postcard::from_bytes(rest).ok().map(Body::Note),
        _ => None,
    }
}

/// The body that carries a packet of the failure detector.
pub(crate) fn swim_body(packet: &[u8]) -> Vec<u8> {
    [&[KIND_SWIM], packet].concat()
}

/// The body that carries a note.
pub(crate) fn note_body(note: &Note) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(note, vec![KIND_NOTE])
}

/// A packet of the failure detector, read in order to be judged before it is handed on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packet {
    /// From whom, to whom, what about.
    pub header: Header<Speaker>,
    /// What the sender says of others; none when the packet has no such list.
    pub members: Option<Vec<Member<Speaker>>>,
}

impl Packet {
    /// Reads a packet; none when it is not one.
    pub fn read(mut bytes: &[u8]) -> Option<Packet> {
        let header = PostcardCodec.decode_header(&mut bytes).ok()?;
        let Some((count, mut rest)) = bytes.split_first_chunk::<2>() else {
            return bytes.is_empty().then_some(Packet { header, members: None });
        };
        let mut members = Vec::new();
        for _ in 0..u16::from_be_bytes(*count) {
            members.push(PostcardCodec.decode_member(&mut rest).ok()?);
        }
        rest.is_empty().then_some(Packet { header, members: Some(members) })
    }

    /// The packet's bytes.
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        PostcardCodec.encode_header(&self.header, &mut bytes).ok()?;
        if let Some(members) = &self.members {
            bytes.extend_from_slice(&u16::try_from(members.len()).ok()?.to_be_bytes());
            for member in members {
                PostcardCodec.encode_member(member, &mut bytes).ok()?;
            }
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::WIRE_VERSION;
    use foca::{Identity, Message, State};

    fn speaker(id: u64, generation: u64, boot: u64) -> Speaker {
        let identity = NodeIdentity {
            id,
            name: format!("rabbit@host{id}"),
            cluster: ClusterId(5),
            boot,
            wire: WIRE_VERSION,
            version: "0.1.0".to_owned(),
            addr: "127.0.0.1:25672".parse().unwrap(),
        };
        Speaker { identity, generation }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_later_start_or_return_outranks() {
        let first = speaker(1, 100, 7);
        assert!(speaker(1, 101, 3).win_addr_conflict(&first));
        assert!(!first.win_addr_conflict(&speaker(1, 101, 3)));
        let back = first.renew().unwrap();
        assert!(back.win_addr_conflict(&first) && !first.win_addr_conflict(&back));
        assert_eq!(back.identity, first.identity);
    }

    #[test]
    fn packets_are_written_as_they_were_read() {
        let header = Header {
            src: speaker(1, 100, 7),
            src_incarnation: 3,
            dst: speaker(2, 90, 8),
            message: Message::PingReq { target: speaker(3, 80, 9), probe_number: 4 },
        };
        let members = vec![Member::new(speaker(4, 70, 1), 2, State::Suspect), Member::down(speaker(5, 1, 1))];
        for members in [None, Some(Vec::new()), Some(members)] {
            let packet = Packet { header: header.clone(), members };
            let bytes = packet.write().unwrap();
            assert_eq!(Packet::read(&bytes).as_ref(), Some(&packet));
            for length in 0..bytes.len() {
                let cut = Packet::read(&bytes[..length]);
                assert!(cut.is_none_or(|cut| cut.members.is_none()), "{length} of {} bytes", bytes.len());
            }
        }
    }

    #[test]
    fn the_form_of_packets_and_notes_stays() {
        let header = Header {
            src: speaker(1, 100, 7),
            src_incarnation: 3,
            dst: speaker(2, 90, 8),
            message: Message::Ping(4),
        };
        let packet = Packet { header, members: Some(vec![Member::down(speaker(5, 1, 1))]) };
        assert_eq!(
            hex(&swim_body(&packet.write().unwrap())),
            concat!(
                "00010c72616262697440686f7374310507010005302e312e30007f000001c8c801640302",
                "0c72616262697440686f7374320508010005302e312e30007f000001c8c8015a00040001",
                "050c72616262697440686f7374350501010005302e312e30007f000001c8c801010002"
            )
        );
        let from = speaker(1, 100, 7).signature();
        let version = FactVersion { born: 100, count: 2 };
        let item = FactItem { node: 1, boot: 7, version, bytes: b"facts".to_vec() };
        let notes = [
            Note::Facts { from, items: vec![item] },
            Note::Digest { from, have: vec![(1, version)], complete: true, answer: false },
            Note::Leave { from },
            Note::Outranked { to: from, generation: 300 },
        ];
        let text: Vec<String> = notes.iter().map(|note| hex(&note_body(note).unwrap())).collect();
        assert_eq!(
            text,
            ["01000107640101076402056661637473", "0101010764010164020100", "0102010764", "0103010764ac02"]
        );
        for note in notes {
            let body = note_body(&note).unwrap();
            assert!(matches!(open(&body), Some(Body::Note(read)) if read == note));
        }
        assert!(open(&[]).is_none() && open(&[2, 0]).is_none() && open(&[KIND_NOTE, 200]).is_none());
    }
}

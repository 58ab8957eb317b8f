//! Which packets the failure detector gets to see, and which names in them.
//!
//! Invariant: it hears only nodes of this node's cluster (or of none yet), of the same wire version, each id from
//! the process that ranks highest, and nothing about this node itself but doubts of its present life.

use super::wire::{Packet, Speaker};
use crate::identity::{ClusterId, NodeIdentity};
use foca::Message;

/// What to do with a packet.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Hand it on.
    Hear,
    /// It is for an earlier life of this node: its sender has to hear of the present one.
    Outdated(Speaker),
    /// Its sender's id is known with a higher rank, of this generation.
    Outranked(Speaker, u64),
    /// It is of another cluster.
    OtherCluster(NodeIdentity),
    /// It is of a build that this one cannot understand.
    OtherWire(NodeIdentity),
    /// It is this node's own, or for somebody else.
    Ignore,
}

/// What is known where the packet arrives.
pub(crate) struct Gate<'a, K: Fn(u64) -> Option<&'a Speaker>> {
    /// This node.
    pub own: &'a Speaker,
    /// Who uses an id, as far as the failure detector knows.
    pub known: K,
    /// Nodes that are not known yet may be added.
    pub room: bool,
}

impl<'a, K: Fn(u64) -> Option<&'a Speaker>> Gate<'a, K> {
    /// Judges a packet and takes out of it what must not be heard. The second value is a generation that this node has to exceed: somebody else used its id.
    pub fn judge(&self, packet: &mut Packet) -> (Verdict, Option<u64>) {
        let (own, src) = (self.own, &packet.header.src);
        if src.identity.id == own.identity.id || src.identity.id == 0 {
            return (Verdict::Ignore, None);
        }
        if src.identity.wire.major != own.identity.wire.major {
            return (Verdict::OtherWire(src.identity.clone()), None);
        }
        if !may_meet(src.identity.cluster, own.identity.cluster) {
            return (Verdict::OtherCluster(src.identity.clone()), None);
        }
        match (self.known)(src.identity.id) {
            Some(known) if known.rank() > src.rank() => {
                return (Verdict::Outranked(src.clone(), known.generation), None);
            }
            None if !self.room => return (Verdict::Ignore, None),
            _ => {}
        }
        let is_announce = packet.header.message == Message::Announce;
        if packet.header.dst.identity.id == 0 && is_announce {
            packet.header.dst = own.clone();
        }
        if packet.header.dst.identity.id != own.identity.id {
            return (Verdict::Ignore, None);
        }
        if packet.header.dst != *own && !is_announce {
            return (Verdict::Outdated(packet.header.src.clone()), None);
        }
        (Verdict::Hear, self.sift(packet))
    }

    /// Takes out the names that must not be heard.
    fn sift(&self, packet: &mut Packet) -> Option<u64> {
        let own = self.own;
        let mut exceed = None;
        for member in packet.members.iter().flatten() {
            let speaker = member.id();
            if speaker.identity.id == own.identity.id && speaker != own && speaker.rank() > own.rank() {
                exceed = exceed.max(Some(speaker.generation));
            }
        }
        if let Some(members) = &mut packet.members {
            members.retain(|member| self.may_be_named(member.id()));
        }
        exceed
    }

    fn may_be_named(&self, speaker: &Speaker) -> bool {
        let identity = &speaker.identity;
        if identity.id == self.own.identity.id {
            return speaker == self.own;
        }
        identity.id != 0
            && identity.wire.major == self.own.identity.wire.major
            && may_meet(identity.cluster, self.own.identity.cluster)
            && (self.room || (self.known)(identity.id).is_some())
    }
}

/// Whether nodes of these clusters belong together: a node of none yet may meet any.
pub(crate) fn may_meet(one: ClusterId, other: ClusterId) -> bool {
    one == other || one == ClusterId(0) || other == ClusterId(0)
}

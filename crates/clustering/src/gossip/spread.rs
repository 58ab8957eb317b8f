//! Notes between nodes: facts are pushed when they change and compared from time to time, nodes say that they go
//! or that somebody's id is known with a higher rank.
//!
//! Invariant: notes are heard from nodes that are there, in their present process only.

use super::effects::Effects;
use super::facts::NodeFacts;
use super::sealed::OVERHEAD_BYTES;
use super::swim::{Due, Swim};
use super::wire::{self, FactItem, FactVersion, Note, Signature, Speaker};
use rand::RngExt;
use std::net::SocketAddr;
use std::time::Duration;
use types::limits::GOSSIP_PACKET_MAX_BYTES;

/// Nodes that changed facts are pushed to; the others get them when facts are compared.
const PUSH_MAX: usize = 16;
/// Nodes named in one digest: each takes at most 25 bytes.
const DIGEST_MAX: usize = 40;
/// What an item takes besides its bytes, and a note besides its items, at most.
const ITEM_BYTES: usize = 48;
const NOTE_BYTES: usize = 48;

impl Swim {
    /// What this node tells of itself from now on.
    ///
    /// # Errors
    /// When the facts are too long; the old ones stay.
    pub fn set_facts(&mut self, facts: &NodeFacts, now: Duration, out: &mut Effects) -> Result<(), String> {
        let bytes = facts.encode()?;
        if bytes != self.told.bytes {
            self.told.bytes = bytes;
            self.tell_again(now, out);
        }
        Ok(())
    }

    /// Gives this node's facts a new version and pushes them, not too often.
    pub(super) fn tell_again(&mut self, now: Duration, out: &mut Effects) {
        if self.told.bytes.is_empty() {
            return;
        }
        self.told.count += 1;
        let (node, boot) = (self.me().id, self.me().boot);
        let version = FactVersion { born: self.born, count: self.told.count };
        self.facts.take(FactItem { node, boot, version, bytes: self.told.bytes.clone() });
        let next = self.told.pushed_at.map_or(now, |at| at + self.periods.push);
        if next <= now {
            self.push_facts(now, out);
        } else if !self.told.is_due {
            self.told.is_due = true;
            self.timers.push(next, Due::Push);
        }
    }

    pub(super) fn push_facts(&mut self, now: Duration, out: &mut Effects) {
        self.told.is_due = false;
        self.told.pushed_at = Some(now);
        let Some(item) = self.facts.item(self.me().id).cloned() else { return };
        for addr in self.some_members(PUSH_MAX) {
            self.send_items(addr, vec![item.clone()], out);
        }
    }

    /// Tells somebody who is new what this node has, and so asks for what it has not.
    pub(super) fn greet(&mut self, speaker: &Speaker, now: Duration, out: &mut Effects) {
        let addr = speaker.identity.addr;
        // It may not know this node yet, and then would not listen.
        self.call(now, out, |detector, sink| detector.announce(speaker.clone(), sink));
        if let Some(item) = self.facts.item(self.me().id).cloned() {
            self.send_items(addr, vec![item], out);
        }
        self.send_digest(addr, false, out);
    }

    /// Compares facts with one of the others.
    pub(super) fn compare_facts(&mut self, out: &mut Effects) {
        for addr in self.some_members(1) {
            self.send_digest(addr, false, out);
        }
    }

    fn send_digest(&mut self, addr: SocketAddr, answer: bool, out: &mut Effects) {
        let mut have = self.facts.versions();
        let complete = have.len() <= DIGEST_MAX;
        self.choose(&mut have, DIGEST_MAX);
        let note = Note::Digest { from: self.signature(), have, complete, answer };
        self.send_note(addr, &note, out);
    }

    fn send_items(&mut self, addr: SocketAddr, items: Vec<FactItem>, out: &mut Effects) {
        let room = GOSSIP_PACKET_MAX_BYTES - OVERHEAD_BYTES - NOTE_BYTES;
        let mut packet = Vec::new();
        let mut bytes = 0;
        for item in items {
            let item_bytes = item.bytes.len() + ITEM_BYTES;
            if bytes + item_bytes > room && !packet.is_empty() {
                let note = Note::Facts { from: self.signature(), items: std::mem::take(&mut packet) };
                self.send_note(addr, &note, out);
                bytes = 0;
            }
            bytes += item_bytes;
            packet.push(item);
        }
        if !packet.is_empty() {
            self.send_note(addr, &Note::Facts { from: self.signature(), items: packet }, out);
        }
    }

    pub(super) fn send_note(&mut self, addr: SocketAddr, note: &Note, out: &mut Effects) {
        match wire::note_body(note) {
            Ok(body) => out.send.push((addr, body)),
            Err(error) => {
                self.stats.errors += 1;
                tracing::debug!(%error, "gossip: a note cannot be written");
            }
        }
    }

    fn signature(&self) -> Signature {
        self.detector.identity().signature()
    }

    /// Addresses of up to `count` of the others that are there, by chance.
    fn some_members(&mut self, count: usize) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> =
            self.detector.iter_members().map(|member| member.id().identity.addr).collect();
        self.choose(&mut all, count);
        all
    }

    /// Keeps `count` of a list, by chance.
    fn choose<T>(&mut self, list: &mut Vec<T>, count: usize) {
        if list.len() > count {
            for place in 0..count {
                let chosen = self.rng.random_range(place..list.len());
                list.swap(place, chosen);
            }
            list.truncate(count);
        }
    }

    /// A note has come.
    pub(super) fn note(&mut self, note: Note, now: Duration, out: &mut Effects) {
        match note {
            Note::Outranked { to, generation } => {
                if to == self.signature() {
                    self.raise(generation, now, out);
                }
            }
            Note::Leave { from } => self.left(from, now, out),
            Note::Facts { from, items } => {
                if self.listens_to(from).is_some() {
                    self.take_items(items, out);
                }
            }
            Note::Digest { from, have, complete, answer } => {
                let Some(addr) = self.listens_to(from) else { return };
                self.outdo(&have, now, out);
                let items = self.facts.newer_than(&have, complete);
                self.send_items(addr, items, out);
                let lacks = |(node, version): &(u64, FactVersion)| {
                    self.roster.get(*node).is_some() && self.facts.version(*node) < Some(*version)
                };
                if !answer && have.iter().any(lacks) {
                    self.send_digest(addr, true, out);
                }
            }
        }
    }

    /// Versions this node's facts above those that somebody has of it: of a process before it, as its clock was
    /// set back, or damaged.
    fn outdo(&mut self, have: &[(u64, FactVersion)], now: Duration, out: &mut Effects) {
        let own = self.me().id;
        let Some(version) = self.facts.version(own) else { return };
        let above =
            have.iter().filter(|(node, known)| *node == own && *known > version).map(|(_, known)| known.born);
        if let Some(above) = above.max() {
            self.born = self.born.max(above.saturating_add(1));
            self.tell_again(now, out);
        }
    }

    fn take_items(&mut self, items: Vec<FactItem>, out: &mut Effects) {
        let own = self.me().id;
        for item in items {
            let (node, Some(entry)) = (item.node, self.roster.get(item.node)) else { continue };
            let boot = entry.speaker.identity.boot;
            let shown = self.facts.of(node, boot).cloned();
            if node != own && self.facts.take(item) {
                out.changed |= self.facts.of(node, boot) != shown.as_ref();
            }
        }
    }

    /// The address of a note's sender, when it is somebody who is there.
    fn listens_to(&self, from: Signature) -> Option<SocketAddr> {
        let mut members = self.detector.iter_members().map(|member| &member.id().identity);
        members
            .find(|identity| (identity.id, identity.boot) == (from.node, from.boot))
            .map(|identity| identity.addr)
    }

    /// Tells a node that its id is known with a higher rank.
    pub(super) fn tell_outranked(&mut self, sender: &Speaker, generation: u64, out: &mut Effects) {
        self.stats.outranked += 1;
        let note = Note::Outranked { to: sender.signature(), generation };
        self.send_note(sender.identity.addr, &note, out);
    }
}

//! How the others know this node: it comes back after it was called down, changes what it says of itself, and
//! goes.
//!
//! Invariant: each change of the identity has a higher generation than all that the others have heard of.

use super::effects::{Effects, Oddity};
use super::gate::may_meet;
use super::swim::{Due, Swim};
use super::wire::{Note, Speaker};
use crate::identity::NodeIdentity;
use std::net::SocketAddr;
use std::time::Duration;
use types::limits;

/// Times in `RAISE_WINDOW` that this node claims its id from another process.
const RAISES_MAX: u32 = 5;
const RAISE_WINDOW: Duration = Duration::from_secs(10);
/// A leave is said so often, with this pause.
const LEAVE_COUNT: u32 = 3;
const LEAVE_PAUSE: Duration = Duration::from_millis(20);
impl Swim {
    /// This node has a new generation: the failure detector starts again, and everybody hears of it at once.
    pub(super) fn reappear(&mut self, now: Duration, out: &mut Effects) {
        self.call(now, out, |detector, sink| detector.apply_many(std::iter::empty(), true, sink));
        let all: Vec<Speaker> = self.roster.iter().map(|entry| entry.speaker.clone()).collect();
        for speaker in all {
            self.call(now, out, |detector, sink| detector.announce(speaker, sink));
        }
    }

    /// Takes a generation above the one given, with which another process uses this node's id.
    pub(super) fn raise(&mut self, above: u64, now: Duration, out: &mut Effects) {
        let own = self.detector.identity();
        if above < own.generation {
            return;
        }
        if now.saturating_sub(self.raises.0) >= RAISE_WINDOW {
            self.raises = (now, 0);
        }
        self.raises.1 += 1;
        if self.raises.1 > 1 {
            out.oddities.push(Oddity::SameId { identity: own.identity.clone() });
        }
        if self.raises.1 > RAISES_MAX {
            return;
        }
        let raised = Speaker { identity: own.identity.clone(), generation: above.saturating_add(1) };
        self.born = self.born.max(raised.generation);
        self.change_identity(raised, now, out);
        self.tell_again(now, out);
    }

    pub(super) fn change_identity(&mut self, speaker: Speaker, now: Duration, out: &mut Effects) {
        self.call(now, out, |detector, sink| detector.change_identity(speaker, sink));
        self.reappear(now, out);
        self.settle(now, out);
    }

    /// This node says something else of itself: its name, address or cluster.
    ///
    /// # Errors
    /// When the new identity cannot be used; the old one stays.
    pub fn set_me(&mut self, me: NodeIdentity, now: Duration, out: &mut Effects) -> Result<(), String> {
        let own = self.detector.identity();
        if own.identity == me || self.has_left {
            return Ok(());
        }
        check_identity(&me)?;
        if (me.id, me.boot) != (own.identity.id, own.identity.boot) {
            return Err(format!("the node id or boot changed to {} and {} while running", me.id, me.boot));
        }
        let cluster = me.cluster;
        let generation = own.generation.saturating_add(1);
        // Members of other clusters learn from the next answer that this node is none of theirs.
        self.drop_members(|speaker| !may_meet(speaker.identity.cluster, cluster), now, out);
        self.change_identity(Speaker { identity: me, generation }, now, out);
        Ok(())
    }

    /// Says that this node goes, and is silent from then on.
    pub fn leave(&mut self, now: Duration, out: &mut Effects) {
        if self.has_left {
            return;
        }
        self.call(now, out, |detector, sink| detector.leave_cluster(sink));
        self.has_left = true;
        self.timers.retain(|_| false);
        self.say_leave(LEAVE_COUNT, now, out);
    }

    pub(super) fn say_leave(&mut self, count: u32, now: Duration, out: &mut Effects) {
        let note = Note::Leave { from: self.detector.identity().signature() };
        let all: Vec<SocketAddr> = self.roster.iter().map(|entry| entry.speaker.identity.addr).collect();
        for addr in all {
            self.send_note(addr, &note, out);
        }
        if count > 1 {
            self.timers.push(now + LEAVE_PAUSE, Due::Leave(count - 1));
        }
    }
}

/// Refuses an identity that others cannot use.
pub(super) fn check_identity(me: &NodeIdentity) -> Result<(), String> {
    if me.id == 0 {
        return Err("the node id is 0: it must be another number".to_owned());
    }
    for (key, text, max) in [
        ("node name", &me.name, limits::NODE_NAME_MAX_BYTES),
        ("node version", &me.version, limits::NODE_VERSION_MAX_BYTES),
    ] {
        if text.len() > max {
            return Err(format!(
                "the {key} is '{text}': it has {} bytes, at most {max} are allowed",
                text.len()
            ));
        }
    }
    if me.addr.ip().is_unspecified() || me.addr.port() == 0 {
        return Err(format!("the node's address is {}: other nodes cannot reach it there", me.addr));
    }
    Ok(())
}

//! The product's gossip, driven by the play's time.
//!
//! Invariant: like the product's thread, a node that was held up hears what came before it looks at the time.

use crate::machine::{Machine, Process};
use crate::world::{Node, World};
use clustering::gossip::{Effects, Liveness, Swim};
use std::time::Duration;
use types::NodeId;

impl Node {
    /// Has the node's gossip do something, and does what follows.
    pub fn swim(&self, act: impl FnOnce(&mut Swim, Duration, &mut Effects)) {
        let now = self.world.now();
        let done = self.with(|process, _| {
            let mut out = Effects::default();
            act(&mut process.swim, now, &mut out);
            (out, process.addr)
        });
        let Some((out, addr)) = done else { return };
        for (to, body) in out.send {
            self.world.send_packet(self.place, addr, to, body);
        }
        self.plan();
    }

    /// Has the gossip called when it wants to be.
    fn plan(&self) {
        let now = self.world.now();
        let at = self.with(|process, _| {
            let at = process.swim.next_at()?.max(now);
            let is_new = process.swim_at.is_none_or(|planned| at < planned || planned < now);
            is_new.then(|| *process.swim_at.insert(at))
        });
        let Some(Some(at)) = at else { return };
        let node = self.clone();
        self.world.schedule.after(at.saturating_sub(now), move || node.time_is(at));
    }

    fn time_is(&self, at: Duration) {
        let is_due = self.with(|process, _| {
            let is_due = process.swim_at == Some(at) && !process.is_paused;
            if is_due {
                process.swim_at = None;
            }
            is_due
        });
        if is_due == Some(true) {
            self.swim(|swim, now, out| swim.time(now, out));
        }
    }

    /// The node goes on after it stood still.
    pub fn resume(&self) {
        let inbox = self.with(|process, _| {
            process.is_paused = false;
            process.swim_at = None;
            std::mem::take(&mut process.inbox)
        });
        inbox.into_iter().flatten().for_each(|act| act());
        self.swim(|swim, now, out| swim.time(now, out));
        self.world.schedule.resume(self.process);
    }

    /// Whether a member answers in any way, as the node knows it.
    pub fn answers(&self, node: NodeId) -> bool {
        self.with(|process, _| is_up(process, node) || process.links.contains_key(&node)) == Some(true)
    }
}

fn is_up(process: &Process, node: NodeId) -> bool {
    let members = process.swim.members();
    members.iter().any(|member| member.identity.node() == node && member.state == Liveness::Up)
}

impl World {
    /// Which running node does not show which other one as up, in its present start; None when all do.
    pub fn disagreement(&self) -> Option<String> {
        let machines = self.machines.borrow();
        let running: Vec<(&Machine, &Process)> =
            machines.iter().filter_map(|machine| Some((machine, machine.process.as_ref()?))).collect();
        for (viewer, process) in &running {
            let members = process.swim.members();
            for (machine, other) in running.iter().filter(|(_, other)| other.id != process.id) {
                let shown = members.iter().find(|member| member.identity.node() == machine.disk.node);
                let is_up = |member: &&clustering::gossip::SwimMember| {
                    member.identity.boot == other.boot && member.state == Liveness::Up
                };
                if shown.filter(is_up).is_none() {
                    return Some(format!("{} shows {} as {shown:?}", viewer.name, machine.name));
                }
            }
        }
        None
    }
}

//! A member looks after itself and the others: the product's judgement, with the play's links and gossip.
//!
//! Invariant: nothing is decided here.

use crate::bug::Bug;
use crate::machine::row;
use crate::network::{Reply, Request};
use crate::world::Node;
use clustering::gossip::Liveness;
use clustering::node::judgement::{self, Leading};
use std::time::Duration;
use types::NodeId;
use types::limits::{CLUSTER_LOOK_MS, CLUSTER_LOST_AFTER_MS, CLUSTER_REDISCOVER_MS};

/// How long a node that is asked who it is may take, milliseconds.
const PROBE_MS: u64 = 2_000;

impl Node {
    /// Looks after things for as long as the process runs.
    pub async fn watch(self) -> Option<()> {
        let mut leading = Leading::default();
        let mut searched_at = Duration::ZERO;
        let mut has_told = false;
        loop {
            self.sleep(CLUSTER_LOOK_MS / 2, CLUSTER_LOOK_MS).await;
            self.follow_gossip()?;
            let now = self.world.now();
            self.tend_own_row(&mut has_told).await?;
            self.tell_of_lost(&mut leading, now).await?;
            self.drop_strangers(&mut leading, now)?;
            if now.saturating_sub(searched_at) >= Duration::from_millis(CLUSTER_REDISCOVER_MS) {
                searched_at = now;
                self.search().await?;
            }
        }
    }

    fn follow_gossip(&self) -> Option<()> {
        self.with(|process, _| {
            let members = process.swim.members().into_iter();
            let up = members.filter(|member| {
                member.state == Liveness::Up && process.catalog.nodes.contains_key(&member.identity.node())
            });
            let moved: Vec<_> = up.map(|member| (member.identity.node(), member.identity.addr)).collect();
            process.peers.extend(moved);
        })
    }

    async fn tend_own_row(&self, has_told: &mut bool) -> Option<()> {
        let me = row(&self.identity()?);
        let change = self.with(|process, _| judgement::own_row(&me, &process.catalog, process.leader))?;
        let Some(change) = change.filter(|_| !(*has_told && self.world.has(Bug::RowPutOnce))) else {
            return Some(());
        };
        *has_told = true;
        // The next look tries again.
        let _ = self.propose(change).await?;
        Some(())
    }

    async fn tell_of_lost(&self, leading: &mut Leading, now: Duration) -> Option<()> {
        let (me, leader, catalog) =
            self.with(|process, disk| (disk.node, process.leader, process.catalog.clone()))?;
        let times = (now, Duration::from_millis(CLUSTER_LOST_AFTER_MS));
        for node in leading.lost(me, &catalog, leader, |node| self.answers(node), times) {
            self.say(|| format!("node {} does not answer", node.id));
            let _ = self.propose(judgement::loss(&node)).await?;
        }
        Some(())
    }

    /// The leader takes those out of the group whose place another node took.
    fn drop_strangers(&self, leading: &mut Leading, now: Duration) -> Option<()> {
        if self.world.has(Bug::DeadVotersStay) {
            return Some(());
        }
        let (me, leader, cluster, catalog) =
            self.with(|process, disk| (disk.node, process.leader, disk.cluster, process.catalog.clone()))?;
        let Some(cluster) = cluster else { return Some(()) };
        let mut registers = self.world.registers.borrow_mut();
        let Some(register) = registers.get_mut(&cluster.0).filter(|it| it.leader == Some(me)) else {
            return Some(());
        };
        let members: Vec<NodeId> = register.added.iter().copied().collect();
        for node in leading.strangers(me, &catalog, leader, &members, now) {
            register.added.remove(&node);
            register.ready.remove(&node);
            self.world.say(|| format!("cluster {}: node {node} is taken out of the group", cluster.0));
        }
        Some(())
    }

    async fn search(&self) -> Option<()> {
        let (me, catalog) = self.with(|process, disk| (disk.node, process.catalog.clone()))?;
        let is_missing =
            |id: &NodeId| *id != me && self.with(|process, _| process.links.contains_key(id)) == Some(false);
        if !catalog.nodes.keys().any(is_missing) {
            return Some(());
        }
        for addr in self.resolve() {
            self.swim(|swim, now, out| swim.add_seed(addr, now, out));
            if let Some(Reply::Identity(node)) = self.call(addr, Request::Probe, PROBE_MS).await
                && catalog.nodes.contains_key(&node.node())
            {
                self.know(node.node(), addr);
            }
        }
        Some(())
    }
}

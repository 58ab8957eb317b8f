//! What a member concludes from what it knows of itself and the others.
//!
//! Invariant: only the catalog's leader declares a node lost, only one that has not answered in any way for as
//! long as the operator has set, and only the start of it that the catalog knows; only the leader walks queues'
//! copies to what is wanted of them. No clock, no network: what is known comes in, and what is to be proposed goes
//! out, so that it can be played from seeds.

use broker::catalog::copies::{self, CopyChange};
use broker::catalog::{Catalog, Command, Node};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use types::NodeId;
use types::limits::{CLUSTER_STRANGER_AFTER_MS, COPY_STEPS_MAX};

/// The change by which the catalog has this start of the node, at its address, as one that is up. None when it
/// has, when the node is no member, and while nobody leads. `me`: the row as it should be.
pub fn own_row(me: &Node, catalog: &Catalog, leader: Option<NodeId>) -> Option<Command> {
    let known = catalog.nodes.get(&me.id).filter(|_| catalog.is_cluster())?;
    (**known != *me && leader.is_some()).then(|| Command::PutNode { node: me.clone() })
}

/// The change by which everybody knows that a node does not run any more.
pub fn loss(node: &Node) -> Command {
    Command::NodeLost { id: node.id, boot: node.boot }
}

/// Since when something has been so, by node.
#[derive(Debug, Default)]
struct Since(BTreeMap<NodeId, Duration>);

impl Since {
    /// Those of `nodes` that have been among them each time for so long.
    fn for_long(&mut self, nodes: &[NodeId], now: Duration, long: Duration) -> Vec<NodeId> {
        self.0.retain(|id, _| nodes.contains(id));
        let is_long = |id: &&NodeId| now.saturating_sub(*self.0.entry(**id).or_insert(now)) >= long;
        nodes.iter().filter(is_long).copied().collect()
    }
}

/// What the leader of the catalog remembers of the others from look to look.
#[derive(Debug, Default)]
pub struct Leading {
    silent: Since,
    strange: Since,
    /// The catalog's version whose steps of queues' copies were given.
    walked: Option<u64>,
}

impl Leading {
    /// Members that have not answered for `lost_after` or longer and still count as running; nobody, unless `me`
    /// is the `leader`. `answers`: whether a node is known to be there at this moment; `now`: counted from any
    /// origin, the same each time.
    pub fn lost(
        &mut self,
        me: NodeId,
        catalog: &Catalog,
        leader: Option<NodeId>,
        answers: impl Fn(NodeId) -> bool,
        (now, lost_after): (Duration, Duration),
    ) -> Vec<Arc<Node>> {
        let members = catalog.nodes.values().filter(|node| node.id != me && node.up && leader == Some(me));
        let silent: Vec<NodeId> = members.map(|node| node.id).filter(|id| !answers(*id)).collect();
        let lost = self.silent.for_long(&silent, now, lost_after);
        lost.iter().filter_map(|id| catalog.nodes.get(id)).cloned().collect()
    }

    /// Nodes that still get the catalog's changes, and may vote on them, although they are no members any more:
    /// another took their place, or forgetting them was not seen through. None of them, unless `me` is the
    /// `leader`; and none before it has been for a while, since a new leader may not have applied yet what made
    /// them members. `group`: who gets the changes; `now` as above.
    pub fn strangers(
        &mut self,
        me: NodeId,
        catalog: &Catalog,
        leader: Option<NodeId>,
        group: &[NodeId],
        now: Duration,
    ) -> Vec<NodeId> {
        let is_strange = |id: &&NodeId| leader == Some(me) && !catalog.nodes.contains_key(*id);
        let strange: Vec<NodeId> =
            group.iter().filter(|_| catalog.is_cluster()).filter(is_strange).copied().collect();
        self.strange.for_long(&strange, now, Duration::from_millis(CLUSTER_STRANGER_AFTER_MS))
    }

    /// Steps that bring queues' copies to what is wanted of them, no more than one change of the catalog holds; none,
    /// unless `me` is the `leader`. They are given once: more of them only when the catalog is another one, or after
    /// `walk_again`.
    pub fn copy_steps(&mut self, me: NodeId, catalog: &Catalog, leader: Option<NodeId>) -> Vec<CopyChange> {
        if leader != Some(me) {
            self.walk_again();
            return Vec::new();
        }
        if self.walked.replace(catalog.version) == Some(catalog.version) {
            return Vec::new();
        }
        copies::next_steps(catalog, COPY_STEPS_MAX)
    }

    /// The steps could not be agreed on.
    pub fn walk_again(&mut self) {
        self.walked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::catalog::copies::CopyStep;
    use types::{ConnectionId, FieldTable, FieldValue};

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const NOBODY: [u64; 0] = [];

    fn node(id: u64, up: bool) -> Node {
        let (name, addr) = (format!("n{id}"), String::new());
        Node { id: NodeId(id), name, addr, boot: 10 * id, up, feature_level: 1 }
    }

    fn catalog() -> Catalog {
        let mut catalog = Catalog::new();
        let mut apply = |command| drop(catalog.apply(command, &mut Vec::new()).unwrap());
        apply(Command::FormCluster { cluster: 1, node: node(1, true) });
        (2..=4).for_each(|id| apply(Command::PutNode { node: node(id, id != 4) }));
        catalog
    }

    #[test]
    fn a_row_that_is_not_right_is_put_once_somebody_leads() {
        let (catalog, leader) = (catalog(), Some(NodeId(1)));
        assert_eq!(own_row(&node(2, true), &catalog, leader), None);
        let moved = Node { addr: "elsewhere".into(), ..node(2, true) };
        assert_eq!(own_row(&moved, &catalog, leader), Some(Command::PutNode { node: moved.clone() }));
        assert_eq!(own_row(&moved, &catalog, None), None, "nobody to tell");
        assert!(own_row(&node(4, true), &catalog, leader).is_some(), "it is back");
        assert_eq!(own_row(&node(5, true), &catalog, leader), None, "no member");
        assert_eq!(own_row(&node(2, true), &Catalog::new(), leader), None, "no cluster");
    }

    #[test]
    fn the_leader_declares_lost_who_is_silent_for_long_enough() {
        let catalog = catalog();
        let mut leading = Leading::default();
        let mut look = |now, leader: u64, there: &[u64]| {
            let answers = |id: NodeId| there.contains(&id.0);
            let lost = leading.lost(NodeId(1), &catalog, Some(NodeId(leader)), answers, (MS(now), MS(200)));
            lost.iter().map(|node| node.id.0).collect::<Vec<_>>()
        };
        assert_eq!(look(0, 1, &[2, 3]), NOBODY, "4 is known to be lost");
        assert_eq!(look(100, 1, &[2]), NOBODY);
        assert_eq!(look(299, 1, &[2]), NOBODY);
        assert_eq!(look(300, 1, &[2]), [3]);
        assert_eq!(look(350, 1, &[2]), [3], "until the catalog says so");
        assert_eq!(look(400, 1, &[2, 3]), NOBODY, "it answers");
        assert_eq!(look(500, 1, &[2]), NOBODY, "silence begins anew");
        assert_eq!(look(700, 2, &[2]), NOBODY, "another leads");
        assert_eq!(look(800, 1, &[]), NOBODY, "and forgot");
        assert_eq!(look(1_000, 1, &[]), [2, 3]);
    }

    #[test]
    fn the_leader_takes_out_of_the_group_who_is_no_member_after_a_while() {
        let (catalog, group) = (catalog(), [1, 2, 9].map(NodeId));
        let mut leading = Leading::default();
        let mut of = |catalog: &Catalog, leader: u64, now: u64| {
            leading.strangers(NodeId(1), catalog, Some(NodeId(leader)), &group, MS(now))
        };
        assert_eq!(of(&catalog, 1, 0), []);
        assert_eq!(of(&catalog, 1, CLUSTER_STRANGER_AFTER_MS - 1), []);
        assert_eq!(of(&catalog, 1, CLUSTER_STRANGER_AFTER_MS), [NodeId(9)]);
        assert_eq!(of(&catalog, 2, 5_100), [], "another leads");
        assert_eq!(of(&catalog, 1, 5_200), [], "it has just become the leader");
        assert_eq!(of(&Catalog::new(), 1, 90_000), [], "the cluster is being formed");
    }

    #[test]
    fn the_leader_walks_copies_once_for_each_catalog() {
        let mut catalog = Catalog::new();
        let mut apply = |command| drop(catalog.apply(command, &mut Vec::new()).unwrap());
        let current = |id| Node { feature_level: 2, ..node(id, true) };
        let (description, tags) = (String::new(), vec![]);
        apply(Command::AddVhost { name: "/".into(), description, tags, default_queue_type: None });
        apply(Command::FormCluster { cluster: 1, node: current(1) });
        let mut arguments = FieldTable::new();
        arguments.insert("x-queue-type", FieldValue::text("quorum"));
        let queue = Command::DeclareQueue {
            vhost: "/".into(),
            name: "q".into(),
            server_named: false,
            durable: true,
            auto_delete: false,
            exclusive: false,
            connection: ConnectionId(1),
            arguments,
            user: "u".into(),
        };
        apply(Command::DeclareAt { home: NodeId(1), command: Box::new(queue) });
        apply(Command::PutNode { node: current(2) });
        let (mut leading, me, leader) = (Leading::default(), NodeId(1), Some(NodeId(1)));
        assert_eq!(leading.copy_steps(me, &catalog, None), [], "nobody leads");
        let first = leading.copy_steps(me, &catalog, leader);
        assert_eq!(first[0].step, CopyStep::Start);
        assert_eq!(leading.copy_steps(me, &catalog, leader), [], "proposed already");
        leading.walk_again();
        assert_eq!(leading.copy_steps(me, &catalog, leader), first);
        catalog.apply(Command::ChangeCopies { changes: first }, &mut Vec::new()).unwrap();
        let next = leading.copy_steps(me, &catalog, leader);
        assert_eq!(next[0].step, CopyStep::AddMirror(NodeId(2)));
        assert_eq!(leading.copy_steps(me, &catalog, Some(NodeId(2))), [], "another leads");
        assert_eq!(leading.copy_steps(me, &catalog, leader), next, "again the leader");
    }

    #[test]
    fn a_loss_is_that_of_one_start() {
        assert_eq!(loss(&node(3, true)), Command::NodeLost { id: NodeId(3), boot: 30 });
    }
}

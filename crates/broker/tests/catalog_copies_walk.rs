//! Copies of mirrored queues under any policies, any coming and going of nodes and any steps: what always holds,
//! that the leader's steps come to an end, and that the end is what is wanted.

mod catalog;

use broker::catalog::copies::{Copies, CopyStep, balancing_steps, leaving_steps, next_steps};
use broker::catalog::{Catalog, Command, Event, Node, Queue};
use catalog::mirrored::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use types::{FieldValue, NodeId, QueueId};

const NODES: u64 = 5;

/// What happens in a cluster.
#[derive(Clone, Debug)]
enum Happening {
    Lost(u64),
    /// The same start is heard of again, or another one.
    Back(u64, bool),
    Replaced(u64),
    Forgotten(u64),
    Policy(usize),
    Declared(u64, u8),
    /// A step that somebody proposes of one queue.
    Step(usize, CopyStep),
    /// The leader takes some of its steps, and homes have mirrors join.
    Walk(usize),
}

fn policies() -> Vec<Command> {
    let on = |words: &[&str]| on(names(words));
    let always = ("ha-promote-on-failure", FieldValue::text("always"));
    let mode = |mode| ("ha-mode", FieldValue::text(mode));
    vec![
        clear_policy("m"),
        all(),
        exactly(2),
        exactly(3),
        exactly(4),
        on(&["n1", "n2"]),
        on(&["rabbit@n4", "n5", "n9"]),
        policy("m", &[mode("all"), ("min-in-sync", FieldValue::I64(4))]),
        policy("m", &[mode("all"), ("min-in-sync", FieldValue::I64(1)), always.clone()]),
        policy("m", &[mode("exactly"), ("ha-params", FieldValue::I64(3)), always]),
    ]
}

fn any_step() -> impl Strategy<Value = CopyStep> {
    let node = || (1..=NODES).prop_map(NodeId);
    prop_oneof![
        1 => Just(CopyStep::Start),
        1 => Just(CopyStep::Stop),
        1 => node().prop_map(CopyStep::AddMirror),
        1 => node().prop_map(CopyStep::DropMirror),
        3 => node().prop_map(CopyStep::JoinSync),
        3 => node().prop_map(CopyStep::LeaveSync),
        1 => (0u32..5).prop_map(CopyStep::SetMinimum),
        2 => node().prop_map(CopyStep::HandOver),
    ]
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..=NODES).prop_map(Happening::Lost),
        4 => (1..=NODES, any::<bool>()).prop_map(|(node, new)| Happening::Back(node, new)),
        1 => (1..=NODES).prop_map(Happening::Replaced),
        1 => (1..=NODES).prop_map(Happening::Forgotten),
        2 => (0..policies().len()).prop_map(Happening::Policy),
        3 => (1..=NODES, 0u8..3).prop_map(|(home, kind)| Happening::Declared(home, kind)),
        6 => (any::<usize>(), any_step()).prop_map(|(queue, step)| Happening::Step(queue, step)),
        6 => (0usize..5).prop_map(Happening::Walk),
    ]
}

/// A cluster that things happen to; each change is looked at.
struct Play {
    catalog: Catalog,
    /// Counts up: no boot or node comes twice.
    next: u64,
    /// The highest epoch that each queue had.
    epochs: BTreeMap<QueueId, u64>,
}

fn rows(catalog: &Catalog) -> Vec<Arc<Queue>> {
    catalog.vhost(VHOST).unwrap().queues.values().cloned().collect()
}

fn check_row(catalog: &Catalog, row: &Queue) {
    let Some(Copies { epoch, boot, version, mirrors, in_sync, min_in_sync }) = row.copies.as_deref() else {
        return;
    };
    let ascends = |nodes: &[NodeId]| nodes.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(ascends(mirrors) && ascends(in_sync), "{row:?}");
    assert!(in_sync.contains(&row.home) && !mirrors.contains(&row.home), "{row:?}");
    assert!(in_sync.iter().all(|node| *node == row.home || mirrors.contains(node)), "{row:?}");
    assert!(mirrors.iter().all(|node| catalog.nodes.contains_key(node)), "{row:?}");
    assert!(*min_in_sync > 0 && *version > 0 && *epoch > 0 && *epoch <= catalog.version, "{row:?}");
    assert_eq!(*boot, catalog.nodes[&row.home].boot, "the home's start is another one: {row:?}");
    assert!(row.exclusive.is_none());
    let best = in_sync.iter().find(|node| catalog.nodes[*node].up);
    assert!(catalog.nodes[&row.home].up || best.is_none(), "{best:?} could lead: {row:?}");
}

impl Play {
    fn new() -> Play {
        Play { catalog: cluster(NODES), next: 1_000, epochs: BTreeMap::new() }
    }

    /// Applies a command, and looks at what has become of all copies.
    fn apply(&mut self, command: Command) {
        let before = self.catalog.clone();
        let mut events = Vec::new();
        if self.catalog.apply(command.clone(), &mut events).is_err() {
            return;
        }
        let is_step = matches!(command, Command::ChangeCopies { .. });
        let told: Vec<QueueId> = events
            .iter()
            .filter_map(|event| match event {
                Event::QueueMoved { queue, .. } | Event::CopiesChanged(queue) => Some(queue.id),
                Event::QueueDeclared(queue) => Some(queue.id),
                _ => None,
            })
            .collect();
        let unsynced = |row: &Queue| {
            events.iter().any(|event| matches!(event, Event::UnsyncedPromoted(told) if told.id == row.id))
        };
        for row in rows(&self.catalog) {
            check_row(&self.catalog, &row);
            let old = before.vhost(VHOST).unwrap().queue(row.name.as_str()).filter(|old| old.id == row.id);
            let changed = old.is_none_or(|old| old.copies != row.copies || old.home != row.home);
            assert_eq!(changed, told.contains(&row.id), "{command:?}: {old:?} -> {row:?}, {events:?}");
            let Some(copies) = row.copies.as_deref() else { continue };
            let highest = self.epochs.entry(row.id).or_default();
            assert!(copies.epoch >= *highest, "an epoch twice: {row:?}");
            *highest = copies.epoch;
            let Some((old, was)) = old.and_then(|old| Some((old, old.copies.as_deref()?))) else { continue };
            if !changed {
                continue;
            }
            assert_eq!(copies.version, was.version + 1, "{command:?}");
            if old.home != row.home || was.boot != copies.boot {
                assert!(copies.epoch > was.epoch, "a home without an epoch of its own: {old:?} -> {row:?}");
            }
            assert!(was.in_sync.contains(&row.home) != unsynced(&row), "{command:?}: {old:?} -> {row:?}");
            let enough = |copies: &Copies| copies.in_sync.len() >= copies.min_in_sync as usize;
            let may_fall = !is_step && !matches!(command, Command::NodeLost { .. });
            assert!(enough(copies) || may_fall || !enough(was), "{command:?}: {old:?} -> {row:?}");
        }
    }

    fn happen(&mut self, happening: Happening) {
        let row_of = |catalog: &Catalog, id: u64| catalog.nodes.get(&NodeId(id)).cloned();
        match happening {
            Happening::Lost(id) => {
                if let Some(node) = row_of(&self.catalog, id) {
                    self.apply(Command::NodeLost { id: node.id, boot: node.boot });
                }
            }
            Happening::Back(id, is_new) => {
                let known = row_of(&self.catalog, id).map(|node| (*node).clone());
                self.next += 1;
                let boot = known.as_ref().filter(|_| !is_new).map_or(self.next, |node| node.boot);
                let other = self.catalog.node_named(&format!("n{id}")).filter(|node| node.id.0 != id);
                if other.is_none() {
                    self.apply(put(Node { boot, up: true, ..known.unwrap_or_else(|| node(id, boot)) }));
                }
            }
            Happening::Replaced(id) => {
                self.next += 1;
                self.apply(put(Node { name: format!("n{id}"), ..node(self.next, self.next) }));
            }
            Happening::Forgotten(id) => self.apply(Command::ForgetNode { id: NodeId(id) }),
            Happening::Policy(at) => self.apply(policies()[at].clone()),
            Happening::Declared(home, kind) => {
                self.next += 1;
                let name = format!("m{}", self.next);
                self.apply(match kind {
                    0 => durable(home, &name),
                    1 => transient(home, &name),
                    _ => quorum(home, &name, None),
                });
            }
            Happening::Step(at, step) => {
                let rows = rows(&self.catalog);
                if let Some(row) = rows.get(at % rows.len().max(1)) {
                    let changes = vec![change(&self.catalog, row.name.as_str(), step)];
                    self.apply(Command::ChangeCopies { changes });
                }
            }
            Happening::Walk(most) => {
                self.walk(most);
                let changes = joins(&self.catalog).into_iter().take(most).collect();
                self.apply(Command::ChangeCopies { changes });
            }
        }
    }

    /// The leader's next steps, each of which has to be taken; whether there were any.
    fn walk(&mut self, most: usize) -> bool {
        let changes = next_steps(&self.catalog, most);
        assert!(changes.len() <= most);
        for change in &changes {
            let queue = self.catalog.vhost(VHOST).unwrap().queue(change.name.as_str()).unwrap().clone();
            let mut alone = self.catalog.clone();
            let command = Command::ChangeCopies { changes: vec![change.clone()] };
            alone.apply(command, &mut Vec::new()).unwrap();
            let after = alone.vhost(VHOST).unwrap().queue(change.name.as_str()).unwrap().clone();
            assert_ne!(queue, after, "{change:?} was not taken");
        }
        let has_steps = !changes.is_empty();
        self.apply(Command::ChangeCopies { changes });
        has_steps
    }

    /// Walks until there is nothing left to do. Homes are faster than the leader or slower.
    fn settle(&mut self, homes_first: bool) {
        for _ in 0..400 {
            let changes = joins(&self.catalog);
            let before = self.catalog.version;
            if homes_first {
                self.apply(Command::ChangeCopies { changes: changes.clone() });
            }
            let walked = self.walk(1_000);
            if !walked && !homes_first {
                self.apply(Command::ChangeCopies { changes });
            }
            if self.catalog.version == before {
                return;
            }
        }
        panic!("it goes on and on: {:?}", next_steps(&self.catalog, 9));
    }

    /// Spreads homes until they are, and has one node left by all that can leave it.
    fn spread(&mut self, leaving: NodeId) {
        let serving: Vec<NodeId> = self.catalog.nodes.keys().copied().collect();
        for _ in 0..20 {
            let changes = balancing_steps(&self.catalog, &serving, 1_000);
            if changes.is_empty() {
                break;
            }
            self.apply(Command::ChangeCopies { changes });
            assert!(next_steps(&self.catalog, 1).is_empty(), "they have to move on");
        }
        assert!(balancing_steps(&self.catalog, &serving, 1_000).is_empty(), "they move to and fro");
        let changes = leaving_steps(&self.catalog, leaving, 1_000);
        self.apply(Command::ChangeCopies { changes });
        assert!(next_steps(&self.catalog, 1).is_empty(), "they have to move on");
        assert!(leaving_steps(&self.catalog, leaving, 1_000).is_empty(), "not all have left");
    }

    /// What a queue whose home is up has come to.
    fn check_settled(&self, row: &Queue) {
        let is_up = |node: &NodeId| self.catalog.is_up(*node);
        if !is_up(&row.home) {
            return;
        }
        let wanted = self.catalog.wanted_copies(row);
        let Some(copies) = row.copies.as_deref() else {
            assert_eq!(wanted.nodes, [row.home], "{row:?}");
            return;
        };
        let there: Vec<&NodeId> = wanted.nodes.iter().filter(|node| is_up(node)).collect();
        assert!(there.iter().all(|node| copies.in_sync.contains(node)), "{wanted:?}: {row:?}");
        assert!(there.is_empty() || wanted.nodes.contains(&row.home), "{wanted:?}: {row:?}");
        let minimum = wanted.min_in_sync;
        let expected = copies.in_sync.len() < minimum as usize || copies.min_in_sync == minimum;
        assert!(expected, "{wanted:?}: {row:?}");
        if there.len() == wanted.nodes.len() {
            let all: Vec<NodeId> = wanted.nodes.iter().copied().filter(|node| *node != row.home).collect();
            assert_eq!((&copies.mirrors, &copies.in_sync), (&all, &wanted.nodes), "{row:?}");
            assert!(!all.is_empty(), "mirrored to nobody: {row:?}");
        }
        // Who stands in for one that is down is no more than that.
        assert!(copies.in_sync.iter().filter(|node| is_up(node)).count() <= wanted.nodes.len(), "{row:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_copies_hold_and_come_to_what_is_wanted(
        happenings in prop::collection::vec(any_happening(), 1..60),
        homes_first in any::<bool>(),
    ) {
        let mut play = Play::new();
        [durable(1, "m"), transient(2, "m passing"), quorum(3, "q", None)]
            .into_iter()
            .for_each(|command| play.apply(command));
        happenings.into_iter().for_each(|happening| play.happen(happening));
        play.settle(homes_first);
        let all = rows(&play.catalog);
        all.iter().for_each(|row| play.check_settled(row));
        // From bytes it goes on as before.
        let copy = Catalog::decode(&play.catalog.encode()).unwrap();
        prop_assert_eq!(copy.encode(), play.catalog.encode());
        prop_assert_eq!(rows(&copy), all);
        // Everybody is back.
        let down: Vec<Arc<Node>> = play.catalog.nodes.values().filter(|node| !node.up).cloned().collect();
        for node in down {
            play.next += 1;
            let boot = play.next;
            play.apply(put(Node { boot, up: true, ..(*node).clone() }));
        }
        play.settle(!homes_first);
        play.spread(NodeId(1 + play.next % NODES));
        for row in rows(&play.catalog) {
            prop_assert!(play.catalog.nodes[&row.home].up);
            play.check_settled(&row);
        }
        // The difference tells of all copies, too.
        let told = cluster(NODES).difference(&play.catalog);
        for row in rows(&play.catalog) {
            prop_assert!(told.contains(&Event::QueueDeclared(row)));
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "this test measures time")]
fn a_look_at_many_queues_is_cheap() {
    let mut catalog = cluster(3);
    apply(&mut catalog, all());
    (0..10_000).for_each(|at| drop(apply(&mut catalog, durable(1 + at % 3, &format!("m{at}")))));
    let began = Instant::now();
    assert!(next_steps(&catalog, 1_000).is_empty());
    let (mirrored, began) = (began.elapsed(), Instant::now());
    let mut plain = cluster(3);
    (0..10_000).for_each(|at| drop(apply(&mut plain, durable(1, &format!("q{at}")))));
    let (declared, began) = (began.elapsed(), Instant::now());
    assert!(next_steps(&plain, 1_000).is_empty());
    println!("10,000 queues: {mirrored:?} mirrored, {:?} not (declared in {declared:?})", began.elapsed());
    assert!(mirrored.as_millis() < 1_000, "{mirrored:?}");
    let began = Instant::now();
    apply(&mut catalog, lost(1, 10));
    println!("the loss of a node: {:?}", began.elapsed());
    let steps = next_steps(&catalog, 1_000);
    assert!(steps.is_empty(), "{:?}", steps[0]);
}

//! The home of a mirrored queue against copies that are sets: whatever happens in whatever order, nothing is committed
//! that a node in sync, or one that may become so, does not have on disk.

use broker::catalog::copies::{Copies, CopyStep};
use broker::replica::{HomeEffect, HomeRole, Sent};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use types::NodeId;

const HOME: NodeId = NodeId(1);

#[derive(Clone, Debug)]
enum Op {
    Append,
    OwnDisk,
    Link(u64),
    Unlink(u64),
    /// A mirror crashes: what it had not synced is gone.
    Crash(u64),
    State(u64),
    Fill(u64),
    Deliver(u64),
    Sync(u64),
    /// An acknowledgement arrives.
    Ack(u64),
    Tick(u64),
    /// A proposal is applied, if its version is still the row's.
    Decide(usize),
    /// The catalog's leader changes something.
    Minimum,
    /// The home sees the row.
    Show,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let node = || 2_u64..5;
    let op = prop_oneof![
        9 => Just(Op::Append),
        9 => Just(Op::OwnDisk),
        2 => node().prop_map(Op::Link),
        1 => node().prop_map(Op::Unlink),
        1 => node().prop_map(Op::Crash),
        6 => node().prop_map(Op::State),
        18 => node().prop_map(Op::Fill),
        36 => node().prop_map(Op::Deliver),
        18 => node().prop_map(Op::Sync),
        24 => node().prop_map(Op::Ack),
        6 => (1_u64..2_000).prop_map(Op::Tick),
        6 => (0_usize..3).prop_map(Op::Decide),
        1 => Just(Op::Minimum),
        6 => Just(Op::Show),
    ];
    prop::collection::vec(op, 1..400)
}

#[derive(Default)]
struct Mirror {
    link: Option<u64>,
    /// Opens that it has not answered.
    opened: VecDeque<u64>,
    /// Its answers under way: the link, the number, what it had.
    states: VecDeque<(u64, u64, BTreeSet<u64>)>,
    /// What it told last that the home has heard.
    told: BTreeSet<u64>,
    /// Frames under way: the number, and the positions in it.
    frames: VecDeque<(u64, Vec<u64>)>,
    has: BTreeSet<u64>,
    durable: BTreeSet<u64>,
    taken: Option<u64>,
    acks: VecDeque<(u64, u64)>,
    /// What it lacks and was not sent, in the stream that goes on.
    lacks: Option<VecDeque<u64>>,
}

struct Play {
    home: HomeRole,
    row: Copies,
    mirrors: BTreeMap<u64, Mirror>,
    proposals: Vec<(u64, CopyStep)>,
    own: u64,
    links: u64,
    now_ms: u64,
    committed: u64,
}

impl Play {
    fn new(row: Copies) -> Play {
        Play {
            home: HomeRole::new(HOME, &row),
            row,
            mirrors: (2..5).map(|node| (node, Mirror::default())).collect(),
            proposals: Vec::new(),
            own: 0,
            links: 0,
            now_ms: 0,
            committed: 0,
        }
    }

    fn unlink(&mut self, node: u64) {
        let mirror = self.mirrors.get_mut(&node).unwrap();
        // What was acknowledged over the old link may be looked at later: it is under the old link's number.
        (mirror.frames, mirror.taken, mirror.lacks) = (VecDeque::new(), None, None);
        mirror.opened.clear();
        if let Some(link) = mirror.link.take() {
            self.home.link_down(NodeId(node), link);
        }
    }

    fn send(&mut self, node: u64, sent: Sent, positions: Vec<u64>) {
        if let Some(number) = self.home.sent(NodeId(node), sent) {
            self.mirrors.get_mut(&node).unwrap().frames.push_back((number, positions));
        }
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Append => {
                let position = self.home.appended();
                let nodes: Vec<NodeId> = self.home.streams().collect();
                nodes.iter().for_each(|node| self.send(node.0, Sent::Turn(position), vec![position]));
            }
            Op::OwnDisk => {
                self.own = self.home.position();
                self.home.own_durable(self.own);
            }
            Op::Link(node) => {
                self.unlink(node);
                self.links += 1;
                self.mirrors.get_mut(&node).unwrap().link = Some(self.links);
                self.home.link_up(NodeId(node), self.links);
            }
            Op::Unlink(node) => self.unlink(node),
            Op::Crash(node) => {
                self.unlink(node);
                let mirror = self.mirrors.get_mut(&node).unwrap();
                mirror.has = mirror.durable.clone();
            }
            Op::Tick(ms) => {
                self.now_ms += ms;
                self.home.tick(self.now_ms);
            }
            Op::Decide(at) if !self.proposals.is_empty() => {
                // Mostly one of the latest.
                let at = self.proposals.len() - 1 - at % self.proposals.len();
                let (version, step) = self.proposals[at].clone();
                self.decide(version, &step);
            }
            Op::Minimum => {
                self.row.min_in_sync =
                    1 + self.row.min_in_sync % u32::try_from(self.row.in_sync.len()).unwrap();
                self.row.version += 1;
            }
            Op::Show => self.home.set_copies(&self.row),
            Op::State(node) | Op::Fill(node) | Op::Deliver(node) | Op::Sync(node) | Op::Ack(node) => {
                self.pass(node, &op);
            }
            Op::Decide(_) => {}
        }
    }

    /// What passes between the home and a mirror.
    fn pass(&mut self, node: u64, op: &Op) {
        let mirror = self.mirrors.get_mut(&node).unwrap();
        match op {
            Op::State(_) => {
                // An Open is answered, or an answer arrives, perhaps one of before the last stream.
                if let Some(number) = mirror.opened.pop_front() {
                    mirror.states.push_back((mirror.link.unwrap_or(0), number, mirror.has.clone()));
                } else if let Some((link, number, told)) = mirror.states.pop_front() {
                    mirror.told = told;
                    self.home.stated(NodeId(node), link, number);
                }
            }
            Op::Fill(_) => {
                match mirror.lacks.as_mut().map(|lacks| lacks.drain(..lacks.len().min(7)).collect()) {
                    Some(some) if !Vec::is_empty(&some) => self.send(node, Sent::Fill, some),
                    Some(_) => {
                        mirror.lacks = None;
                        self.home.filled(NodeId(node));
                    }
                    None => {}
                }
            }
            Op::Deliver(_) => {
                if let Some((number, positions)) = mirror.frames.pop_front() {
                    // One stream has no gaps.
                    assert!(mirror.taken.is_none_or(|taken| taken + 1 == number));
                    mirror.taken = Some(number);
                    mirror.has.extend(positions);
                }
            }
            Op::Sync(_) => {
                mirror.durable = mirror.has.clone();
                if let (Some(link), Some(taken)) = (mirror.link, mirror.taken) {
                    mirror.acks.push_back((link, taken));
                }
            }
            Op::Ack(_) => {
                if let Some((link, number)) = mirror.acks.pop_front() {
                    self.home.acked(NodeId(node), link, number, self.now_ms);
                }
            }
            _ => {}
        }
    }

    fn decide(&mut self, version: u64, step: &CopyStep) {
        if version != self.row.version {
            return;
        }
        let in_sync = &mut self.row.in_sync;
        match step {
            CopyStep::JoinSync(node) => {
                in_sync.push(*node);
                in_sync.sort();
                in_sync.dedup();
            }
            CopyStep::LeaveSync(node) => {
                assert!(in_sync.len() > usize::try_from(self.row.min_in_sync).unwrap() && *node != HOME);
                in_sync.retain(|other| other != node);
            }
            CopyStep::DropMirror(node) => {
                if in_sync.contains(node) {
                    return;
                }
                self.row.mirrors.retain(|other| other != node);
            }
            _ => panic!("{step:?}"),
        }
        self.row.version += 1;
    }

    fn obey(&mut self) {
        for effect in self.home.take_effects() {
            match effect {
                HomeEffect::Open { node, number } => {
                    self.mirrors.get_mut(&node.0).unwrap().opened.push_back(number);
                }
                HomeEffect::Level(node) => {
                    self.send(node.0, Sent::Reset, Vec::new());
                    let position = self.home.position();
                    let mirror = self.mirrors.get_mut(&node.0).unwrap();
                    mirror.lacks = Some((1..=position).filter(|at| !mirror.told.contains(at)).collect());
                }
                HomeEffect::CloseStream(node) => {
                    let mirror = self.mirrors.get_mut(&node.0).unwrap();
                    (mirror.frames, mirror.taken, mirror.lacks) = (VecDeque::new(), None, None);
                }
                HomeEffect::Committed(position) => {
                    assert!(position > self.committed, "positions are monotone");
                    self.committed = position;
                }
                HomeEffect::Propose(step) => self.proposals.push((self.home.version(), step)),
                HomeEffect::Established => assert_eq!(self.committed, 0),
                HomeEffect::StepDown(_) => panic!("nobody knows a newer epoch"),
            }
        }
        assert_eq!(self.home.committed(), self.committed);
    }

    /// Who is in sync, and who may be, has on disk what is committed.
    fn check(&self) {
        assert!(self.committed <= self.own);
        for node in self.row.in_sync.iter().filter(|node| **node != HOME) {
            let has = &self.mirrors[&node.0].durable;
            let missing = (1..=self.committed).find(|at| !has.contains(at));
            assert_eq!(missing, None, "node {node} of {:?} lacks what is committed", self.row.in_sync);
        }
        assert!(self.row.in_sync.len() >= usize::try_from(self.row.min_in_sync).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn commits_never_pass_a_copy_in_sync(ops in ops(), in_sync in 0_u64..8, minimum in 1_u32..4) {
        let mirrors: Vec<NodeId> = (2..5).map(NodeId).collect();
        let others = mirrors.iter().copied().filter(|node| in_sync >> (node.0 - 2) & 1 == 1);
        let in_sync: Vec<NodeId> = std::iter::once(HOME).chain(others).collect();
        let min_in_sync = minimum.min(u32::try_from(in_sync.len()).unwrap());
        let mut play = Play::new(Copies { epoch: 7, boot: 1, version: 1, mirrors, in_sync, min_in_sync });
        let begin = [Op::Append, Op::OwnDisk, Op::Link(2), Op::Link(3), Op::Link(4)];
        for op in begin.into_iter().chain(ops) {
            play.act(op);
            play.obey();
            play.check();
        }
    }
}

#[test]
fn commits_do_not_wait_for_ever_for_a_joiner_that_is_lost() {
    let two = NodeId(2);
    let row =
        Copies { epoch: 7, boot: 1, version: 1, mirrors: vec![two], in_sync: vec![HOME], min_in_sync: 1 };
    let mut home = HomeRole::new(HOME, &row);
    home.appended();
    home.own_durable(1);
    home.link_up(two, 1);
    let opened = home.take_effects().into_iter().find_map(|effect| match effect {
        HomeEffect::Open { number, .. } => Some(number),
        _ => None,
    });
    home.stated(two, 1, opened.expect("it is asked"));
    let reset = home.sent(two, Sent::Reset).expect("its stream begins");
    home.filled(two);
    home.acked(two, 1, reset, 0);
    let join = HomeEffect::Propose(CopyStep::JoinSync(two));
    assert!(home.take_effects().contains(&join));
    // The node is lost before the catalog has taken it in, and something is published.
    home.link_down(two, 1);
    home.appended();
    home.own_durable(2);
    let drop = HomeEffect::Propose(CopyStep::DropMirror(two));
    let mut proposed = Vec::new();
    for now_ms in (0..6_000).step_by(500) {
        home.tick(now_ms);
        proposed.extend(home.take_effects());
        assert_eq!(home.committed(), 1, "the join may have been taken");
    }
    let (first_drop, first_join) = (
        proposed.iter().position(|effect| *effect == drop),
        proposed.iter().position(|effect| *effect == join),
    );
    assert!(first_join < first_drop && first_drop.is_some(), "{proposed:?}");
    home.set_copies(&Copies { version: 2, mirrors: Vec::new(), ..row });
    assert_eq!(home.committed(), 2);
}

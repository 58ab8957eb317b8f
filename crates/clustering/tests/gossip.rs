//! Gossip between threads of one process, over real sockets.

mod gossiping;

use clustering::gossip::{Gossip, GossipConfig, GossipPeriods, Liveness, NodeFacts};
use clustering::identity::ClusterId;
use clustering::secret::ClusterSecret;
use gossiping::{CLUSTER, Node, SECRET, has_facts, sees, sees_down, socket, wait};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn three_nodes_meet_lose_one_and_meet_its_next_process() {
    let mut nodes = gossiping::three();
    let took = wait("all see all", || nodes.iter().all(|node| sees(node, &nodes)));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(nodes.iter().map(|node| node.gossip.stats().send_errors).sum::<u64>(), 0);

    let stopped = nodes.remove(2);
    stopped.gossip.stop();
    let took = wait("down", || nodes.iter().all(|node| sees_down(node, &stopped)));
    assert!(took < Duration::from_millis(1_500), "{took:?}");

    let again = Node::start(3, 33, stopped.socket(), &[nodes[0].addr]);
    let took = wait("up again", || nodes.iter().all(|node| node.sees(&again) == Some(Liveness::Up)));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(nodes.iter().all(|node| node.member(&again).unwrap().identity.boot == 33));
}

#[test]
fn who_leaves_is_down_at_once() {
    let nodes = gossiping::three();
    wait("all see all", || nodes.iter().all(|node| sees(node, &nodes)));
    nodes[1].gossip.leave();
    let took = wait("down", || sees_down(&nodes[0], &nodes[1]) && sees_down(&nodes[2], &nodes[1]));
    assert!(took < Duration::from_millis(300), "{took:?}");
    nodes[1].gossip.leave();
    nodes[1].gossip.stop();
    nodes[1].gossip.stop();
    nodes[1].gossip.leave();
}

#[test]
fn seeds_that_do_not_exist_yet_are_met_when_they_do() {
    let late = socket();
    let late_addr = late.local_addr().unwrap();
    drop(late);
    let node = Node::start(1, 1, socket(), &[late_addr]);
    wait("calls", || node.gossip.stats().sent >= 3);
    assert_eq!(node.gossip.members(), []);
    let late = Node::start(2, 2, std::net::UdpSocket::bind(late_addr).unwrap(), &[]);
    let took =
        wait("met", || node.sees(&late) == Some(Liveness::Up) && late.sees(&node) == Some(Liveness::Up));
    assert!(took < Duration::from_millis(2_500), "{took:?}");

    let third = Node::start(3, 3, socket(), &[]);
    third.gossip.add_seed(node.addr);
    let took =
        wait("met", || third.sees(&late) == Some(Liveness::Up) && late.sees(&third) == Some(Liveness::Up));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_node_with_another_secret_is_not_seen() {
    let node = Node::start(1, 1, socket(), &[]);
    let stranger = Node::start_with(2, 2, socket(), &[node.addr], "another secret altogether", CLUSTER);
    wait("calls", || node.gossip.stats().not_opened >= 3);
    assert_eq!(node.gossip.members(), []);
    assert_eq!(stranger.gossip.members(), []);
    assert_eq!(node.gossip.stats().sent, 0, "it gets no answer");
    // Noise does no harm either.
    let noise = socket();
    for length in [0, 1, 5, 33, 1_199, 1_200, 4_000, 60_000] {
        noise.send_to(&vec![b'L'; length], node.addr).unwrap();
    }
    wait("noise", || node.gossip.stats().not_opened >= 10);
    let friend = Node::start(3, 3, socket(), &[node.addr]);
    wait("met", || node.sees(&friend) == Some(Liveness::Up));
}

#[test]
fn facts_and_changes_are_told() {
    let nodes = gossiping::three();
    let facts =
        NodeFacts { queues: 7, amqp_addr: "127.0.0.1:5672".to_owned(), ready: true, ..NodeFacts::default() };
    nodes[0].gossip.set_facts(facts.clone());
    wait("facts", || nodes[1..].iter().all(|node| has_facts(node, &nodes[0], &facts)));
    wait("all see all", || nodes.iter().all(|node| sees(node, &nodes)));

    let mut changes = nodes[2].gossip.changes();
    changes.mark_unchanged();
    let alarmed = NodeFacts { memory_alarm: true, ..facts };
    nodes[0].gossip.set_facts(alarmed.clone());
    let took =
        wait("a change", || changes.has_changed().unwrap() && has_facts(&nodes[2], &nodes[0], &alarmed));
    assert!(took < Duration::from_millis(500), "{took:?}");
    changes.mark_unchanged();

    // Whoever comes later gets the facts too.
    let late = Node::start(4, 4, socket(), &[nodes[1].addr]);
    let took = wait("facts", || has_facts(&late, &nodes[0], &alarmed));
    assert!(took < Duration::from_secs(1), "{took:?}");
    wait("a change", || changes.has_changed().unwrap());

    // Facts that are too long are refused; those before stay.
    nodes[0].gossip.set_facts(NodeFacts { http_addr: "h".repeat(5_000), ..NodeFacts::default() });
    nodes[0].gossip.set_facts(NodeFacts { homes: 3, ..alarmed.clone() });
    wait("facts", || has_facts(&late, &nodes[0], &NodeFacts { homes: 3, ..alarmed.clone() }));
}

#[test]
fn a_cluster_learnt_later_is_spread() {
    let nodes = gossiping::three();
    let joining = Node::start_with(4, 4, socket(), &[nodes[0].addr], SECRET, ClusterId(0));
    wait("seen as joining", || nodes.iter().all(|node| node.sees(&joining) == Some(Liveness::Up)));
    joining.me.lock().unwrap().cluster = CLUSTER;
    let is_in = |node: &Node| node.member(&joining).is_some_and(|member| member.identity.cluster == CLUSTER);
    let took = wait("joined", || nodes.iter().all(is_in));
    assert!(took < Duration::from_secs(1), "{took:?}");

    let foreign = Node::start_with(5, 5, socket(), &[nodes[0].addr], SECRET, ClusterId(99));
    wait("calls", || nodes[0].gossip.stats().swim.other_cluster >= 2);
    assert!(nodes[0].member(&foreign).is_none() && foreign.gossip.members().is_empty());
}

#[test]
fn a_forgotten_node_is_gone_until_it_speaks() {
    let mut nodes = gossiping::three();
    wait("all see all", || nodes.iter().all(|node| sees(node, &nodes)));
    nodes[0].gossip.forget(nodes[1].id);
    wait("it spoke", || nodes[0].sees(&nodes[1]) == Some(Liveness::Up));
    let stopped = nodes.remove(2);
    stopped.gossip.stop();
    wait("down", || nodes.iter().all(|node| sees_down(node, &stopped)));
    for node in &nodes {
        node.gossip.forget(stopped.id);
    }
    wait("gone", || nodes.iter().all(|node| node.member(&stopped).is_none()));
    assert!(nodes.iter().all(|node| sees(node, &nodes)), "the others stay");
}

#[test]
fn what_cannot_work_is_refused_at_start() {
    let addr = socket().local_addr().unwrap();
    let start = |change: &dyn Fn(&mut GossipConfig)| {
        let me = gossiping::identity(1, 1, addr, CLUSTER);
        let mut config = GossipConfig {
            secret: ClusterSecret::new(SECRET).unwrap(),
            socket: socket(),
            me: Arc::new(move || me.clone()),
            periods: GossipPeriods::default(),
        };
        change(&mut config);
        Gossip::start(config, Vec::new()).err().unwrap()
    };
    let why = start(&|config| config.periods.probe = Duration::ZERO);
    assert!(why.contains("'probe'"), "{why}");
    let unreachable = gossiping::identity(1, 1, "0.0.0.0:5".parse().unwrap(), CLUSTER);
    let why = start(&|config| {
        let me = unreachable.clone();
        config.me = Arc::new(move || me.clone());
    });
    assert!(why.contains("0.0.0.0:5"), "{why}");
}

//! Gossip between threads of one process, over real sockets.

mod gossiping;

use clustering::gossip::Liveness;
use gossiping::{Node, sees, sees_down, wait};
use std::time::Duration;

#[test]
fn three_nodes_meet_lose_one_and_meet_its_next_process() {
    let mut nodes = gossiping::three();
    let took = wait("all see all", || nodes.iter().all(|node| sees(node, &nodes)));
    assert!(took < Duration::from_secs(1), "{took:?}");

    let stopped = nodes.remove(2);
    stopped.gossip.stop();
    let took = wait("down", || nodes.iter().all(|node| sees_down(node, &stopped)));
    assert!(took < Duration::from_millis(1_500), "{took:?}");

    let again = Node::start(3, 33, stopped.socket(), &[nodes[0].addr]);
    let took = wait("up again", || nodes.iter().all(|node| node.sees(&again) == Some(Liveness::Up)));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(nodes.iter().all(|node| node.member(&again).unwrap().identity.boot == 33));
}

//! Several nodes in one process: links come up, carry calls and frames, go down and come back.

use crate::node::{ECHO, LIMIT, Node, PANIC, REFUSE, SLOW, WHO, eventually, identity, run};
use bytes::Bytes;
use clustering::transport::{CallError, ProbeError};
use std::time::{Duration, Instant};
use types::NodeId;

fn three() -> [Node; 3] {
    let nodes = [1, 2, 3].map(|id| Node::start(identity(id, id * 10)));
    let [a, b, c] = &nodes;
    a.meet(b);
    b.meet(c);
    c.meet(a);
    eventually("all are linked", || a.is_linked(b) && b.is_linked(c) && c.is_linked(a));
    nodes
}

#[test]
fn three_nodes_call_each_other() {
    let nodes = three();
    run(async {
        for from in &nodes {
            for to in nodes.iter().filter(|to| to.id() != from.id()) {
                let answer = from.mesh.call(to.id(), WHO, Vec::new(), LIMIT).await;
                assert_eq!(answer.unwrap()[..], from.id().0.to_be_bytes());
            }
        }
        let [a, b, _] = &nodes;
        let large: Vec<u8> = (0..16 * 1024 * 1024u32).map(|at| (at >> 3) as u8).collect();
        assert!(a.mesh.call(b.id(), ECHO, large.clone(), LIMIT).await.unwrap() == large);
        let refused = a.mesh.call(b.id(), REFUSE, vec![0; 5], LIMIT).await;
        assert_eq!(refused, Err(CallError::Refused("no 5".to_owned())));
        let panicked = a.mesh.call(b.id(), PANIC, Vec::new(), LIMIT).await;
        assert_eq!(panicked, Err(CallError::Refused("the call was given up".to_owned())));
        let slow = a.mesh.call(b.id(), SLOW, Vec::new(), Duration::from_millis(50)).await;
        assert_eq!(slow, Err(CallError::TimedOut));
        let nobody = a.mesh.call(NodeId(9), ECHO, Vec::new(), LIMIT).await;
        assert_eq!(nobody, Err(CallError::NotConnected));
        let too_long = a.mesh.call(b.id(), ECHO, vec![0; 16 * 1024 * 1024 + 1], LIMIT).await;
        assert!(matches!(too_long, Err(CallError::Refused(_))), "{too_long:?}");
    });
    for node in &nodes {
        assert_eq!(node.told.count("up"), 2, "{:?}", node.told.events.lock());
        assert_eq!(node.told.count("down"), 0);
    }
}

#[test]
fn many_calls_at_once_are_all_answered() {
    let [a, b, _c] = three();
    run(async {
        let calls: Vec<_> = (0..5_000u32)
            .map(|at| {
                let (mesh, to) = (a.mesh.clone(), b.id());
                let body = vec![at as u8; (at as usize * 37) % 9_000];
                tokio::spawn(async move {
                    assert!(mesh.call(to, ECHO, body.clone(), LIMIT).await.unwrap() == body);
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    });
}

#[test]
fn a_node_that_stops_is_noticed_at_once_and_its_successor_too() {
    let [a, b, c] = three();
    let slow = std::thread::spawn({
        let (mesh, to) = (a.mesh.clone(), b.id());
        move || run(mesh.call(to, SLOW, Vec::new(), LIMIT))
    });
    eventually("it is being answered", || b.told.count("call 2 from 1") == 1);
    let start = Instant::now();
    b.mesh.stop();
    assert_eq!(slow.join().unwrap(), Err(CallError::Closed));
    for node in [&a, &c] {
        eventually("it is down", || node.told.count("down rabbit@2 20") == 1);
        assert!(!node.mesh.is_connected(b.id()) && node.mesh.data_link(b.id()).is_none());
        eventually("both data links are down", || node.told.count("data down rabbit@2") == 2);
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(a.is_linked(&c));
    // The same node, started anew, somewhere else.
    let again = Node::start(identity(2, 21));
    again.meet(&a);
    again.meet(&c);
    eventually("it is back", || again.is_linked(&a) && again.is_linked(&c));
    assert_eq!(a.told.count("up rabbit@2 21"), 1);
    assert_eq!(a.told.count("up rabbit@3") + a.told.count("down rabbit@3"), 1);
}

#[test]
fn frames_go_both_ways_over_both_data_links() {
    let [a, b, _c] = three();
    let sent: Vec<Bytes> = (0..1_000u32).map(|at| Bytes::from(vec![at as u8; at as usize])).collect();
    for (from, to) in [(&a, &b), (&b, &a)] {
        let link = from.mesh.data_link(to.id()).unwrap();
        for frame in &sent {
            assert!(link.put(|buffer| buffer.extend_from_slice(frame)));
        }
        link.flush();
        let came =
            || to.told.frames.lock().unwrap().iter().filter(|(peer, _)| *peer == from.identity.name).count();
        eventually("all came", || came() == sent.len());
        let came = to.told.frames.lock().unwrap();
        let came: Vec<Bytes> = came
            .iter()
            .filter(|(peer, _)| *peer == from.identity.name)
            .map(|(_, frame)| frame.clone())
            .collect();
        assert!(came == sent);
    }
}

#[test]
fn nonsense_closes_its_data_link_only() {
    let [a, b, c] = three();
    let link = a.mesh.data_link(b.id()).unwrap();
    link.put(|frame| frame.extend_from_slice(b"nonsense"));
    link.flush();
    eventually("it is closed", || link.is_closed());
    eventually("there is another", || a.is_linked(&b));
    assert_eq!(b.told.count("data down rabbit@1 false: a frame of nonsense"), 1);
    for node in [&a, &b, &c] {
        assert_eq!(node.told.count("down"), 0);
    }
    assert_eq!(b.told.count("data down rabbit@3") + c.told.count("data down"), 0);
}

#[test]
fn addresses_may_change_and_nodes_may_be_forgotten() {
    let (a, b) = (Node::start(identity(1, 10)), Node::start(identity(2, 20)));
    // Nobody is there, then another node, then the right one.
    let c = Node::start(identity(3, 30));
    a.mesh.set_peer(b.id(), "127.0.0.1:9".parse().unwrap());
    a.mesh.set_peer(b.id(), c.addr);
    b.mesh.set_peer(a.id(), "127.0.0.1:9".parse().unwrap());
    c.mesh.set_peer(a.id(), "127.0.0.1:9".parse().unwrap());
    std::thread::sleep(Duration::from_millis(100));
    assert!(!a.mesh.is_connected(b.id()) && !a.mesh.is_connected(c.id()));
    a.mesh.set_peer(b.id(), b.addr);
    eventually("a's address of b is enough for control", || {
        a.mesh.is_connected(b.id()) && b.mesh.is_connected(a.id())
    });
    b.mesh.set_peer(a.id(), a.addr);
    eventually("both are linked", || a.is_linked(&b));
    a.mesh.forget_peer(b.id());
    eventually("it is forgotten", || b.told.count("down rabbit@1") == 1);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!a.mesh.is_connected(b.id()) && !b.mesh.is_connected(a.id()));
    a.meet(&b);
    eventually("and known again", || a.is_linked(&b));
}

#[test]
fn whoever_is_there_can_be_asked_and_called_before_it_is_known() {
    let (a, b) = (Node::start(identity(1, 10)), Node::start(identity(2, 20)));
    run(async {
        assert_eq!(a.mesh.probe(b.addr).await, Ok(b.identity.clone()));
        assert_eq!(a.mesh.probe(a.addr).await, Err(ProbeError::Myself));
        let nobody = a.mesh.probe("127.0.0.1:9".parse().unwrap()).await;
        assert!(matches!(nobody, Err(ProbeError::Unreachable(_))), "{nobody:?}");
        let (who, answer) = a.mesh.call_addr(b.addr, WHO, Vec::new(), LIMIT).await.unwrap();
        assert_eq!((who, &answer[..]), (b.identity.clone(), &1u64.to_be_bytes()[..]));
    });
    assert!(a.told.events.lock().unwrap().is_empty());
    assert_eq!(*b.told.events.lock().unwrap(), ["call 5 from 1"]);
}

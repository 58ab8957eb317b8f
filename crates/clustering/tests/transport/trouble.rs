//! Peers that pause, and connections that break.

use crate::node::{ECHO, LIMIT, Node, eventually, identity, run};
use crate::proxy::Proxy;
use clustering::transport::CallError;
use std::time::{Duration, Instant};

/// Two nodes of which only the first can dial, through a proxy.
fn through_proxy(ids: [u64; 2]) -> (Node, Node, Proxy) {
    let [a, b] = ids.map(|id| Node::start(identity(id, id)));
    let proxy = Proxy::start(b.addr);
    a.mesh.set_peer(b.id(), proxy.addr);
    b.mesh.set_peer(a.id(), "127.0.0.1:9".parse().unwrap());
    eventually("they are linked", || {
        let linked = a.mesh.is_connected(b.id()) && b.mesh.is_connected(a.id());
        linked && a.mesh.data_link(b.id()).is_some() && b.told.count("data up") == 1
    });
    (a, b, proxy)
}

#[test]
fn a_peer_that_pauses_is_down_in_a_second_and_a_half_and_back_when_it_goes_on() {
    for ids in [[201, 202], [204, 203]] {
        let (a, b, proxy) = through_proxy(ids);
        let link = a.mesh.data_link(b.id()).unwrap();
        std::thread::sleep(Duration::from_millis(400));
        let start = Instant::now();
        proxy.pause(true);
        let call = run(a.mesh.call(b.id(), ECHO, Vec::new(), LIMIT));
        assert_eq!(call, Err(CallError::Closed));
        eventually("both notice", || a.told.count("down") == 1 && b.told.count("down") == 1);
        let took = start.elapsed();
        assert!(took < Duration::from_millis(1_500) && took > Duration::from_millis(600), "{took:?}");
        eventually("data links go down with it", || link.is_closed() && b.told.count("data down") == 1);
        assert!(a.told.events.lock().unwrap().iter().any(|event| event.contains("nothing was heard for 1s")));
        proxy.pause(false);
        eventually("they are back", || a.mesh.is_connected(b.id()) && b.mesh.is_connected(a.id()));
        eventually("data too", || a.mesh.data_link(b.id()).is_some());
        assert!(a.told.count("up") == 2 && b.told.count("up") == 2);
    }
}

#[test]
fn a_slow_consumer_is_felt_by_the_sender_and_by_nobody_else() {
    let (a, b, _proxy) = through_proxy([221, 222]);
    let link = a.mesh.data_link(b.id()).unwrap();
    let closed = b.told.gate.lock().unwrap();
    link.put(|frame| frame.extend_from_slice(b"wait"));
    let (start, mut sent) = (Instant::now(), 1);
    // What the sockets on the way take is some MiB; then nothing goes on.
    while start.elapsed() < Duration::from_millis(1_500) {
        while !link.is_full() {
            assert!(link.put(|frame| frame.resize(frame.len() + 50_000, 1)));
            link.flush();
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(link.is_full() && link.buffered_bytes() < 1_200_000, "{}", link.buffered_bytes());
    assert!(b.told.frames.lock().unwrap().is_empty());
    let answer = run(a.mesh.call(b.id(), ECHO, b"well".to_vec(), LIMIT));
    assert_eq!(&answer.unwrap()[..], b"well");
    drop(closed);
    eventually("all came", || b.told.frames.lock().unwrap().len() == sent);
    assert_eq!(a.told.count("down") + b.told.count("down"), 0);
}

#[test]
fn nodes_come_and_go_and_all_are_linked_again_each_time() {
    let mut nodes: Vec<Node> = (231..234).map(|id| Node::start(identity(id, 1))).collect();
    for round in 0..12u64 {
        for at in 0..nodes.len() {
            nodes[at].meet(&nodes[(at + 1) % 3]);
        }
        let linked = || (0..3).all(|at| nodes[at].is_linked(&nodes[(at + 1) % 3]));
        eventually("all are linked", linked);
        // Two of three rounds without saying goodbye to one of the others first.
        let gone = nodes.remove(round as usize * 7 % 3);
        if round % 3 == 0 {
            nodes[0].mesh.forget_peer(gone.id());
        }
        let id = gone.id().0;
        drop(gone);
        nodes.push(Node::start(identity(id, round + 2)));
    }
    for node in &nodes {
        let (up, down) = (node.told.count("up"), node.told.count("down"));
        assert!(up <= down + 2, "{up} up, {down} down");
    }
}

#[test]
fn load_on_data_links_does_not_look_like_death() {
    let (a, b, _proxy) = through_proxy([211, 212]);
    let link = a.mesh.data_link(b.id()).unwrap();
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(2) {
        while !link.is_full() {
            assert!(link.put(|frame| frame.resize(frame.len() + 100_000, 1)));
            sent += 1;
        }
        link.flush();
        std::thread::sleep(Duration::from_millis(1));
    }
    let came = || b.told.frames.lock().unwrap().len();
    eventually("all came", || came() == sent);
    assert!(a.told.count("down") + b.told.count("down") + a.told.count("data down") == 0);
}

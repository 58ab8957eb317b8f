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

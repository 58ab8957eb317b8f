//! Whoever is no member gets nothing, is told of once, and harms nobody.

use crate::log;
use crate::node::{ECHO, LIMIT, Node, eventually, identity, run, secret};
use clustering::identity::{ClusterId, NodeIdentity, WireVersion};
use clustering::secret::ClusterSecret;
use clustering::transport::{CallError, ProbeError, TransportConfig};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

fn wrong_secret(id: u64) -> Node {
    let secret = ClusterSecret::new("incorrect horse battery").unwrap();
    Node::with(identity(id, id), TransportConfig::new(secret))
}

#[test]
fn a_wrong_secret_is_told_on_both_sides_once() {
    log::collect();
    let member = Node::start(identity(101, 1));
    let stranger = wrong_secret(102);
    stranger.mesh.set_peer(member.id(), member.addr);
    member.mesh.set_peer(stranger.id(), "127.0.0.1:9".parse().unwrap());
    let to_member = member.addr.to_string();
    eventually("it is logged", || !log::lines(&["same secret", &format!("{to_member}:")]).is_empty());
    // It dials again several times meanwhile.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(log::lines(&["same secret", &format!("{to_member}:")]).len(), 1);
    assert!(!log::lines(&["gets no link", "same secret", "cluster-secret-file"]).is_empty());
    assert!(!member.mesh.is_connected(stranger.id()) && !stranger.mesh.is_connected(member.id()));
    run(async {
        assert_eq!(stranger.mesh.probe(member.addr).await, Err(ProbeError::WrongSecret));
        let called = stranger.mesh.call_addr(member.addr, ECHO, Vec::new(), LIMIT).await;
        assert!(matches!(called, Err(CallError::Refused(_))), "{called:?}");
    });
}

#[test]
fn other_clusters_and_versions_are_told_apart() {
    log::collect();
    let member = Node::start(identity(111, 1));
    let foreign = Node::start(NodeIdentity { cluster: ClusterId(78), ..identity(112, 1) });
    let newer = WireVersion { major: 2, minor: 0 };
    let newer = Node::start(NodeIdentity { wire: newer, ..identity(113, 1) });
    run(async {
        let name = "rabbit@111".to_owned();
        let cluster = ClusterId(77);
        assert_eq!(foreign.mesh.probe(member.addr).await, Err(ProbeError::OtherCluster { name, cluster }));
        let ours = member.identity.wire;
        assert_eq!(newer.mesh.probe(member.addr).await, Err(ProbeError::Version(ours)));
        assert_eq!(member.mesh.probe(newer.addr).await, Err(ProbeError::Version(newer.identity.wire)));
    });
    let refused_there = log::lines(&["rabbit@112 was refused", "different clusters"]);
    let refused_here = log::lines(&["rabbit@111 refused this node", "different clusters"]);
    assert_eq!((refused_there.len(), refused_here.len()), (1, 1));
    let dialled = format!("{}:", newer.addr);
    assert_eq!(log::lines(&[&dialled, "it speaks version 2.0 between nodes, this node 1.0"]).len(), 1);
}

#[test]
fn two_nodes_with_one_id_are_told_apart_from_a_restart() {
    log::collect();
    let (a, b) = (Node::start(identity(121, 1)), Node::start(identity(122, 1)));
    a.meet(&b);
    eventually("they are linked", || a.is_linked(&b));
    // Another process with the id of b: for a it is b, started anew.
    let twin = Node::start(identity(122, 2));
    twin.meet(&a);
    let has_links = || a.told.count("up rabbit@122 2") == 1 && a.is_linked(&twin);
    eventually("the newer process has the links", has_links);
    // But b still runs.
    b.mesh.set_peer(a.id(), a.addr);
    eventually("b is told", || !log::lines(&["two nodes have the id 000000000000007a"]).is_empty());
    std::thread::sleep(Duration::from_millis(300));
    assert!(a.is_linked(&twin) && !b.mesh.is_connected(a.id()));
    assert_eq!(a.told.count("up rabbit@122"), 2);
    let itself = run(twin.mesh.probe(b.addr));
    assert!(matches!(&itself, Err(ProbeError::SameId { name }) if name == "rabbit@122"), "{itself:?}");
}

/// Waits until the other side closes.
fn is_closed(mut socket: &TcpStream) -> bool {
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut buffer = [0; 256];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn send(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(addr).unwrap();
    // The node may have closed already.
    let _ = socket.write_all(bytes);
    socket
}

#[test]
fn garbage_half_handshakes_and_silence_harm_nobody() {
    let config =
        TransportConfig { handshake_timeout: Duration::from_millis(300), ..TransportConfig::new(secret()) };
    let (a, b) = (Node::with(identity(131, 1), config), Node::start(identity(132, 1)));
    a.meet(&b);
    eventually("they are linked", || a.is_linked(&b));
    let mut half = b"LVRT\x01\0\0\0\x01\0\0\0".to_vec();
    let start = Instant::now();
    let silent: Vec<TcpStream> = (0..20).map(|_| send(a.addr, b"")).collect();
    let begun = send(a.addr, &half);
    half.resize(76, 3);
    let unfinished = send(a.addr, &half);
    half.extend_from_slice(&u32::MAX.to_le_bytes());
    for garbage in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), vec![0xff; 100_000], half] {
        assert!(is_closed(&send(a.addr, &garbage)));
    }
    for socket in silent.iter().chain([&begun, &unfinished]) {
        assert!(is_closed(socket));
    }
    assert!(start.elapsed() >= Duration::from_millis(300), "the silent ones got their time");
    let answer = run(b.mesh.call(a.id(), ECHO, b"still".to_vec(), LIMIT));
    assert_eq!(&answer.unwrap()[..], b"still");
    assert!(a.is_linked(&b) && a.told.count("down") == 0);
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let (a, b) = (Node::start(identity(141, 1)), Node::start(identity(142, 1)));
    let crowd: Vec<TcpStream> = (0..200).map(|_| send(a.addr, b"LVRT")).collect();
    let start = Instant::now();
    a.meet(&b);
    eventually("they are linked", || a.is_linked(&b));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    // At most 64 are let wait; the others were sent away.
    let open = || {
        let waits = |mut socket: &TcpStream| {
            socket.set_nonblocking(true).unwrap();
            socket.read(&mut [0; 8]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        };
        crowd.iter().filter(|socket| waits(socket)).count()
    };
    eventually("most are sent away", || open() <= 64);
}

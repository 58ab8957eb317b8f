//! A peer that is played by hand: links that come in an odd order, come again, or say odd things.

use crate::node::{ECHO, Node, SLOW, eventually, identity, run, secret};
use bytes::Bytes;
use clustering::identity::NodeIdentity;
use clustering::transport::{
    HandshakeError, Link, LinkClass, LinkReader, LinkWriter, Refusal, TransportConfig,
};
use std::time::Duration;
use types::NodeId;

/// A node that knows the peer 302 and cannot reach it.
fn node() -> Node {
    let node = Node::start(identity(301, 1));
    node.mesh.set_peer(NodeId(302), "127.0.0.1:9".parse().unwrap());
    node
}

async fn dial(node: &Node, me: &NodeIdentity, class: LinkClass) -> Result<Link, HandshakeError> {
    let config = TransportConfig::new(secret());
    Link::dial(node.addr, class, Some(node.id().0), me, &config).await
}

/// A control link that shows that it lives, and its ends.
async fn control(node: &Node, boot: u64) -> (LinkReader, LinkWriter) {
    let (reader, writer) =
        dial(node, &identity(302, boot), LinkClass::Control).await.unwrap().split().unwrap();
    let pings = writer.clone();
    tokio::spawn(async move {
        while pings.put(|frame| frame.push(0)) {
            pings.flush();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    (reader, writer)
}

/// Like `eventually`, with other tasks going on.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{what}");
}

async fn closes(mut reader: LinkReader) {
    while reader.read(&mut drop).await.unwrap_or(false) {}
}

fn events(node: &Node) -> Vec<String> {
    node.told.events.lock().unwrap().clone()
}

#[test]
fn a_data_link_that_is_early_waits_for_the_control_link() {
    let node = node();
    run(async {
        let data = dial(&node, &identity(302, 1), LinkClass::Data).await.unwrap();
        let (_reader, writer) = data.split().unwrap();
        writer.put(|frame| frame.extend_from_slice(b"early"));
        writer.flush();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(events(&node).is_empty());
        let _control = control(&node, 1).await;
        until("its frame comes", || node.told.frames.lock().unwrap().len() == 1).await;
        assert_eq!(events(&node), ["up rabbit@302 1", "data up rabbit@302 false"]);
        assert_eq!(node.told.frames.lock().unwrap()[0].1, "early");
    });
}

#[test]
fn who_dials_again_has_given_up_its_first_links() {
    let node = node();
    run(async {
        let (reader, _writer) = control(&node, 1).await;
        let data = dial(&node, &identity(302, 1), LinkClass::Data).await.unwrap();
        let (_data_reader, data_writer) = data.split().unwrap();
        until("both are up", || node.told.count("data up") == 1).await;
        let _again = control(&node, 1).await;
        closes(reader).await;
        until("its data link is closed", || node.told.count("data down") == 1).await;
        until("the writer notices", || {
            data_writer.put(|frame| frame.push(1));
            data_writer.flush();
            data_writer.is_closed()
        })
        .await;
        let control_events: Vec<String> =
            events(&node).into_iter().filter(|event| !event.starts_with("data")).collect();
        let expected = ["up rabbit@302 1", "down rabbit@302 1: it dialled again", "up rabbit@302 1"];
        assert_eq!(control_events, expected);
        assert!(node.mesh.is_connected(NodeId(302)));
    });
}

#[test]
fn when_both_dial_at_once_the_lower_id_s_link_stays_and_nobody_is_told() {
    let node = Node::start(identity(301, 1));
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let me = identity(300, 1);
        node.mesh.set_peer(me.node(), listener.local_addr().unwrap());
        let mut theirs = Vec::new();
        for class in [LinkClass::Control, LinkClass::Data] {
            let socket = listener.accept().await.unwrap().0;
            let config = TransportConfig::new(secret());
            let link = Link::accept(socket, &me, &config, &|_, _| Ok(())).await.unwrap();
            assert_eq!((link.class, link.dialled), (class, false));
            theirs.push(link.split().unwrap());
        }
        let ours = dial(&node, &me, LinkClass::Control).await.unwrap().split().unwrap();
        let (data, control) = (theirs.pop().unwrap(), theirs.pop().unwrap());
        closes(control.0).await;
        assert!(!ours.1.is_closed() && !data.1.is_closed() && node.mesh.is_connected(me.node()));
        assert_eq!(events(&node), ["up rabbit@300 1", "data up rabbit@300 true"]);
    });
}

#[test]
fn a_new_process_replaces_the_old_one_at_once_and_the_old_one_stays_out() {
    let node = node();
    run(async {
        let (reader, _writer) = control(&node, 1).await;
        until("it is up", || node.told.count("up") == 1).await;
        let _newer = control(&node, 2).await;
        closes(reader).await;
        until("both are told", || events(&node).len() == 3).await;
        assert_eq!(events(&node)[1], "down rabbit@302 1: its process was started anew");
        assert_eq!(events(&node)[2], "up rabbit@302 2");
        for class in [LinkClass::Control, LinkClass::Data] {
            let old = dial(&node, &identity(302, 1), class).await.err();
            let refused = HandshakeError::RefusedByPeer("rabbit@301".to_owned(), Refusal::SameId(302));
            assert_eq!(old, Some(refused));
        }
    });
}

#[test]
fn only_known_peers_get_links_and_only_one_control_link() {
    let (a, b) = (node(), Node::start(identity(303, 1)));
    a.meet(&b);
    eventually("they are linked", || a.is_linked(&b));
    run(async {
        let refused = |refusal| Some(HandshakeError::RefusedByPeer("rabbit@301".to_owned(), refusal));
        for class in [LinkClass::Control, LinkClass::Data] {
            assert_eq!(dial(&a, &identity(399, 1), class).await.err(), refused(Refusal::Unknown));
        }
        // The lower id's dial is up.
        let second = dial(&a, &b.identity, LinkClass::Control).await.err();
        assert_eq!(second, refused(Refusal::Duplicate));
    });
    assert!(a.is_linked(&b) && a.told.count("down") == 0);
}

#[test]
fn nonsense_on_a_control_link_closes_it() {
    let node = node();
    run(async {
        for nonsense in [&b"\x09\0\0\0\0\0\0\0\0"[..], b"", b"\x01\0", b"\x01\0\0\0\0\0\0\0\0"] {
            let before = node.told.count("down");
            let (reader, writer) = control(&node, 1).await;
            writer.put(|frame| frame.extend_from_slice(nonsense));
            writer.flush();
            closes(reader).await;
            until("it is down", || node.told.count("down") == before + 1).await;
        }
    });
}

#[test]
fn more_calls_than_can_be_in_flight_are_refused() {
    const MORE: usize = 76;
    let node = node();
    run(async {
        let (mut reader, writer) = control(&node, 1).await;
        for number in 0..1_024 + MORE as u64 {
            writer.put(|frame| {
                frame.push(1);
                frame.extend_from_slice(&number.to_le_bytes());
                frame.push(SLOW);
            });
        }
        writer.flush();
        let mut refusals = 0;
        while refusals < MORE {
            let mut each = |frame: Bytes| {
                if frame[0] == 3 {
                    assert!(String::from_utf8_lossy(&frame).contains("are being answered already"));
                    refusals += 1;
                }
                assert_ne!(frame[0], 2, "none is answered");
            };
            assert!(reader.read(&mut each).await.unwrap());
        }
        assert_eq!(refusals, MORE);
        // Bodies count as well: nine of 16 MiB would be too much.
        let (mut reader, writer) = control(&node, 1).await;
        for number in 0..9u64 {
            writer.put(|frame| {
                frame.push(1);
                frame.extend_from_slice(&number.to_le_bytes());
                frame.push(SLOW);
                frame.resize(frame.len() + 16 * 1024 * 1024, 0);
            });
            // The node wants to hear something all the time.
            writer.flush();
            writer.room().await;
        }
        writer.put(|frame| frame.extend_from_slice(&[1, 100, 0, 0, 0, 0, 0, 0, 0, ECHO]));
        writer.flush();
        let mut refused = Vec::new();
        while refused.len() < 2 {
            let mut each = |frame: Bytes| refused.extend((frame[0] == 3).then(|| frame[1]));
            assert!(reader.read(&mut each).await.unwrap());
        }
        assert_eq!(refused, [8, 100]);
    });
}

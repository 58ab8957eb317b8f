//! Links inside mutual TLS.

use crate::certificates::Authority;
use crate::node::{ECHO, LIMIT, Node, eventually, identity, run, secret};
use clustering::secret::ClusterSecret;
use clustering::transport::{ProbeError, Tls, TransportConfig};

fn node(id: u64, tls: Option<Tls>) -> Node {
    Node::with(identity(id, id * 10), TransportConfig { tls, ..TransportConfig::new(secret()) })
}

#[test]
fn nodes_with_certificates_link() {
    let authority = Authority::new();
    let (a, b) = (node(1, Some(authority.member())), node(2, Some(authority.member())));
    a.meet(&b);
    eventually("they are linked", || a.is_linked(&b));
    let body: Vec<u8> = (0..3_000_000u32).map(|at| (at >> 2) as u8).collect();
    run(async {
        assert!(a.mesh.call(b.id(), ECHO, body.clone(), LIMIT).await.unwrap() == body);
        assert_eq!(b.mesh.probe(a.addr).await, Ok(a.identity.clone()));
    });
    let link = a.mesh.data_link(b.id()).unwrap();
    for _ in 0..10 {
        assert!(link.put(|frame| frame.extend_from_slice(&body)));
        link.flush();
    }
    eventually("frames came", || b.told.frames.lock().unwrap().len() == 10);
    assert!(b.told.frames.lock().unwrap().iter().all(|(_, frame)| *frame == body));
}

#[test]
fn a_certificate_or_a_secret_alone_is_not_enough() {
    let (authority, other) = (Authority::new(), Authority::new());
    let member = node(1, Some(authority.member()));
    let refused = |node: &Node, words: &str| {
        let asked = run(node.mesh.probe(member.addr));
        let Err(error) = asked else { panic!("it is let in") };
        assert!(!matches!(error, ProbeError::Unreachable(_)), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(&node(2, Some(authority.tls(None))), "TLS failed");
    refused(&node(3, Some(authority.tls(Some(&other)))), "TLS failed");
    refused(&node(4, Some(other.member())), "TLS failed");
    refused(&node(5, None), "TLS");
    let stranger = ClusterSecret::new("incorrect horse battery").unwrap();
    let config = TransportConfig { tls: Some(authority.member()), ..TransportConfig::new(stranger) };
    refused(&Node::with(identity(6, 60), config), "same secret");
    // And a member meets a node without TLS.
    let plain = node(7, None);
    let asked = run(member.mesh.probe(plain.addr));
    assert!(matches!(&asked, Err(ProbeError::Refused(why)) if why.contains("TLS")), "{asked:?}");
}

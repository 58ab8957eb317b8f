//! Handshakes over a pipe in memory, with and without somebody in the middle.

use super::*;
use crate::identity::{WIRE_VERSION, WireVersion};
use tokio::io::{DuplexStream, duplex};

/// How long a side waits.
const LIMIT: Duration = Duration::from_secs(10);
/// The same where it is waited for in vain, many times.
const LIMIT_OFTEN: Duration = Duration::from_millis(150);

fn identity(id: u64) -> NodeIdentity {
    NodeIdentity {
        id,
        name: format!("rabbit@{id}"),
        cluster: ClusterId(7),
        boot: id * 10,
        wire: WIRE_VERSION,
        version: "0.1.0".to_owned(),
        addr: ([127, 0, 0, 1], 1).into(),
    }
}

struct Party {
    me: NodeIdentity,
    secret: ClusterSecret,
    session: Vec<u8>,
    limit: Duration,
}

type Outcome = Result<Agreed, HandshakeError>;

impl Party {
    fn new(me: NodeIdentity) -> Party {
        let secret = ClusterSecret::new("correct horse battery").unwrap();
        Party { me, secret, session: Vec::new(), limit: LIMIT }
    }

    fn side(&self) -> Side<'_> {
        Side { me: &self.me, secret: &self.secret, session: &self.session }
    }

    async fn dial(&self, mut stream: DuplexStream, expect: Option<u64>) -> Outcome {
        let side = self.side();
        let dialled = side.dial(&mut stream, LinkClass::Data, expect);
        tokio::time::timeout(self.limit, dialled).await.unwrap_or(Err(HandshakeError::Io("late".to_owned())))
    }

    async fn accept(&self, mut stream: DuplexStream) -> Outcome {
        let admit = |node: &NodeIdentity, _| if node.id == 66 { Err(Refusal::Unknown) } else { Ok(()) };
        let side = self.side();
        let accepted = side.accept(&mut stream, &admit);
        tokio::time::timeout(self.limit, accepted).await.unwrap_or(Err(HandshakeError::Io("late".to_owned())))
    }
}

async fn meet(dialler: &Party, acceptor: &Party) -> (Outcome, Outcome) {
    let (near, far) = duplex(64 * 1024);
    tokio::join!(dialler.dial(near, None), acceptor.accept(far))
}

fn error(outcome: Outcome) -> HandshakeError {
    outcome.err().expect("no link")
}

/// How both sides end when they do.
async fn errors(dialler: &Party, acceptor: &Party) -> (HandshakeError, HandshakeError) {
    let (dialled, accepted) = meet(dialler, acceptor).await;
    (error(dialled), error(accepted))
}

#[tokio::test]
async fn both_get_to_know_each_other() {
    let (a, b) = (Party::new(identity(1)), Party::new(identity(2)));
    let (dialled, accepted) = meet(&a, &b).await;
    let (mut dialled, mut accepted) = (dialled.ok().unwrap(), accepted.ok().unwrap());
    assert_eq!((&dialled.peer, dialled.class), (&b.me, LinkClass::Data));
    assert_eq!((&accepted.peer, accepted.class), (&a.me, LinkClass::Data));
    // The records go on where the handshake ended.
    let mut record = [0; 64];
    let length = dialled.sealer.seal(b"a frame", &mut record).unwrap();
    let record = Record::first(&record[..length]).unwrap().unwrap();
    let mut plain = [0; 7];
    accepted.opener.open(&record, &mut plain).unwrap();
    assert_eq!(&plain, b"a frame");
    let joining = NodeIdentity { cluster: ClusterId(0), ..identity(3) };
    let (dialled, accepted) = meet(&Party::new(joining), &b).await;
    assert!(dialled.is_ok() && accepted.is_ok());
}

#[tokio::test]
async fn another_secret_is_noticed_by_both() {
    let (a, mut b) = (Party::new(identity(1)), Party::new(identity(2)));
    b.secret = ClusterSecret::new("incorrect horse battery").unwrap();
    assert_eq!(errors(&a, &b).await, (HandshakeError::WrongSecret, HandshakeError::WrongSecret));
    let (mut a, mut b) = (Party::new(identity(1)), Party::new(identity(2)));
    (a.session, b.session) = (vec![1; 32], vec![2; 32]);
    assert_eq!(errors(&a, &b).await, (HandshakeError::WrongSecret, HandshakeError::WrongSecret));
}

#[tokio::test]
async fn nodes_that_do_not_fit_tell_each_other_why() {
    let me = Party::new(identity(1));
    let refused = |name: &str, refusal: Refusal| {
        let by_peer = HandshakeError::RefusedByPeer("rabbit@1".to_owned(), refusal.clone());
        (by_peer, HandshakeError::Refused(name.to_owned(), refusal))
    };
    let foreign = Party::new(NodeIdentity { cluster: ClusterId(8), ..identity(2) });
    assert_eq!(errors(&foreign, &me).await, refused("rabbit@2", Refusal::OtherCluster(ClusterId(7))));
    let twin = Party::new(NodeIdentity { boot: 99, ..identity(1) });
    assert_eq!(errors(&twin, &me).await, refused("rabbit@1", Refusal::SameId(1)));
    assert_eq!(errors(&me, &me).await, refused("rabbit@1", Refusal::Myself));
    let stranger = Party::new(identity(66));
    assert_eq!(errors(&stranger, &me).await, refused("rabbit@66", Refusal::Unknown));
    // Here it is the one who dials that refuses.
    let (near, far) = duplex(64 * 1024);
    let other = Party::new(identity(2));
    let (dialled, accepted) = tokio::join!(me.dial(near, Some(3)), other.accept(far));
    let refusal = Refusal::OtherNode(3);
    assert_eq!(error(dialled), HandshakeError::Refused("rabbit@2".to_owned(), refusal.clone()));
    assert_eq!(error(accepted), HandshakeError::RefusedByPeer("rabbit@1".to_owned(), refusal));
}

#[tokio::test]
async fn major_versions_have_to_be_the_same_and_minor_ones_need_not() {
    let speaks = |major, minor| {
        Party::new(NodeIdentity { wire: WireVersion { major, minor }, ..identity(u64::from(minor) + 5) })
    };
    let (old, new, newer) = (speaks(1, 0), speaks(1, 3), speaks(2, 1));
    let (dialled, accepted) = meet(&old, &new).await;
    assert!(dialled.is_ok() && accepted.is_ok());
    let (dialled, accepted) = errors(&old, &newer).await;
    assert_eq!(dialled, HandshakeError::Version(newer.me.wire));
    assert_eq!(accepted, HandshakeError::Version(old.me.wire));
}

/// Passes on what comes, with one byte changed; keeps what passed.
async fn pass(mut from: DuplexStream, mut to: DuplexStream, flips: [Option<usize>; 2]) -> [Vec<u8>; 2] {
    let mut passed = [Vec::new(), Vec::new()];
    let (mut one, mut two) = ([0; 512], [0; 512]);
    loop {
        let (direction, count) = tokio::select! {
            count = from.read(&mut one) => (0, count.unwrap_or(0)),
            count = to.read(&mut two) => (1, count.unwrap_or(0)),
        };
        let buffer = if direction == 0 { &mut one } else { &mut two };
        let before = passed[direction].len();
        passed[direction].extend_from_slice(&buffer[..count]);
        if let Some(at) = flips[direction].and_then(|at| at.checked_sub(before)).filter(|at| *at < count) {
            buffer[at] ^= 1 << (at % 8);
        }
        let onward = if direction == 0 { &mut to } else { &mut from };
        if count == 0 || onward.write_all(&buffer[..count]).await.is_err() {
            return passed;
        }
    }
}

async fn meet_through(flips: [Option<usize>; 2]) -> (Outcome, Outcome, [Vec<u8>; 2]) {
    let (mut a, mut b) = (Party::new(identity(1)), Party::new(identity(2)));
    if flips != [None, None] {
        (a.limit, b.limit) = (LIMIT_OFTEN, LIMIT_OFTEN);
    }
    let ((near, left), (right, far)) = (duplex(4_096), duplex(4_096));
    let between = tokio::spawn(pass(left, right, flips));
    let (dialled, accepted) = tokio::join!(a.dial(near, None), b.accept(far));
    (dialled, accepted, between.await.unwrap())
}

#[tokio::test]
async fn no_byte_of_a_handshake_can_be_changed_on_the_way() {
    let (dialled, accepted, passed) = meet_through([None, None]).await;
    assert!(dialled.is_ok() && accepted.is_ok());
    for direction in [0, 1] {
        for at in 0..passed[direction].len() {
            let mut flips = [None, None];
            flips[direction] = Some(at);
            let (dialled, accepted, _) = meet_through(flips).await;
            // The dialler says the last word, so only the other side can notice that it was changed.
            assert!(accepted.is_err(), "byte {at} of direction {direction}");
            assert!(direction == 0 || dialled.is_err(), "byte {at} of direction {direction}");
        }
    }
}

#[tokio::test]
async fn a_recorded_handshake_opens_nothing() {
    let [recorded, _] = meet_through([None, None]).await.2;
    let (mut near, far) = duplex(64 * 1024);
    let b = Party::new(identity(2));
    near.write_all(&recorded).await.unwrap();
    near.shutdown().await.unwrap();
    let replay = async {
        let mut answer = Vec::new();
        let _ = near.read_to_end(&mut answer).await;
        answer
    };
    let accepting = async { b.accept(far).await };
    let (accepted, answer) = tokio::join!(accepting, replay);
    assert_eq!(error(accepted), HandshakeError::WrongSecret);
    assert_eq!(answer.len(), HELLO_BYTES + SECRET_DIFFERS.len(), "nothing but a hello is told");
}

#[tokio::test]
async fn what_is_no_handshake_ends_at_once() {
    for (garbage, why) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "not LVRT"),
        (b"\x16\x03\x01\x02\0\x01\0\x01", "TLS"),
        (b"LVRT\x01\0\0\0\x09", "unexpected end of file"),
        (b"LVR", "unexpected end of file"),
        (b"", "unexpected end of file"),
    ] {
        let (mut near, far) = duplex(1_024);
        near.write_all(garbage).await.unwrap();
        near.shutdown().await.unwrap();
        let error = error(Party::new(identity(2)).accept(far).await).to_string();
        assert!(error.contains(why) || error.contains("eof"), "{error}");
    }
    // After a good hello, a message that is far too long.
    let (mut near, far) = duplex(1_024);
    let hello = OwnHello::new(WIRE_VERSION, LinkClass::Control).unwrap();
    near.write_all(&hello.bytes).await.unwrap();
    near.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let error = error(Party::new(identity(2)).accept(far).await);
    assert_eq!(error, HandshakeError::Garbage("a message of 4294967295 bytes".to_owned()));
}

#[test]
fn version_1_looks_like_this_for_ever() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let me = identity(300);
    assert_eq!(
        hex(postcard::to_allocvec(&me).unwrap()),
        "ac020a7261626269744033303007b817010005302e312e30007f00000101"
    );
    let refusals = [
        (Refusal::OtherCluster(ClusterId(300)), "0100ac02"),
        (Refusal::Version(WireVersion { major: 1, minor: 300 }), "010101ac02"),
        (Refusal::SameId(300), "0102ac02"),
        (Refusal::Myself, "0103"),
        (Refusal::Unknown, "0104"),
        (Refusal::Duplicate, "0105"),
        (Refusal::OtherNode(300), "0106ac02"),
        (Refusal::Other("no".to_owned()), "0107026e6f"),
    ];
    for (refusal, bytes) in refusals {
        assert_eq!(hex(postcard::to_allocvec(&Some(refusal)).unwrap()), bytes);
    }
    assert_eq!(hex(postcard::to_allocvec(&None::<Refusal>).unwrap()), "00");
}

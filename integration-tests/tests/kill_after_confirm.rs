//! A confirm leaves when the message is safe: the broker is killed the moment a confirm has come, and the
//! message is there.

use integration_tests::{Broker, Payload, Peer, publish_frames, with_restarts};

/// Delivery mode 2 and nothing else.
const PERSISTENT: [u8; 3] = [0x10, 0, 2];

async fn confirming(broker: &Broker) -> Peer {
    let mut peer = broker.peer().await;
    peer.channel(1).await;
    assert_eq!(peer.call(1, Payload::method(85, 10).octet(0)).await.ids(), (85, 11), "confirm.select-ok");
    peer
}

/// Publishes `count` messages and reads up to the confirm of the last; gives how many are confirmed.
async fn publish(peer: &mut Peer, first: u32, count: u32) -> u32 {
    for number in first..first + count {
        peer.send(&publish_frames(1, ("", "q"), 0, &PERSISTENT, number.to_string().as_bytes())).await;
    }
    let ack = peer.next_method().await;
    assert_eq!(ack.ids(), (60, 80), "basic.ack");
    let mut fields = ack.fields();
    let tag = fields.longlong();
    assert!(tag >= 1 && tag <= count.into(), "of one of these");
    // One confirm may stand for several, or for just one.
    if fields.octet() & 1 == 1 { tag as u32 } else { 1 }
}

#[test]
fn what_was_confirmed_is_there_after_thirty_kills() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.durable_queue("q").await;
        let mut confirmed = Vec::new();
        let mut next = 0;
        for round in 0..30 {
            let mut peer = confirming(broker).await;
            let count = 1 + round % 7;
            let sure = publish(&mut peer, next, count).await;
            broker.end(libc::SIGKILL);
            broker.start_again(&[]);
            confirmed.extend(next..next + sure);
            next += count;
        }
        let channel = broker.connect().await.channel().await;
        let found: Vec<u32> =
            channel.bodies("q").await.iter().map(|body| body.parse().expect("a number")).collect();
        assert!(found.is_sorted_by(|a, b| a < b), "in order and none twice: {found:?}");
        for number in confirmed {
            assert!(found.binary_search(&number).is_ok(), "{number} was confirmed: {found:?}");
        }
    });
}

#[test]
fn a_confirm_stands_for_every_queue_the_message_went_to() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.channel().await;
        for number in 0..20 {
            let queue = format!("q{number}");
            channel.durable_queue(&queue).await;
            channel.bind(&queue, "amq.fanout", "").await;
        }
        for round in 0..5usize {
            let mut peer = confirming(broker).await;
            let body = round.to_string();
            peer.send(&publish_frames(1, ("amq.fanout", ""), 0, &PERSISTENT, body.as_bytes())).await;
            assert_eq!(peer.next_method().await.ids(), (60, 80), "basic.ack");
            broker.restart(libc::SIGKILL);
            let channel = broker.connect().await.channel().await;
            for number in 0..20 {
                assert_eq!(channel.depth(&format!("q{number}")).await as usize, round + 1, "queue {number}");
            }
        }
    });
}

//! Publishers, consumers and lost connections at once: nothing lost, doubled or out of order.
//!
//! Each message tells its publisher and number. Consumers requeue some; connections are dropped with
//! messages unacknowledged. In the end every confirmed message was acknowledged by somebody exactly
//! once, and first deliveries of one publisher's messages in one queue came in order.

use integration_tests::{Broker, Channel, Client, Deliveries, WAIT, body, wait_for, with_broker};
use lapin::message::Delivery;
use lapin::options::BasicNackOptions;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const PUBLISHERS: usize = 3;
const QUEUES: usize = 3;
const MESSAGES: usize = 1_500;

/// What happened, as the consumers saw it.
#[derive(Default)]
struct History {
    /// Acknowledged, by queue and message.
    done: HashMap<(usize, String), u32>,
    /// The last first delivery of a publisher in a queue.
    last_fresh: HashMap<(usize, usize), usize>,
    out_of_order: Vec<String>,
}

impl History {
    /// Notes a delivery; a fresh one must be newer than those before it.
    fn saw(&mut self, queue: usize, delivery: &Delivery) {
        let text = body(delivery);
        let (publisher, number) = text.split_once('-').expect("publisher-number");
        let (publisher, number) = (publisher.parse().expect("number"), number.parse().expect("number"));
        if delivery.redelivered {
            return;
        }
        let last = self.last_fresh.entry((queue, publisher)).or_insert(0);
        if number <= *last {
            self.out_of_order.push(format!("queue {queue}: {text} after {last}"));
        }
        *last = number;
    }
}

/// Publishes numbered messages to all queues and waits for every confirm.
async fn publish(channel: Channel, publisher: usize) {
    let mut confirms = Vec::new();
    for number in 1..=MESSAGES {
        let text = format!("{publisher}-{number}");
        let sent = channel.basic_publish(
            "amq.fanout".into(),
            "".into(),
            Default::default(),
            text.as_bytes(),
            lapin::BasicProperties::default(),
        );
        confirms.push(sent.await.expect("sent"));
    }
    for confirm in confirms {
        assert!(integration_tests::soon("a confirm", confirm).await.expect("a confirm").is_ack());
    }
}

/// Consumes a queue alone: requeues some, loses its connection now and then.
async fn consume(
    addr: std::net::SocketAddr,
    queue: usize,
    history: Arc<Mutex<History>>,
    left: Arc<AtomicUsize>,
) {
    let mut turn = queue;
    while left.load(Ordering::Acquire) > 0 {
        let client = Client::connect(addr).await;
        let channel = client.channel().await;
        channel.prefetch(20).await;
        let mut consumer = channel.consume(&format!("q{queue}"), "").await;
        for _ in 0..700 {
            if left.load(Ordering::Acquire) == 0 {
                break;
            }
            let next = tokio::time::timeout(std::time::Duration::from_millis(200), consumer.delivery()).await;
            let Ok(delivery) = next else { continue };
            turn += 1;
            history.lock().expect("history").saw(queue, &delivery);
            if turn.is_multiple_of(11) {
                let requeue = BasicNackOptions { requeue: true, multiple: false };
                delivery.nack(requeue).await.expect("nack");
                continue;
            }
            *history.lock().expect("history").done.entry((queue, body(&delivery))).or_default() += 1;
            delivery.ack(Default::default()).await.expect("ack");
            left.fetch_sub(1, Ordering::AcqRel);
        }
        // What was prefetched and not settled goes back. Acks sent before the close have arrived.
        client.end().await;
    }
}

async fn run(broker: &Broker) -> Arc<Mutex<History>> {
    let client = broker.connect().await;
    let setup = client.channel().await;
    let history = Arc::new(Mutex::new(History::default()));
    let mut tasks = Vec::new();
    for queue in 0..QUEUES {
        setup.bound_queue(&format!("q{queue}"), "amq.fanout", "").await;
        let left = Arc::new(AtomicUsize::new(PUBLISHERS * MESSAGES));
        tasks.push(tokio::spawn(consume(broker.amqp, queue, history.clone(), left)));
    }
    let mut publishers = Vec::new();
    for publisher in 0..PUBLISHERS {
        let channel = broker.connect().await.confirm_channel().await;
        publishers.push(tokio::spawn(publish(channel, publisher)));
    }
    for task in publishers.into_iter().chain(tasks) {
        task.await.expect("a task ends well");
    }
    for queue in 0..QUEUES {
        wait_for(WAIT, "the queues to be empty", async || setup.depth(&format!("q{queue}")).await == 0).await;
    }
    history
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    with_broker(async |broker| {
        let history = run(broker).await;
        let history = history.lock().expect("history");
        assert!(history.out_of_order.is_empty(), "{:?}", history.out_of_order);
        assert_eq!(history.done.len(), PUBLISHERS * QUEUES * MESSAGES);
        let doubled: Vec<_> = history.done.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "{doubled:?}");
    });
}

#[test]
fn sockets_that_break_lose_nothing() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let setup = client.confirm_channel().await;
        setup.queue("q").await;
        let total = 400_u64;
        for number in 0..total {
            assert!(setup.publish("", "q", &number.to_string()).await.is_ack());
        }
        // Each connection takes some, acknowledges a few and is cut off.
        let mut settled = 0;
        for round in 0..8 {
            let mut peer = broker.peer().await;
            peer.channel(1).await;
            let qos = integration_tests::Payload::method(60, 10).long(0).short(60).octet(0);
            assert_eq!(peer.call(1, qos).await.ids(), (60, 11));
            let consume = integration_tests::Payload::method(60, 20).short(0).text("q").text("t").octet(0);
            assert_eq!(peer.call(1, consume.longtext(b"")).await.ids(), (60, 21));
            for tag in 1..=50_u64 {
                assert_eq!(peer.next_method().await.ids(), (60, 60));
                let text = String::from_utf8(peer.content().await.1).expect("text");
                let expected = settled + tag - 1;
                assert_eq!(text, expected.to_string(), "round {round}");
            }
            peer.method(1, integration_tests::Payload::method(60, 80).longlong(40).octet(1)).await;
            peer.sync_past_deliveries(1).await;
            settled += 40;
            drop(peer);
            setup.await_depth("q", (total - settled) as u32).await;
        }
        let left = setup.bodies("q").await;
        let expected: Vec<String> = (settled..total).map(|number| number.to_string()).collect();
        assert_eq!(left, expected);
    });
}

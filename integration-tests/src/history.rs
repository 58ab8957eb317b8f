//! Publishers and consumers that go on whatever happens to the nodes, and what came of every message.
//!
//! Invariant: nothing counts as confirmed that the broker did not confirm; a publisher never sends a message
//! twice, so that what comes twice was delivered twice. Every body names its publisher, its channel and its
//! number: "publisher channel number".

use crate::client::{Channel, Client, Deliveries, body, persistent};
use crate::wait::{soon, wait_for};
use futures_util::StreamExt;
use lapin::Confirmation;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicPublishOptions, ConfirmSelectOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a publish may be without an outcome: longer than any loss takes to be noticed.
const OUTCOME: Duration = Duration::from_secs(20);
/// How long after the last disturbance everything that was confirmed has to have come.
const DRAIN: Duration = Duration::from_secs(40);
/// Pause of a client that found nobody.
const PAUSE: Duration = Duration::from_millis(30);

/// Publisher, channel, number.
type Message = (u32, u32, u32);

#[derive(Default)]
struct Seen {
    sent: BTreeSet<Message>,
    confirmed: BTreeSet<Message>,
    refused: BTreeSet<Message>,
    delivered: BTreeSet<Message>,
    /// In the order of their first deliveries, by queue, without what came as redelivered.
    first: BTreeMap<String, Vec<Message>>,
    deliveries: usize,
}

struct Shared {
    /// Where the nodes are reached now.
    nodes: Mutex<Vec<SocketAddr>>,
    seen: Mutex<Seen>,
    published: AtomicBool,
    consumed: AtomicBool,
}

/// Clients at work.
pub struct History {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
}

/// What came of it all.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that were published.
    pub sent: usize,
    /// Those that were confirmed.
    pub confirmed: usize,
    /// Those that were refused.
    pub refused: usize,
    /// Deliveries beyond the first of a message.
    pub repeated: usize,
}

impl Shared {
    /// A channel on one of the nodes, which `turn` chooses.
    async fn connect(&self, turn: usize) -> Option<(Client, Channel)> {
        let addr = {
            let nodes = self.nodes.lock().expect("nodes");
            nodes.get(turn % nodes.len().max(1)).copied()?
        };
        let uri = format!("amqp://{addr}/%2f");
        let client =
            tokio::time::timeout(Duration::from_secs(5), Client::connect_to(&uri)).await.ok()?.ok()?;
        let channel =
            tokio::time::timeout(Duration::from_secs(5), client.create_channel()).await.ok()?.ok()?;
        Some((client, Channel(channel)))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("seen")
    }

    /// Publishes over one channel until it fails or all is published.
    async fn publish_over(&self, channel: &Channel, publisher: u32, session: u32, queue: &str) {
        for number in 0.. {
            if self.published.load(Ordering::Relaxed) {
                return;
            }
            let message = (publisher, session, number);
            self.seen().sent.insert(message);
            let body = format!("{publisher} {session} {number}");
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let sent =
                channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), persistent()).await;
            let Ok(confirm) = sent else { return };
            let outcome = tokio::time::timeout(OUTCOME, confirm).await;
            match outcome.unwrap_or_else(|_| panic!("{message:?} to '{queue}' never got an outcome")) {
                Ok(Confirmation::Ack(None)) => drop(self.seen().confirmed.insert(message)),
                Ok(_) => {
                    self.seen().refused.insert(message);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(_) => return,
            }
        }
    }

    async fn publish(&self, publisher: u32, queue: &str) {
        for session in 0.. {
            if self.published.load(Ordering::Relaxed) {
                return;
            }
            if let Some((_client, channel)) = self.connect((publisher + session) as usize).await
                && channel.confirm_select(ConfirmSelectOptions::default()).await.is_ok()
            {
                self.publish_over(&channel, publisher, session, queue).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What comes as redelivered was on its way to a consumer before that was cut off: it may come late.
    fn note(&self, queue: &str, delivery: &Delivery) {
        let text = body(delivery);
        let mut numbers = text.split(' ').map(|number| number.parse().expect("a number"));
        let mut next = || numbers.next().expect("three numbers");
        let message = (next(), next(), next());
        let mut seen = self.seen();
        seen.deliveries += 1;
        if seen.delivered.insert(message) && !delivery.redelivered {
            seen.first.entry(queue.to_owned()).or_default().push(message);
        }
    }

    async fn consume(&self, turn: usize, queue: &str) {
        for session in 0.. {
            if self.consumed.load(Ordering::Relaxed) {
                return;
            }
            if let Some((_client, channel)) = self.connect(turn + session).await
                && channel.basic_qos(100, Default::default()).await.is_ok()
                && let Ok(consumer) = channel
                    .basic_consume(queue.into(), "".into(), Default::default(), Default::default())
                    .await
            {
                self.consume_over(consumer, queue).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn consume_over(&self, mut consumer: lapin::Consumer, queue: &str) {
        while !self.consumed.load(Ordering::Relaxed) {
            let next = tokio::time::timeout(PAUSE, consumer.next()).await;
            match next {
                Err(_) => {}
                Ok(Some(Ok(delivery))) => {
                    self.note(queue, &delivery);
                    if delivery.ack(BasicAckOptions::default()).await.is_err() {
                        return;
                    }
                }
                Ok(_) => return,
            }
        }
        drop(consumer.waiting());
    }
}

impl History {
    /// Starts two publishers and a consumer for each of these queues, which are there and durable.
    pub fn start(nodes: Vec<SocketAddr>, queues: &[String]) -> History {
        let shared = Arc::new(Shared {
            nodes: Mutex::new(nodes),
            seen: Mutex::default(),
            published: AtomicBool::new(false),
            consumed: AtomicBool::new(false),
        });
        let (mut publishers, mut consumers) = (Vec::new(), Vec::new());
        for (at, queue) in queues.iter().enumerate() {
            for publisher in [2 * at, 2 * at + 1] {
                let (shared, queue) = (shared.clone(), queue.clone());
                publishers.push(tokio::spawn(async move { shared.publish(publisher as u32, &queue).await }));
            }
            let (shared, queue) = (shared.clone(), queue.clone());
            consumers.push(tokio::spawn(async move { shared.consume(at + 1, &queue).await }));
        }
        History { shared, publishers, consumers }
    }

    /// Tells the clients where the nodes are now.
    pub fn nodes_are(&self, nodes: Vec<SocketAddr>) {
        *self.shared.nodes.lock().expect("nodes") = nodes;
    }

    /// How many messages are confirmed so far.
    pub fn confirmed(&self) -> usize {
        self.shared.seen().confirmed.len()
    }

    /// Waits until so many more messages are confirmed.
    pub async fn goes_on(&self, more: usize) {
        let wanted = self.confirmed() + more;
        wait_for(DRAIN, "more confirms", async || self.confirmed() >= wanted).await;
    }

    /// Ends publishing, waits until all that was confirmed has come, and checks the whole: nothing that was
    /// confirmed is lost, nothing comes that was not sent, and each channel's messages came in their order.
    pub async fn end(self) -> Outcome {
        let shared = &self.shared;
        shared.published.store(true, Ordering::Relaxed);
        for publisher in self.publishers {
            tokio::time::timeout(2 * OUTCOME, publisher).await.expect("publishers end").expect("in order");
        }
        let missing = || {
            let seen = shared.seen();
            seen.confirmed.difference(&seen.delivered).copied().collect::<Vec<Message>>()
        };
        let deadline = tokio::time::Instant::now() + DRAIN;
        while !missing().is_empty() {
            let missing = missing();
            let some = &missing[..missing.len().min(10)];
            let now = tokio::time::Instant::now();
            assert!(now < deadline, "{} confirmed messages are lost: {some:?}", missing.len());
            tokio::time::sleep(PAUSE).await;
        }
        shared.consumed.store(true, Ordering::Relaxed);
        for consumer in self.consumers {
            soon("the end of a consumer", consumer).await.expect("consumers end in order");
        }
        let seen = shared.seen();
        let unsent: Vec<&Message> = seen.delivered.difference(&seen.sent).collect();
        assert!(unsent.is_empty(), "never sent: {unsent:?}");
        for (queue, messages) in &seen.first {
            let mut last = BTreeMap::new();
            for (publisher, session, number) in messages {
                let before = last.insert((publisher, session), number);
                assert!(
                    before < Some(number),
                    "'{queue}': {number} of publisher {publisher}, channel {session} came after {before:?}"
                );
            }
        }
        Outcome {
            sent: seen.sent.len(),
            confirmed: seen.confirmed.len(),
            refused: seen.refused.len(),
            repeated: seen.deliveries - seen.delivered.len(),
        }
    }
}

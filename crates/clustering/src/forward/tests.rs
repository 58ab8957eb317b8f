//! Two brokers in one thread with a link of lists between them: node 1 is the home, clients are on node 2.

mod fan_out;
mod limit;

use super::guest::Guest;
use super::home::HomeLink;
use super::{ForwardHomes, Way};
use broker::catalog::{Catalog, Command, Node};
use broker::message::{Chunk, Record, RecordHead};
use broker::queue::{Consumer, Deliveries, Delivery, Picks, QueueCounts};
use engine::outlet::{Outlet, Taken};
use engine::queue::{AddConsumer, DeleteConditions, Enqueue, Ticket};
use engine::{Broker, BrokerConfig, Queue, QueueCommand, Seat};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use types::{ConnectionId, ConsumerId, FieldTable, NodeId};

/// Frames in one direction.
#[derive(Default)]
struct Pipe {
    frames: Mutex<VecDeque<Vec<u8>>>,
    closed: Mutex<bool>,
}

impl Way for Pipe {
    fn put(&self, fill: &mut dyn FnMut(&mut Vec<u8>)) -> bool {
        if *self.closed.lock() {
            return false;
        }
        let mut frame = Vec::new();
        fill(&mut frame);
        self.frames.lock().push_back(frame);
        true
    }

    fn flush(&self) {}

    fn buffered_bytes(&self) -> usize {
        self.frames.lock().iter().map(Vec::len).sum()
    }

    fn close(&self) {
        *self.closed.lock() = true;
    }
}

/// What a client's channel saw.
#[derive(Default)]
struct Seen {
    /// Index, body, redelivered.
    delivered: Vec<(u64, String, bool)>,
    got: Vec<Option<(u64, String, u64)>>,
    confirmed: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    cancelled: Vec<ConsumerId>,
    replies: Vec<String>,
    /// Deliveries it still takes.
    room: u32,
    /// Room is what its channel may hold, as with a prefetch, and not what its connection takes.
    is_limit: bool,
    waiting: Vec<(Arc<Queue>, ConsumerId)>,
    closed: bool,
}

#[derive(Default)]
struct Client(Mutex<Seen>);

fn body(record: &Record<'_>) -> String {
    String::from_utf8_lossy(record.body).into_owned()
}

impl Outlet for Client {
    fn deliver(&self, queue: &Arc<Queue>, id: ConsumerId, _: bool, deliveries: &Deliveries<'_>) -> Taken {
        let mut seen = self.0.lock();
        let mut taken = Taken::default();
        if seen.closed {
            return Taken { blocked: true, ..taken };
        }
        deliveries.walk(|delivery| {
            if seen.room == 0 {
                taken.blocked = true;
                return false;
            }
            seen.room -= 1;
            seen.delivered.push((delivery.index, body(&delivery.record), delivery.redelivered));
            taken.count += 1;
            taken.bytes += delivery.record.body.len() as u64;
            true
        });
        if taken.blocked {
            taken.over_limit = seen.is_limit;
            seen.waiting.push((queue.clone(), id));
        }
        taken
    }

    fn room(&self, queue: &Arc<Queue>, id: ConsumerId, _: bool) -> Option<u64> {
        let mut seen = self.0.lock();
        if seen.is_limit && seen.room == 0 {
            seen.waiting.push((queue.clone(), id));
        }
        seen.is_limit.then(|| seen.room.into())
    }

    fn got(&self, _: &Arc<Queue>, _: bool, delivery: Option<Delivery<'_>>, remaining: u64) {
        let got = delivery.map(|delivery| (delivery.index, body(&delivery.record), remaining));
        self.0.lock().got.push(got);
    }

    fn cancelled(&self, id: ConsumerId) {
        self.0.lock().cancelled.push(id);
    }

    fn confirmed(&self, ranges: &[(u64, u64)], refused: &[u64]) {
        let mut seen = self.0.lock();
        for number in ranges.iter().flat_map(|(first, last)| *first..=*last) {
            let kind = if refused.contains(&number) { &mut seen.refused } else { &mut seen.confirmed };
            assert!(kind.insert(number), "{number} twice");
        }
    }

    fn reply(&self, record: &Record<'_>) -> bool {
        self.0.lock().replies.push(body(record));
        true
    }

    fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    fn flush(&self) {}
}

fn broker(node: u64) -> (Arc<Broker>, Arc<ForwardHomes>) {
    let homes = Arc::new(ForwardHomes::default());
    let config = BrokerConfig {
        node_name: format!("n{node}"),
        cluster_name: "c".into(),
        memory_limit_bytes: u64::MAX,
        paging_limit_bytes: u64::MAX,
        disk_limit_bytes: 0,
        seat: Some(Seat { node: NodeId(node), boot: 1, homes: homes.clone() }),
    };
    (Broker::new(config, Catalog::new()), homes)
}

struct Stage {
    home: Arc<Broker>,
    away: Arc<Broker>,
    homes: Arc<ForwardHomes>,
    link: Option<Link>,
    client: Arc<Client>,
    last_number: u64,
    last_consumer: u64,
}

struct Link {
    to_home: Arc<Pipe>,
    from_home: Arc<Pipe>,
    guest: Guest,
    frames: HomeLink,
}

fn member(id: u64) -> Node {
    Node { id: NodeId(id), name: format!("n{id}"), addr: String::new(), boot: id, up: true, feature_level: 1 }
}

impl Stage {
    async fn new() -> Stage {
        let ((home, _), (away, homes)) = (broker(1), broker(2));
        let client = Arc::new(Client::default());
        client.0.lock().room = u32::MAX;
        let mut stage = Stage { home, away, homes, link: None, client, last_number: 0, last_consumer: 0 };
        stage.change(Command::FormCluster { cluster: 7, node: member(1) }).await;
        stage.change(Command::PutNode { node: member(2) }).await;
        let vhost = Command::AddVhost {
            name: "/".into(),
            description: String::new(),
            tags: Vec::new(),
            default_queue_type: None,
        };
        stage.change(vhost).await;
        stage.declare("q", false).await;
        stage.connect();
        stage
    }

    async fn change(&self, command: Command) {
        self.home.change(command.clone()).await.unwrap();
        self.away.change(command).await.unwrap();
    }

    async fn declare(&self, name: &str, auto_delete: bool) {
        let declare = Command::DeclareQueue {
            vhost: "/".into(),
            name: name.into(),
            server_named: false,
            durable: true,
            auto_delete,
            exclusive: false,
            connection: ConnectionId(1),
            arguments: FieldTable::new(),
            user: "u".into(),
        };
        self.change(Command::DeclareAt { home: NodeId(1), command: Box::new(declare) }).await;
    }

    fn connect(&mut self) {
        let (to_home, from_home) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
        let guest = Guest::new(self.home.clone(), NodeId(2), from_home.clone());
        let frames = self.homes.link_up(NodeId(1), to_home.clone(), &self.away);
        self.link = Some(Link { to_home, from_home, guest, frames });
    }

    /// The link ends with whatever is on it.
    fn cut(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        link.to_home.close();
        link.from_home.close();
        link.guest.closed();
        link.frames.closed();
    }

    /// Carries frames until there are none; answers that are waited for get their turn.
    async fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            self.away.flush();
            self.home.flush();
            tokio::task::yield_now().await;
            quiet = if self.carry(usize::MAX) { 0 } else { quiet + 1 };
        }
    }

    /// Carries at most so many frames each way; whether there were any.
    fn carry(&mut self, most: usize) -> bool {
        let Some(link) = &mut self.link else { return false };
        let mut any = false;
        for _ in 0..most {
            let Some(frame) = link.to_home.frames.lock().pop_front() else { break };
            link.guest.frame(&frame).unwrap();
            any = true;
        }
        link.guest.batch_end();
        for _ in 0..most {
            let Some(frame) = link.from_home.frames.lock().pop_front() else { break };
            link.frames.frame(&frame).unwrap();
            any = true;
        }
        link.frames.batch_end();
        any
    }

    fn queue(&self, name: &str) -> Arc<Queue> {
        self.away.queue_named("/", name).unwrap()
    }

    fn outlet(&self) -> Arc<dyn Outlet> {
        self.client.clone()
    }

    fn publish(&mut self, name: &str, body: &str) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        let chunk =
            Chunk::single(RecordHead::default(), Arc::from(&b"\0\x01q"[..]), &[0, 0], body.as_bytes());
        let ticket = Ticket { outlet: self.outlet(), ranges: vec![(number, number)] };
        let enqueue = Enqueue {
            chunk: Arc::new(chunk),
            picks: Picks::Span(0, 1),
            bytes: body.len() as u64,
            ticket: Some(ticket),
        };
        self.away.post(&self.queue(name), QueueCommand::Enqueue(enqueue));
        number
    }

    fn consume(
        &mut self,
        name: &str,
        no_ack: bool,
        prefetch: u32,
        exclusive: bool,
    ) -> (ConsumerId, oneshot::Receiver<Result<(), broker::queue::ConsumerError>>) {
        self.last_consumer += 1;
        let id = ConsumerId(self.last_consumer);
        let (reply, answer) = oneshot::channel();
        let add = AddConsumer {
            consumer: Consumer { id, priority: 0, no_ack, exclusive, prefetch, in_flight: 0, blocked: false },
            tag: format!("c{id}"),
            arguments: FieldTable::new(),
            outlet: self.outlet(),
            channel: String::new(),
            reply: Some(reply),
        };
        self.away.post(&self.queue(name), QueueCommand::AddConsumer(Box::new(add)));
        (id, answer)
    }

    fn post(&self, name: &str, command: QueueCommand) {
        self.away.post(&self.queue(name), command);
    }

    /// Gives the client room and has those who waited go on.
    fn make_room(&self, room: u32) {
        let waiting = {
            let mut seen = self.client.0.lock();
            seen.room = room;
            std::mem::take(&mut seen.waiting)
        };
        for (queue, id) in waiting {
            self.away.post(&queue, QueueCommand::Unblock(id));
        }
    }

    fn counts(&self, name: &str) -> QueueCounts {
        self.home.queue_named("/", name).unwrap().counts()
    }

    fn bodies(&self) -> Vec<String> {
        self.client.0.lock().delivered.iter().map(|(_, body, _)| body.clone()).collect()
    }
}

#[tokio::test]
async fn a_publish_is_confirmed_delivered_and_settled_at_the_home() {
    let mut stage = Stage::new().await;
    for at in 0..3 {
        stage.publish("q", &format!("m{at}"));
    }
    assert!(stage.client.0.lock().confirmed.is_empty(), "not before the home says so");
    stage.settle().await;
    assert_eq!(stage.client.0.lock().confirmed, BTreeSet::from([1, 2, 3]));
    assert_eq!(stage.counts("q").ready, 3);
    let (id, mut answer) = stage.consume("q", false, 2, false);
    stage.settle().await;
    assert_eq!(answer.try_recv(), Ok(Ok(())));
    assert_eq!(stage.bodies(), ["m0", "m1"], "as many as the prefetch allows");
    stage.post("q", QueueCommand::Settle(id, vec![(0, 2)]));
    stage.settle().await;
    assert_eq!(stage.bodies(), ["m0", "m1", "m2"]);
    stage.post("q", QueueCommand::Return(id, vec![(2, 3)]));
    stage.settle().await;
    assert_eq!(stage.client.0.lock().delivered.last(), Some(&(2, "m2".to_owned(), true)));
    stage.post("q", QueueCommand::Settle(id, vec![(2, 3)]));
    stage.settle().await;
    assert_eq!((stage.counts("q").ready, stage.counts("q").unacked), (0, 0));
}

#[tokio::test]
async fn what_a_connection_does_not_take_waits_in_bounds() {
    let mut stage = Stage::new().await;
    stage.client.0.lock().room = 5;
    let (_, _answer) = stage.consume("q", false, 0, false);
    for at in 0..4_000 {
        stage.publish("q", &format!("{at:0>1000}"));
        if at % 100 == 0 {
            stage.settle().await;
        }
    }
    stage.settle().await;
    let counts = stage.counts("q");
    assert_eq!(stage.bodies().len(), 5);
    let most = types::limits::FORWARD_DELIVERY_MAX_BYTES as u64 / 1_000 + 2;
    assert!(counts.unacked <= most && counts.unacked > 100, "{counts:?}");
    for _ in 0..200 {
        stage.make_room(100);
        stage.settle().await;
    }
    let bodies = stage.bodies();
    assert_eq!(bodies.len(), 4_000);
    assert!(bodies.is_sorted(), "order is kept");
}

#[tokio::test]
async fn messages_on_their_way_go_back_unseen_when_the_consumer_leaves() {
    let mut stage = Stage::new().await;
    stage.client.0.lock().room = 1;
    let (id, _answer) = stage.consume("q", false, 0, false);
    for body in ["a", "b", "c"] {
        stage.publish("q", body);
    }
    stage.settle().await;
    assert_eq!((stage.bodies(), stage.counts("q").unacked), (vec!["a".to_owned()], 3));
    let (reply, mut left) = oneshot::channel();
    stage.post("q", QueueCommand::RemoveConsumer(id, reply));
    stage.settle().await;
    assert_eq!(left.try_recv(), Ok(true));
    assert_eq!((stage.counts("q").ready, stage.counts("q").unacked), (2, 1));
    stage.make_room(10);
    let (_, _answer) = stage.consume("q", false, 0, false);
    stage.settle().await;
    let seen: Vec<_> = stage.client.0.lock().delivered.iter().skip(1).map(|row| (row.0, row.2)).collect();
    assert_eq!(seen, [(1, false), (2, false)], "nobody has seen them");
}

#[tokio::test]
async fn a_consumer_without_acks_gets_what_was_on_its_way_before_it_has_left() {
    let mut stage = Stage::new().await;
    stage.client.0.lock().room = 1;
    let (id, _answer) = stage.consume("q", true, 0, false);
    for body in ["a", "b", "c"] {
        stage.publish("q", body);
    }
    stage.settle().await;
    let (reply, mut left) = oneshot::channel();
    stage.post("q", QueueCommand::RemoveConsumer(id, reply));
    stage.settle().await;
    assert!(left.try_recv().is_err(), "b and c are still to come");
    stage.make_room(10);
    stage.settle().await;
    assert_eq!(left.try_recv(), Ok(true));
    assert_eq!(stage.bodies(), ["a", "b", "c"]);
}

#[tokio::test]
async fn questions_are_answered_by_the_home() {
    let mut stage = Stage::new().await;
    stage.publish("q", "a");
    stage.publish("q", "b");
    let (reply, mut counts) = oneshot::channel();
    stage.post("q", QueueCommand::Fence(reply));
    let (done, mut got) = oneshot::channel();
    stage.post("q", QueueCommand::Get { no_ack: false, outlet: stage.outlet(), done });
    let (reply, mut committed) = oneshot::channel();
    stage.post("q", QueueCommand::CommitFence(reply));
    stage.settle().await;
    assert_eq!(counts.try_recv().unwrap().ready, 2);
    assert_eq!((got.try_recv(), committed.try_recv()), (Ok(()), Ok(())));
    assert_eq!(stage.client.0.lock().got, [Some((0, "a".to_owned(), 1))]);
    stage.post("q", QueueCommand::Reject(ConsumerId(0), vec![(0, 1)]));
    let refuse = DeleteConditions { if_unused: false, if_empty: true };
    let (reply, mut refused) = oneshot::channel();
    stage.post("q", QueueCommand::PrepareDelete(refuse, reply));
    let (reply, mut purged) = oneshot::channel();
    stage.post("q", QueueCommand::Purge(reply));
    let (done, mut got) = oneshot::channel();
    stage.post("q", QueueCommand::Get { no_ack: true, outlet: stage.outlet(), done });
    stage.settle().await;
    let error = refused.try_recv().unwrap().unwrap_err();
    assert!(error.reply_text().contains("not empty"), "{error}");
    assert_eq!((purged.try_recv(), got.try_recv()), (Ok(1), Ok(())));
    assert_eq!(stage.client.0.lock().got.last(), Some(&None));
    let (_, mut first) = stage.consume("q", false, 0, true);
    let (_, mut second) = stage.consume("q", false, 0, false);
    stage.settle().await;
    assert_eq!(first.try_recv(), Ok(Ok(())));
    assert!(second.try_recv().unwrap().is_err(), "exclusive use is decided at the home");
}

#[tokio::test]
async fn when_the_link_ends_nothing_is_confirmed_and_what_was_out_goes_back() {
    let mut stage = Stage::new().await;
    let (id, _answer) = stage.consume("q", false, 0, false);
    stage.publish("q", "a");
    stage.settle().await;
    let number = stage.publish("q", "b");
    let (reply, mut fence) = oneshot::channel();
    stage.post("q", QueueCommand::Fence(reply));
    stage.cut();
    assert_eq!(stage.client.0.lock().refused, BTreeSet::from([number]));
    assert_eq!(stage.client.0.lock().cancelled, [id]);
    assert!(fence.try_recv().is_err());
    assert_eq!((stage.counts("q").ready, stage.counts("q").unacked), (1, 0));
    let queue = stage.queue("q");
    let text = queue.unreachable().unwrap().reply_text();
    assert_eq!(text, "NOT_FOUND - home node 'n1' of durable queue 'q' in vhost '/' is down or inaccessible");
    let lost = stage.publish("q", "c");
    assert!(stage.client.0.lock().refused.contains(&lost));
    assert!(!queue.is_full());
    stage.connect();
    assert!(queue.unreachable().is_none());
    // An ack for what went out over the old link settles nothing.
    stage.post("q", QueueCommand::Settle(id, vec![(0, 1)]));
    let (_, _answer) = stage.consume("q", false, 0, false);
    stage.settle().await;
    assert_eq!(stage.client.0.lock().delivered.last(), Some(&(0, "a".to_owned(), true)));
}

#[tokio::test]
async fn what_is_posted_before_the_first_link_waits_for_it() {
    let mut stage = Stage::new().await;
    stage.cut();
    stage.homes.expect(NodeId(1), "rabbit@one");
    let number = stage.publish("q", "early");
    assert!(stage.client.0.lock().refused.is_empty());
    stage.connect();
    stage.settle().await;
    assert!(stage.client.0.lock().confirmed.contains(&number));
    stage.cut();
    stage.homes.expect(NodeId(1), "rabbit@one");
    let late = stage.publish("q", "late");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !stage.client.0.lock().refused.contains(&late) {
        assert!(Instant::now() < deadline, "waiting has no end");
        stage.homes.tick(&stage.away);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(stage.queue("q").unreachable().unwrap().reply_text().contains("'rabbit@one'"));
}

#[tokio::test]
async fn an_auto_delete_queue_goes_with_a_consumer_of_another_node() {
    let mut stage = Stage::new().await;
    stage.declare("auto", true).await;
    let (id, _answer) = stage.consume("auto", false, 0, false);
    stage.settle().await;
    let (reply, mut left) = oneshot::channel();
    let queue = stage.queue("auto");
    stage.post("auto", QueueCommand::RemoveConsumer(id, reply));
    stage.settle().await;
    assert_eq!(left.try_recv(), Ok(true));
    assert!(queue.is_gone(), "so that the channel sees to its row");
}

#[tokio::test]
async fn a_deleted_queue_cancels_its_consumers_everywhere() {
    let mut stage = Stage::new().await;
    let (id, _answer) = stage.consume("q", false, 0, false);
    stage.settle().await;
    stage.change(Command::DeleteQueue { vhost: "/".into(), name: "q".into(), id: None }).await;
    stage.settle().await;
    assert_eq!(stage.client.0.lock().cancelled, [id], "once");
}

#[tokio::test]
async fn a_dead_letter_for_a_home_out_of_reach_stays_and_is_tried_again() {
    let mut stage = Stage::new().await;
    // On node 2, with dead letters going to q on node 1.
    let mut arguments = FieldTable::new();
    arguments.insert("x-dead-letter-exchange", types::FieldValue::text(""));
    arguments.insert("x-dead-letter-routing-key", types::FieldValue::text("q"));
    let declare = Command::DeclareQueue {
        vhost: "/".into(),
        name: "source".into(),
        server_named: false,
        durable: true,
        auto_delete: false,
        exclusive: false,
        connection: ConnectionId(1),
        arguments,
        user: "u".into(),
    };
    stage.change(Command::DeclareAt { home: NodeId(2), command: Box::new(declare) }).await;
    let timer = tokio::spawn(stage.away.clone().run_timer());
    stage.cut();
    stage.publish("source", "letter");
    let (id, _answer) = stage.consume("source", false, 0, false);
    stage.settle().await;
    stage.post("source", QueueCommand::Reject(id, vec![(0, 1)]));
    stage.settle().await;
    assert_eq!(stage.queue("source").listing().dead_lettering, 1, "it is kept");
    stage.connect();
    let deadline = Instant::now() + Duration::from_secs(10);
    while stage.counts("q").ready == 0 {
        assert!(Instant::now() < deadline, "it is never tried again");
        stage.settle().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.settle().await;
    assert_eq!(stage.queue("source").listing().dead_lettering, 0, "it has arrived");
    timer.abort();
}

#[tokio::test]
async fn direct_replies_cross_nodes() {
    let mut stage = Stage::new().await;
    let listener = Arc::new(Client::default());
    let outlet: Arc<dyn Outlet> = listener.clone();
    let name = stage.home.replies().open(&outlet, stage.home.node(), 1, 1);
    let to = stage.away.reply_outlet(name.as_bytes()).unwrap();
    let route = [&[0, name.len() as u8][..], name.as_bytes()].concat();
    let chunk = Chunk::single(RecordHead::default(), route.into(), &[0, 0], b"answer");
    assert!(to.reply(&chunk.record(0)));
    stage.settle().await;
    assert_eq!(listener.0.lock().replies, ["answer"]);
    stage.cut();
    assert!(stage.away.reply_outlet(name.as_bytes()).is_none());
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Random histories with cut links: what was confirmed is settled once or still there, in order.
#[tokio::test]
async fn no_history_loses_what_was_confirmed() {
    for seed in 0..60 {
        history(seed).await;
    }
}

async fn history(seed: u64) {
    let mut stage = Stage::new().await;
    let mut dice = Dice(seed);
    let mut consumers: Vec<ConsumerId> = Vec::new();
    let mut bodies: BTreeMap<u64, String> = BTreeMap::new();
    let mut settled: BTreeSet<String> = BTreeSet::new();
    let mut looked_at = 0;
    for _ in 0..300 {
        match dice.roll(12) {
            0..=4 => {
                let body = format!("{:06}", stage.last_number + 1);
                let number = stage.publish("q", &body);
                bodies.insert(number, body);
            }
            5 => consumers.push(stage.consume("q", false, dice.roll(4) as u32, false).0),
            6 if !consumers.is_empty() => {
                let id = consumers.remove(dice.roll(consumers.len() as u64) as usize);
                stage.post("q", QueueCommand::RemoveConsumer(id, oneshot::channel().0));
            }
            7 => stage.make_room(dice.roll(5) as u32),
            8 if dice.roll(4) == 0 => {
                stage.cut();
                stage.connect();
                consumers.clear();
                looked_at = stage.client.0.lock().delivered.len();
            }
            9 => {
                // Settles the oldest delivery of this link; the queue may believe it only if it was there.
                let next = stage.client.0.lock().delivered.get(looked_at).cloned();
                if let (Some((index, _, _)), true) = (next, !consumers.is_empty()) {
                    looked_at += 1;
                    for id in consumers.clone() {
                        stage.post("q", QueueCommand::Settle(id, vec![(index, index + 1)]));
                    }
                    stage.settle().await;
                }
            }
            _ => {
                stage.carry(dice.roll(4) as usize);
            }
        }
    }
    stage.cut();
    stage.connect();
    stage.client.0.lock().delivered.clear();
    stage.make_room(u32::MAX);
    let before = stage.counts("q");
    let (_, _answer) = stage.consume("q", true, 0, false);
    stage.settle().await;
    let left = stage.bodies();
    assert!(left.is_sorted() && left.len() as u64 == before.ready, "seed {seed}: {before:?} {left:?}");
    assert_eq!((stage.counts("q").ready, stage.counts("q").unacked), (0, 0), "seed {seed}");
    settled.extend(left.iter().cloned());
    let totals = stage.home.queue_named("/", "q").unwrap().listing().totals;
    let seen = stage.client.0.lock();
    let lost = seen.confirmed.iter().filter(|number| !settled.contains(&bodies[number])).count() as u64;
    // A publish that was cut off may have arrived all the same, and have been acknowledged.
    assert!(
        lost <= totals.ack,
        "seed {seed}: {lost} confirmed messages are gone, {} were settled",
        totals.ack
    );
    assert_eq!(totals.publish, totals.ack + left.len() as u64, "seed {seed}");
    assert!(seen.confirmed.is_disjoint(&seen.refused), "seed {seed}");
}

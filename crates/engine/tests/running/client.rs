//! A channel's outlet that keeps what it got.

use crate::stage::Stage;
use broker::message::Record;
use broker::queue::{Consumer, Deliveries, Delivery};
use engine::queue::AddConsumer;
use engine::{Outlet, Queue, QueueCommand, Taken};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use types::{ConsumerId, FieldTable};

/// Ranges of publishes, and which of them were refused.
type Confirmed = (Vec<(u64, u64)>, Vec<u64>);

#[derive(Default)]
pub struct Client {
    got: Mutex<Got>,
    /// Deliveries stand still.
    gate_closed: AtomicBool,
    at_gate: AtomicBool,
}

#[derive(Clone, Debug, Default)]
pub struct Got {
    pub bodies: Vec<Vec<u8>>,
    pub indexes: Vec<u64>,
    pub cancelled: Vec<ConsumerId>,
    /// Call by call.
    pub confirmed: Vec<Confirmed>,
    pub flushes: usize,
    /// Messages taken before it is full; None = any number.
    pub room: Option<usize>,
}

impl Client {
    pub fn got(&self) -> Got {
        self.got.lock().unwrap().clone()
    }

    pub fn set_room(&self, room: usize) {
        self.got.lock().unwrap().room = Some(room);
    }

    pub fn close_gate(&self) {
        self.gate_closed.store(true, Ordering::SeqCst);
    }

    pub fn open_gate(&self) {
        self.gate_closed.store(false, Ordering::SeqCst);
    }

    /// Whether a delivery stands before the closed gate.
    pub fn is_at_gate(&self) -> bool {
        self.at_gate.load(Ordering::SeqCst)
    }

    /// Begins to consume.
    pub async fn consume(self: &Arc<Client>, stage: &Stage, queue: &Arc<Queue>, id: u64) {
        let consumer = Consumer {
            id: ConsumerId(id),
            priority: 0,
            no_ack: false,
            exclusive: false,
            prefetch: 0,
            in_flight: 0,
            blocked: false,
        };
        let (reply, answer) = oneshot::channel();
        let add = AddConsumer {
            consumer,
            tag: format!("c{id}"),
            arguments: FieldTable::default(),
            outlet: self.clone(),
            channel: String::new(),
            reply: Some(reply),
        };
        stage.broker.post(queue, QueueCommand::AddConsumer(Box::new(add)));
        answer.await.unwrap().unwrap();
        stage.broker.flush();
    }
}

impl Outlet for Client {
    fn deliver(
        &self,
        _queue: &Arc<Queue>,
        _consumer: ConsumerId,
        _no_ack: bool,
        deliveries: &Deliveries<'_>,
    ) -> Taken {
        while self.gate_closed.load(Ordering::SeqCst) {
            self.at_gate.store(true, Ordering::SeqCst);
            std::thread::yield_now();
        }
        let mut got = self.got.lock().unwrap();
        let mut taken = Taken::default();
        deliveries.walk(|delivery| {
            if got.room == Some(0) {
                taken.blocked = true;
                return false;
            }
            got.room = got.room.map(|room| room - 1);
            got.bodies.push(delivery.record.body.to_vec());
            got.indexes.push(delivery.index);
            taken.count += 1;
            taken.bytes += delivery.record.body.len() as u64;
            true
        });
        taken
    }

    fn got(&self, _queue: &Arc<Queue>, _no_ack: bool, delivery: Option<Delivery<'_>>, _remaining: u64) {
        let mut got = self.got.lock().unwrap();
        got.bodies.extend(delivery.map(|delivery| delivery.record.body.to_vec()));
    }

    fn cancelled(&self, consumer: ConsumerId) {
        self.got.lock().unwrap().cancelled.push(consumer);
    }

    fn confirmed(&self, ranges: &[(u64, u64)], refused: &[u64]) {
        self.got.lock().unwrap().confirmed.push((ranges.to_vec(), refused.to_vec()));
    }

    fn reply(&self, _record: &Record<'_>) -> bool {
        false
    }

    fn flush(&self) {
        self.got.lock().unwrap().flushes += 1;
    }
}

//! Consumers of all manners: some ack, some give back, some hold what they got until they leave.
//!
//! Invariant: an ack or a return is recorded before it is written; a consumer of the queue for transactions acks
//! within transactions only.

use std::time::{Duration, Instant};

use super::history::{Event, QueueAt};
use super::plan::{self, QUEUES};
use super::random::Random;
use super::stage::{Attached, Held, MOMENT, Stage};
use crate::client::session;
use crate::error::Result;
use crate::wire;

const PREFETCHES: [u16; 5] = [1, 5, 30, 100, 500];
const VISIT_MS: std::ops::Range<u64> = 20..400;
/// A consumer that gives messages back gets them again at once.
const AFTER_RETURN: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Acks,
    GivesBack,
    Holds,
    Gets,
}

/// Visits one queue after the other until the broker is ended.
pub fn consume(stage: &Stage, number: u64) -> Result<()> {
    let sequence = u64::from(stage.history.checker().counts().lives);
    let mut random = Random::of(stage.seed, &[u64::MAX - 1, sequence, number]);
    while !stage.is_ending() {
        let queue = random.within(0..QUEUES.len() as u64) as QueueAt;
        match visit(stage, queue, &mut random) {
            Err(error) if Stage::is_expected(queue, &error) => {}
            result => result?,
        }
    }
    Ok(())
}

fn visit(stage: &Stage, queue: QueueAt, random: &mut Random) -> Result<()> {
    let manner = match random.within(0..10) {
        _ if queue == plan::GET => Manner::Gets,
        0..6 => Manner::Acks,
        6..8 => Manner::GivesBack,
        8 => Manner::Holds,
        _ => Manner::Gets,
    };
    let attached = stage.attach(queue)?;
    let prefetch = PREFETCHES[random.within(0..PREFETCHES.len() as u64) as usize];
    let until = Instant::now() + Duration::from_millis(random.within(VISIT_MS));
    let batch = random.within(1..u64::from(prefetch) + 1) as usize;
    let mut visit = Visit { stage, attached, prefetch, held: Vec::new(), in_tx: queue == plan::TX };
    visit.begin(manner)?;
    while Instant::now() < until && !stage.is_ending() {
        if !visit.take(manner)? {
            break;
        }
        if visit.held.len() >= batch {
            visit.settle(manner, random)?;
        }
    }
    visit.leave(random)
}

struct Visit<'a> {
    stage: &'a Stage,
    attached: Attached<'a>,
    prefetch: u16,
    held: Vec<Held>,
    in_tx: bool,
}

impl Visit<'_> {
    fn begin(&mut self, manner: Manner) -> Result<()> {
        if self.in_tx {
            self.attached.session()?.call(wire::TX_SELECT, wire::TX_SELECT_OK, |_| {})?;
        }
        if manner == Manner::Gets { Ok(()) } else { self.attached.consume(self.prefetch) }
    }

    /// Takes a message, if one comes; false when there will be none any more.
    fn take(&mut self, manner: Manner) -> Result<bool> {
        let delivery = if manner == Manner::Gets {
            let queue = plan::name(self.attached.queue);
            let got = self.attached.session()?.get(queue)?;
            if got.is_none() {
                std::thread::sleep(AFTER_RETURN);
            }
            got
        } else {
            match self.attached.session()?.next(MOMENT)? {
                Some(session::Event::Delivered(delivery)) => Some(delivery),
                Some(session::Event::Cancelled) => return Ok(false),
                _ => None,
            }
        };
        if let Some(delivery) = delivery {
            self.held.push(self.attached.receive(&delivery));
        }
        Ok(true)
    }

    fn settle(&mut self, manner: Manner, random: &mut Random) -> Result<()> {
        match manner {
            Manner::Holds => Ok(()),
            // What a transaction does to returns differs between brokers.
            Manner::GivesBack if !self.in_tx && random.percent(60) => self.give_back(random),
            Manner::Acks | Manner::Gets | Manner::GivesBack => self.ack(random),
        }
    }

    fn ack(&mut self, random: &mut Random) -> Result<()> {
        let number = self.attached.number;
        if random.percent(50) {
            let count = random.within(1..self.held.len() as u64 + 1) as usize;
            let acked: Vec<Held> = self.held.drain(..count).collect();
            self.record_acks(&acked);
            let tag = acked.last().map_or(0, |held| held.tag);
            self.attached.session()?.queue(wire::BASIC_ACK, |args| {
                args.u64(tag).u8(1);
            });
        } else {
            let chance = random.within(20..101);
            let (acked, kept) = self.held.drain(..).partition::<Vec<Held>, _>(|_| random.percent(chance));
            self.held = kept;
            self.record_acks(&acked);
            for held in acked.iter().rev() {
                self.attached.session()?.queue(wire::BASIC_ACK, |args| {
                    args.u64(held.tag).u8(0);
                });
            }
        }
        self.attached.session()?.flush()?;
        if !self.in_tx {
            return if random.percent(30) { self.attached.sync(self.prefetch) } else { Ok(()) };
        }
        if random.percent(90) {
            self.stage.history.record(Event::AcksCommitting(number));
            self.attached.session()?.call(wire::TX_COMMIT, wire::TX_COMMIT_OK, |_| {})?;
            self.stage.history.record(Event::AcksCommitted(number));
        }
        Ok(())
    }

    fn record_acks(&self, acked: &[Held]) {
        let (session, queue, in_tx) = (self.attached.number, self.attached.queue, self.in_tx);
        let ids = acked.iter().filter_map(|held| held.id);
        self.stage.history.record_all(ids.map(|id| Event::Acked { session, queue, id, in_tx }));
    }

    fn give_back(&mut self, random: &mut Random) -> Result<()> {
        const REQUEUE: u8 = 1;
        const MULTIPLE_REQUEUE: u8 = 1 | 1 << 1;
        let queue = self.attached.queue;
        let returned: Vec<Held> = if random.percent(50) {
            self.held.drain(..).collect()
        } else {
            let at = random.within(0..self.held.len() as u64) as usize;
            vec![self.held.remove(at)]
        };
        let ids = returned.iter().filter_map(|held| held.id);
        self.stage.history.record_all(ids.map(|id| Event::Returned { queue, id }));
        let session = self.attached.session()?;
        match returned.as_slice() {
            [one] => session.queue(wire::BASIC_REJECT, |args| {
                args.u64(one.tag).u8(REQUEUE);
            }),
            [.., last] => session.queue(wire::BASIC_NACK, |args| {
                args.u64(last.tag).u8(MULTIPLE_REQUEUE);
            }),
            [] => {}
        }
        session.flush()?;
        std::thread::sleep(AFTER_RETURN);
        Ok(())
    }

    /// Some leave in order, some with everything they hold, some without a word.
    fn leave(mut self, random: &mut Random) -> Result<()> {
        if self.stage.is_ending() {
            return Ok(());
        }
        if !self.in_tx && random.percent(50) {
            self.attached.sync(self.prefetch)?;
        }
        if random.percent(80) { self.attached.close() } else { Ok(()) }
    }
}

//! Publishers: one kind with confirms and a window, one with transactions.
//!
//! Invariant: a message is recorded before its first byte is written, and its confirm after it was read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::{Event, Id};
use super::plan;
use super::random::Random;
use super::report::Rule;
use super::specimen::{self, Specimen};
use super::stage::{MOMENT, Stage};
use crate::client::session::{self, Session};
use crate::error::Result;
use crate::wire;

/// Bounds what one publisher sends in one life of the broker.
const MESSAGES_MAX: u32 = 4000;
const WINDOWS: [u64; 5] = [1, 10, 50, 200, 1000];
const BURST_MAX: u64 = 64;

pub fn publish(stage: &Stage, publisher: u32) -> Result<()> {
    let mut random = Random::of(stage.seed, &[u64::MAX, publisher.into()]);
    let mut session = Session::open(&stage.target)?;
    if specimen::uses_tx(publisher) {
        session.call(wire::TX_SELECT, wire::TX_SELECT_OK, |_| {})?;
        Transactions { stage, session, publisher, next: 0 }.run(&mut random)
    } else {
        session.call(wire::CONFIRM_SELECT, wire::CONFIRM_SELECT_OK, |args| {
            args.u8(0);
        })?;
        let window = WINDOWS[random.within(0..WINDOWS.len() as u64) as usize];
        Confirms { stage, session, publisher, next: 0, window, unconfirmed: BTreeMap::new() }.run(&mut random)
    }
}

/// Makes the next messages, records them and queues them for the next flush.
fn send(stage: &Stage, session: &mut Session, publisher: u32, next: &mut u32, count: u64) -> Vec<Id> {
    let specimens: Vec<Specimen> = (0..count)
        .map(|_| {
            let id = Id { publisher, sequence: *next };
            *next += 1;
            Specimen::new(stage.seed, id)
        })
        .collect();
    stage.history.record_all(specimens.iter().map(|specimen| Event::Sent(specimen.sent.clone())));
    for specimen in &specimens {
        let route = specimen.route;
        session.publish(route.exchange, route.key, &specimen.properties, &specimen.body);
    }
    specimens.iter().map(|specimen| specimen.sent.id).collect()
}

/// Every route reaches a queue, but for the moment in which that queue is deleted and declared again.
fn judge_unroutable(stage: &Stage, delivery: &session::Delivery) {
    let id = specimen::id_of(delivery);
    let route = id.map(|id| Specimen::new(stage.seed, id).route);
    if route.is_none_or(|route| route.queues != [plan::DELETE]) {
        let to = route.map(|route| (route.exchange, route.key));
        stage.history.violate(Rule::Definition, "routes", format!("message {id:?} to {to:?} was returned"));
    }
}

struct Confirms<'a> {
    stage: &'a Stage,
    session: Session,
    publisher: u32,
    next: u32,
    window: u64,
    /// By the tag the confirm will carry.
    unconfirmed: BTreeMap<u64, Id>,
}

impl Confirms<'_> {
    fn run(mut self, random: &mut Random) -> Result<()> {
        while !self.stage.is_ending() && self.next < MESSAGES_MAX {
            let room = self.window.saturating_sub(self.unconfirmed.len() as u64);
            if room == 0 {
                self.listen(MOMENT)?;
                continue;
            }
            let count = random.within(1..BURST_MAX.min(room) + 1);
            let first_tag = u64::from(self.next) + 1;
            let ids = send(self.stage, &mut self.session, self.publisher, &mut self.next, count);
            self.unconfirmed.extend((first_tag..).zip(ids));
            self.session.flush()?;
            self.listen(Duration::ZERO)?;
        }
        while !self.stage.is_ending() && !self.unconfirmed.is_empty() {
            self.listen(MOMENT)?;
        }
        if self.stage.is_ending() { Ok(()) } else { self.session.close() }
    }

    /// Takes everything that is there; waits for the first.
    fn listen(&mut self, wait: Duration) -> Result<()> {
        let mut wait = wait;
        while let Some(event) = self.session.next(wait)? {
            wait = Duration::ZERO;
            match event {
                session::Event::Confirmed { tag, multiple, is_ack } => self.confirm(tag, multiple, is_ack),
                session::Event::Unroutable(delivery) => judge_unroutable(self.stage, &delivery),
                session::Event::Delivered(_) | session::Event::Cancelled => {}
            }
        }
        Ok(())
    }

    fn confirm(&mut self, tag: u64, multiple: bool, is_ack: bool) {
        let ids: Vec<Id> = if multiple {
            let later = self.unconfirmed.split_off(&(tag + 1));
            std::mem::replace(&mut self.unconfirmed, later).into_values().collect()
        } else {
            self.unconfirmed.remove(&tag).into_iter().collect()
        };
        if ids.is_empty() {
            let text =
                format!("publisher {}: tag {tag} is confirmed twice or was never sent", self.publisher);
            self.stage.history.violate(Rule::Broker, "confirms", text);
        }
        let event = if is_ack { Event::Confirmed } else { Event::Nacked };
        self.stage.history.record_all(ids.into_iter().map(event));
    }
}

struct Transactions<'a> {
    stage: &'a Stage,
    session: Session,
    publisher: u32,
    next: u32,
}

impl Transactions<'_> {
    fn run(mut self, random: &mut Random) -> Result<()> {
        while !self.stage.is_ending() && self.next < MESSAGES_MAX {
            let count = random.within(1..51);
            let ids = send(self.stage, &mut self.session, self.publisher, &mut self.next, count);
            if random.percent(10) {
                self.stage.history.record(Event::RolledBack(ids));
                self.session.call(wire::TX_ROLLBACK, wire::TX_ROLLBACK_OK, |_| {})?;
            } else {
                self.stage.history.record(Event::Committing(ids.clone()));
                self.session.call(wire::TX_COMMIT, wire::TX_COMMIT_OK, |_| {})?;
                self.stage.history.record(Event::Committed(ids));
            }
            while let Some(event) = self.session.next(Duration::ZERO)? {
                if let session::Event::Unroutable(delivery) = event {
                    judge_unroutable(self.stage, &delivery);
                }
            }
        }
        if self.stage.is_ending() { Ok(()) } else { self.session.close() }
    }
}

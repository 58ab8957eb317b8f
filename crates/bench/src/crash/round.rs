//! One life of the broker after the other: start, look, work, end.
//!
//! Invariant: all clients are gone before the end of a life is recorded, and no event of a life is recorded before
//! its beginning.

use std::thread;
use std::time::{Duration, Instant};

use super::history::Event;
use super::random::Random;
use super::stage::{MOMENT, Stage};
use super::{Options, consumer, drain, operator, plan, publisher};
use crate::broker_process::{BrokerCommand, BrokerProcess, Ending};
use crate::client::session::Session;
use crate::error::Result;
use crate::interrupt;

/// Publishers of different lives have different numbers.
const PUBLISHERS_PER_LIFE: u32 = 64;

/// How a round ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Kill,
    Stop,
    /// Killed a moment after it was asked to stop.
    KillWhileStopping(Duration),
}

pub struct Rounds<'a> {
    stage: &'a Stage,
    command: &'a BrokerCommand,
    options: &'a Options,
    random: Random,
    /// How long the newest start took.
    start_up: Duration,
}

impl<'a> Rounds<'a> {
    pub fn new(stage: &'a Stage, command: &'a BrokerCommand, options: &'a Options) -> Self {
        let random = Random::of(stage.seed, &[u64::MAX - 3]);
        Self { stage, command, options, random, start_up: Duration::from_millis(50) }
    }

    pub fn run(mut self) -> Result<()> {
        for round in 1..=self.options.rounds {
            interrupt::check()?;
            if self.random.percent(10) {
                self.kill_while_starting()?;
            }
            let is_drained = round % self.options.drain_every == 0;
            let mut process = self.start(is_drained)?;
            if is_drained {
                drain::drain_all(self.stage)?;
            }
            let span = self.options.seconds_per_round.choose(&mut self.random);
            let plan = match self.random.within(0..100) {
                _ if self.options.without_stops => Plan::Kill,
                0..15 => Plan::Stop,
                15..25 => Plan::KillWhileStopping(Duration::from_micros(self.random.within(0..50_000))),
                _ => Plan::Kill,
            };
            self.work(&mut process, round, span, plan)?;
            self.end(process, if plan == Plan::Stop { Ending::Stopped } else { Ending::Killed })?;
            self.show(round, plan);
        }
        // Empty, and still empty after an orderly stop, and after a kill.
        for ending in [Ending::Stopped, Ending::Killed, Ending::Stopped] {
            let process = self.start(true)?;
            drain::drain_all(self.stage)?;
            self.end(process, ending)?;
        }
        Ok(())
    }

    /// The broker, answering, with all queues declared and the definitions checked.
    fn start(&mut self, checks_all: bool) -> Result<BrokerProcess> {
        self.stage.history.record(Event::LifeBegan);
        self.stage.begin();
        let mut process = self.command.start()?;
        process.wait_until_open(&self.stage.target)?.close()?;
        self.start_up = process.started_at.elapsed();
        self.stage.ledger.check(self.stage, checks_all)?;
        let mut session = Session::open(&self.stage.target)?;
        plan::declare_all(&mut session, !self.options.without_quorum)?;
        session.close()?;
        Ok(process)
    }

    fn kill_while_starting(&mut self) -> Result<()> {
        self.stage.history.record(Event::LifeBegan);
        let process = self.command.start()?;
        let share = self.random.fraction() * 1.2;
        thread::sleep(self.start_up.mul_f64(share));
        self.end(process, Ending::Killed)
    }

    fn end(&self, process: BrokerProcess, ending: Ending) -> Result<()> {
        self.stage.doom();
        process.end(ending)?;
        self.stage.history.record(Event::LifeEnded(ending));
        Ok(())
    }

    /// Lets all clients work for `span`, and ends the broker under them.
    fn work(&self, process: &mut BrokerProcess, round: u32, span: Duration, plan: Plan) -> Result<()> {
        let stage = self.stage;
        let first = round * PUBLISHERS_PER_LIFE;
        thread::scope(|scope| {
            for publisher in first..first + self.options.publishers {
                scope.spawn(move || {
                    stage.judge(&format!("publisher {publisher}"), publisher::publish(stage, publisher));
                });
            }
            for number in 0..self.options.consumers {
                scope.spawn(move || {
                    stage.judge(&format!("consumer {number}"), consumer::consume(stage, number.into()));
                });
            }
            scope.spawn(move || stage.judge("operator", operator::operate(stage)));
            let watched = watch(process, span);
            stage.doom();
            strike(process, if watched.is_ok() { plan } else { Plan::Kill });
            // A broker that takes its time to stop still has clients; but not for ever.
            let patience = Instant::now() + Duration::from_secs(20);
            while process.check_alive().is_ok() && Instant::now() < patience {
                thread::sleep(MOMENT);
            }
            stage.end();
            watched
        })
        .inspect_err(|_| stage.history.record(Event::LifeEnded(Ending::Killed)))
    }

    fn show(&self, round: u32, plan: Plan) {
        let counts = self.stage.history.checker().counts();
        let violations = self.stage.history.violations().total();
        eprintln!(
            "round {round}: {plan:?}, start {:.0} ms, {} sent, {} confirmed, {} delivered, {} acked, {violations} violations",
            self.start_up.as_secs_f64() * 1e3,
            counts.sent,
            counts.confirmed,
            counts.delivered,
            counts.acked,
        );
    }
}

/// Waits, and sees whether the broker lives.
fn watch(process: &mut BrokerProcess, span: Duration) -> Result<()> {
    let until = Instant::now() + span;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        interrupt::check()?;
        process.check_alive()?;
        thread::sleep(left.min(MOMENT));
    }
}

fn strike(process: &mut BrokerProcess, plan: Plan) {
    match plan {
        Plan::Kill => process.signal(libc::SIGKILL),
        Plan::Stop => process.signal(libc::SIGTERM),
        Plan::KillWhileStopping(after) => {
            process.signal(libc::SIGTERM);
            thread::sleep(after);
            process.signal(libc::SIGKILL);
        }
    }
}

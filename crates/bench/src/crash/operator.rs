//! The client that purges, deletes, declares and defines while the others work.
//!
//! Invariant: it touches only the queues that are set apart for it, so that a loss elsewhere is a loss.

use std::thread;
use std::time::Duration;

use super::history::Event;
use super::plan;
use super::random::Random;
use super::stage::Stage;
use crate::client::session::Session;
use crate::error::Result;
use crate::wire;

pub fn operate(stage: &Stage) -> Result<()> {
    let life = u64::from(stage.history.checker().counts().lives);
    let mut random = Random::of(stage.seed, &[u64::MAX - 2, life]);
    let mut session = Session::open(&stage.target)?;
    while !stage.is_ending() {
        match random.within(0..10) {
            0 => purge(stage, &mut session)?,
            1 => delete(stage, &mut session)?,
            _ => stage.ledger.change(stage, &mut session, &mut random)?,
        }
        thread::sleep(Duration::from_millis(random.within(1..60)));
    }
    Ok(())
}

fn purge(stage: &Stage, session: &mut Session) -> Result<()> {
    stage.history.record(Event::Purging(plan::PURGE));
    session.call(wire::QUEUE_PURGE, wire::QUEUE_PURGE_OK, |args| {
        args.u16(0).short(plan::name(plan::PURGE)).u8(0);
    })?;
    stage.history.record(Event::Purged(plan::PURGE));
    Ok(())
}

fn delete(stage: &Stage, session: &mut Session) -> Result<()> {
    stage.history.record(Event::Purging(plan::DELETE));
    session.call(wire::QUEUE_DELETE, wire::QUEUE_DELETE_OK, |args| {
        args.u16(0).short(plan::name(plan::DELETE)).u8(0);
    })?;
    plan::declare(session, plan::DELETE, false)?;
    stage.history.record(Event::Purged(plan::DELETE));
    Ok(())
}

//! Which definitions were made and deleted, and whether the broker still knows.
//!
//! Invariant: a name is judged only when the broker answered the last thing that was done to it; what was on its way
//! when the broker ended may be there or not, and is left alone from then on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::random::Random;
use super::report::Rule;
use super::stage::Stage;
use super::{http, plan};
use crate::client::session::{Event, Session};
use crate::error::{Error, Result};
use crate::wire;
use crate::wire::properties::{DELIVERY_MODE, MESSAGE_ID};

const NOT_FOUND: u16 = 404;
const KEY: &str = "key";
/// How many of the newest are looked at after each start.
const NEWEST: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Asked for, and not answered.
    Unknown,
    There,
    Gone,
}

/// A queue, an exchange of the same name, a binding between them, and a user.
#[derive(Debug, Default)]
pub struct Ledger {
    sets: Mutex<BTreeMap<u32, State>>,
}

fn name(number: u32) -> String {
    format!("crash.def.{number}")
}

impl Ledger {
    fn sets(&self) -> MutexGuard<'_, BTreeMap<u32, State>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, number: u32, state: State) {
        self.sets().insert(number, state);
    }

    /// Makes a new set, and now and then deletes an old one.
    pub fn change(&self, stage: &Stage, session: &mut Session, random: &mut Random) -> Result<()> {
        let there: Vec<u32> = self
            .sets()
            .iter()
            .filter(|(_, state)| **state == State::There)
            .map(|(number, _)| *number)
            .collect();
        if random.percent(30)
            && let Some(number) = there.get(random.within(0..there.len() as u64) as usize)
        {
            self.set(*number, State::Unknown);
            delete(stage, session, &name(*number))?;
            self.set(*number, State::Gone);
            return Ok(());
        }
        let number = self.sets().last_key_value().map_or(0, |(number, _)| number + 1);
        self.set(number, State::Unknown);
        make(stage, session, &name(number))?;
        self.set(number, State::There);
        Ok(())
    }

    /// Looks whether all sets, or only the newest, are as they were left.
    pub fn check(&self, stage: &Stage, all: bool) -> Result<()> {
        let sets: Vec<(u32, State)> = self.sets().iter().map(|(number, state)| (*number, *state)).collect();
        let first = if all { 0 } else { sets.len().saturating_sub(NEWEST) };
        for (number, state) in sets.into_iter().skip(first) {
            let problem = match state {
                State::Unknown => None,
                State::There => missing(stage, &name(number))?,
                State::Gone => left_over(stage, &name(number))?,
            };
            if let Some(problem) = problem {
                stage.history.violate(Rule::Definition, "definitions", problem);
                // Told once.
                self.set(number, State::Unknown);
            }
        }
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.sets().len()
    }
}

fn make(stage: &Stage, session: &mut Session, name: &str) -> Result<()> {
    plan::declare_queue(session, name, |_| {})?;
    plan::declare_exchange(session, name, "direct")?;
    plan::bind(session, name, name, KEY)?;
    match stage.http_port {
        Some(port) => http::put_user(&stage.target, port, name),
        None => Ok(()),
    }
}

fn delete(stage: &Stage, session: &mut Session, name: &str) -> Result<()> {
    session.call(wire::QUEUE_DELETE, wire::QUEUE_DELETE_OK, |args| {
        args.u16(0).short(name).u8(0);
    })?;
    session.call(wire::EXCHANGE_DELETE, wire::EXCHANGE_DELETE_OK, |args| {
        args.u16(0).short(name).u8(0);
    })?;
    if let Some(port) = stage.http_port
        && !http::delete_user(&stage.target, port, name)?
    {
        stage.history.violate(
            Rule::Definition,
            "users",
            format!("user {name} is gone before it was deleted"),
        );
    }
    Ok(())
}

/// What of a set is not there.
fn missing(stage: &Stage, name: &str) -> Result<Option<String>> {
    if !exists(stage, wire::QUEUE_DECLARE, name)? {
        return Ok(Some(format!("queue {name} is gone")));
    }
    if !exists(stage, wire::EXCHANGE_DECLARE, name)? {
        return Ok(Some(format!("exchange {name} is gone")));
    }
    if !routes(stage, name)? {
        return Ok(Some(format!("the binding of {name} is gone")));
    }
    match stage.http_port {
        Some(port) if !http::has_user(&stage.target, port, name)? => Ok(Some(format!("user {name} is gone"))),
        _ => Ok(None),
    }
}

/// What of a deleted set is there.
fn left_over(stage: &Stage, name: &str) -> Result<Option<String>> {
    if exists(stage, wire::QUEUE_DECLARE, name)? {
        return Ok(Some(format!("queue {name} was deleted and is back")));
    }
    if exists(stage, wire::EXCHANGE_DECLARE, name)? {
        return Ok(Some(format!("exchange {name} was deleted and is back")));
    }
    match stage.http_port {
        Some(port) if http::has_user(&stage.target, port, name)? => {
            Ok(Some(format!("user {name} was deleted and is back")))
        }
        _ => Ok(None),
    }
}

/// A passive declare; a refusal ends the channel, so each has a session of its own.
fn exists(stage: &Stage, id: wire::MethodId, name: &str) -> Result<bool> {
    const PASSIVE: u8 = 1;
    let mut session = Session::open(&stage.target)?;
    let answer = if id == wire::QUEUE_DECLARE { wire::QUEUE_DECLARE_OK } else { wire::EXCHANGE_DECLARE_OK };
    let reply = session.call(id, answer, |args| {
        args.u16(0).short(name);
        if id == wire::EXCHANGE_DECLARE {
            args.short("direct");
        }
        args.u8(PASSIVE).table(|_| {});
    });
    match reply {
        Ok(_) => session.close().map(|()| true),
        Err(Error::Closed { code: NOT_FOUND, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a message through the binding and sees whether it comes back; leaves the queue empty.
fn routes(stage: &Stage, name: &str) -> Result<bool> {
    let mut session = Session::open(&stage.target)?;
    session.call(wire::CONFIRM_SELECT, wire::CONFIRM_SELECT_OK, |args| {
        args.u8(0);
    })?;
    let mut properties = (MESSAGE_ID | DELIVERY_MODE).to_be_bytes().to_vec();
    properties.extend_from_slice(b"\x01\x05probe");
    session.publish(name, KEY, &properties, b"probe");
    session.flush()?;
    let mut is_routed = true;
    loop {
        match session.next(stage.target.timeout)? {
            Some(Event::Unroutable(_)) => is_routed = false,
            Some(Event::Confirmed { .. }) => break,
            Some(_) => {}
            None => return Err(Error::Stalled(format!("no confirm of a message to {name}"))),
        }
    }
    session.call(wire::QUEUE_PURGE, wire::QUEUE_PURGE_OK, |args| {
        args.u16(0).short(name).u8(0);
    })?;
    session.close()?;
    Ok(is_routed)
}

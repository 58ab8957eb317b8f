//! One play: some nodes start, things go wrong for a while, then everything heals and has to come to rest.
//!
//! Invariant: a play is its seed: the same seed gives the same play.

use crate::faults::faults;
use crate::invariants::{self, Seen, restlessness};
use crate::network::keep_links;
use crate::register::keep_leaders;
use crate::workload::clients;
use crate::world::{Settings, World};
use std::rc::Rc;
use std::time::Duration;

/// By then everything has come to rest.
const REST_MAX: Duration = Duration::from_secs(60);
/// So long it has to stay so.
const STILL: Duration = Duration::from_secs(2);

/// What a play came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// How many nodes there were.
    pub nodes: usize,
    /// How many changes were agreed on.
    pub changes: usize,
    /// How long things went wrong.
    pub chaos: Duration,
    /// How long it took to come to rest.
    pub rest: Duration,
    /// One number for all that happened.
    pub trace: u64,
}

/// Plays from a seed.
///
/// # Errors
/// What did not hold, and when.
pub fn play(settings: Settings) -> Result<Played, String> {
    let world = World::new(settings, invariants::all());
    let nodes = if world.dice.permille(700) { 3 } else { 2 + world.dice.below(4) };
    (0..nodes).for_each(|_| world.add_machine());
    let chaos = begin(&world, nodes);
    run_until(&world, chaos)?;
    world.heal_all();
    let rest = come_to_rest(&world)?;
    let changes = world.registers.borrow().values().map(|register| register.log.len()).sum();
    Ok(Played { nodes, changes, chaos, rest, trace: world.trace() })
}

/// How long things go wrong, how long the longest pause in it is, and when the last node starts, milliseconds.
fn times(world: &World, nodes: usize) -> (Duration, u64, u64) {
    let dice = &world.dice;
    if dice.permille(300) {
        // It is about how a cluster begins.
        if nodes <= 3 {
            world.make_weather();
        }
        return (dice.ms(4_000, 9_000), 100 + dice.any() % 900, 6_000);
    }
    (dice.ms(3_000, 20_000), 200 + dice.any() % 2_800, 2_000)
}

/// Has everything begin; how long things go wrong.
fn begin(world: &Rc<World>, nodes: usize) -> Duration {
    let (chaos, calm_ms, start_ms) = times(world, nodes);
    let schedule = &world.schedule;
    schedule.spawn(0, keep_links(world.clone()));
    schedule.spawn(0, keep_leaders(world.clone()));
    let lasting = |world: &Rc<World>| {
        let world = world.clone();
        move || world.now() < chaos
    };
    for place in world.places() {
        schedule.spawn(0, clients(world.clone(), place, lasting(world)));
        let (starter, pause) = (world.clone(), world.dice.ms(0, start_ms));
        schedule.after(pause, move || starter.start(place));
    }
    let (troubled, lasts) = (world.clone(), lasting(world));
    schedule.spawn(0, async move {
        // The votes of more than three can be split for good, which is known: their clusters are formed in peace.
        while nodes > 3 && !is_formed(&troubled) && lasts() {
            troubled.schedule.sleep(Duration::from_millis(100)).await;
        }
        faults(troubled, calm_ms, lasts).await;
    });
    chaos
}

fn is_formed(world: &World) -> bool {
    world.machines.borrow().iter().all(|machine| machine.process.as_ref().is_some_and(|p| p.is_serving))
}

fn check(world: &World) -> Result<(), String> {
    world.failure.borrow().clone().map_or(Ok(()), Err)
}

fn run_until(world: &Rc<World>, until: Duration) -> Result<(), String> {
    while world.schedule.step(until) {
        check(world)?;
    }
    check(world)
}

fn why_not(world: &Rc<World>) -> Option<String> {
    restlessness(world).or_else(|| world.disagreement())
}

fn come_to_rest(world: &Rc<World>) -> Result<Duration, String> {
    let began = world.now();
    loop {
        run_until(world, world.now() + Duration::from_millis(200))?;
        let Some(why) = why_not(world) else {
            let rest = world.now() - began;
            run_until(world, world.now() + STILL)?;
            if why_not(world).is_none() {
                world.show(&Seen::Quiet(world));
                check(world)?;
                return Ok(rest);
            }
            continue;
        };
        if world.now() - began > REST_MAX {
            return Err(format!("not at rest {REST_MAX:?} after all faults ended: {why}"));
        }
    }
}

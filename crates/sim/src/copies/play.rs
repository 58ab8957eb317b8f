//! One play: some nodes and queues, things go wrong for a while, then everything heals, comes to rest and drains.
//!
//! Invariant: a play is its seed: the same seed gives the same play.

use super::bug::Bug;
use super::event::{Event, Micros};
use super::invariants::{self, Seen};
use super::machine::{Disk, Machine, Place, Seat};
use super::register::{self, Picture, Register, Row};
use super::world::{Habits, Settings, World};
use broker::catalog::Command;
use broker::catalog::copies;
use std::collections::BTreeSet;
use std::time::Duration;
use types::{NodeId, QueueId};

/// By then everything has come to rest, and is drained.
const REST_MAX: Duration = Duration::from_secs(60);

/// What a play came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// How many nodes there were.
    pub nodes: usize,
    /// How many queues.
    pub queues: usize,
    /// How many changes were agreed on.
    pub changes: usize,
    /// How many messages were published.
    pub published: usize,
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
    let mut world = begin(settings);
    let chaos = world.pause(4_000, 20_000);
    run_until(&mut world, chaos)?;
    if world.dice.permille(400) {
        serve_without_one(&mut world)?;
    }
    world.heal_all();
    world.clients.are_publishing = false;
    world.clients.are_consuming = false;
    let rest = come_to_rest(&mut world, false)?;
    world.clients.are_consuming = true;
    come_to_rest(&mut world, true)?;
    Ok(Played {
        nodes: world.machines.len(),
        queues: world.register.latest().queues.len(),
        changes: world.register.pictures.len() - 1,
        published: world.clients.ways.len(),
        chaos: Duration::from_micros(chaos),
        rest,
        trace: world.trace(),
    })
}

fn begin(settings: Settings) -> World {
    let mut world = World::new(settings, Register::new(), invariants::all());
    let nodes = 3 + world.dice.below(3);
    let queues = 1 + world.dice.below(3);
    let dice = &world.dice;
    let is_far = dice.permille(150);
    world.habits = Habits {
        link_frames_max: if is_far || dice.permille(300) { 30 + dice.below(120) } else { 2_000 },
        far_ms: if is_far { 300 + dice.any() % 1_200 } else { 0 },
        deaf: if dice.permille(400) { (25, 4_000) } else { (6, 1_500) },
        saves: if dice.permille(500) { 300 } else { 30 },
        slow_ms: if dice.permille(300) { 3_000 } else { 600 },
    };
    world.clients.pause_ms = if world.dice.permille(300) { 40 } else { 150 };
    (world.clients.are_publishing, world.clients.are_consuming) = (true, true);
    for node in 1..=nodes {
        let node = NodeId(u64::try_from(node).unwrap_or(0));
        world.machines.push(Machine { node, disk: Disk::default(), process: None });
    }
    world.places().for_each(|place| world.start(place));
    begin_catalog(&mut world, queues);
    for place in world.places() {
        world.agenda.after(0, Event::Publish(place));
    }
    world.agenda.after(0, Event::Links);
    world.agenda.after(0, Event::Lead);
    let calm = world.pause(100, 3_000);
    world.agenda.after(calm, Event::Fault);
    world
}

/// A cluster of all nodes, with queues that are to be mirrored.
fn begin_catalog(world: &mut World, queues: usize) {
    let vhost = Command::AddVhost {
        name: "/".into(),
        description: String::new(),
        tags: Vec::new(),
        default_queue_type: None,
    };
    let mut commands = vec![vhost];
    for place in world.places() {
        let boot = world.awake(place).map_or(0, |process| process.boot);
        let node = register::node_row(world.node_at(place), &format!("n{place}"), boot);
        commands.push(match place {
            0 => Command::FormCluster { cluster: 1, node },
            _ => Command::PutNode { node },
        });
    }
    let promotes_any = world.has(Bug::UnsyncedPromoted);
    for at in 0..queues {
        let name = format!("q{at}");
        let home = world.node_at(world.dice.below(world.machines.len()));
        let policy = register::policy(&name, 2 + world.dice.below(2), promotes_any);
        let declare = register::declare(&name, home);
        // One that is mirrored from the beginning, or later.
        let is_mirrored = world.dice.permille(500);
        commands.extend(if is_mirrored { [policy, declare] } else { [declare, policy] });
    }
    commands.iter().for_each(|command| {
        world.register.apply(command);
    });
}

fn run_until(world: &mut World, until: Micros) -> Result<(), String> {
    while let Some(event) = world.agenda.next(until) {
        world.happen(event);
        if let Some(why) = world.failure.clone() {
            return Err(why);
        }
    }
    Ok(())
}

fn come_to_rest(world: &mut World, is_drained: bool) -> Result<Duration, String> {
    let began = world.now();
    loop {
        let until = world.now() + 200_000;
        run_until(world, until)?;
        let rest = Duration::from_micros(world.now() - began);
        let Some(why) = restlessness(world, is_drained) else {
            world.show(&Seen::Quiet);
            return world.failure.clone().map_or(Ok(rest), Err);
        };
        if rest > REST_MAX {
            return Err(format!("not at rest {REST_MAX:?} after all faults ended: {why}"));
        }
    }
}

/// Everything heals but one node, which stays down: the queues that can do without it commit all they have.
fn serve_without_one(world: &mut World) -> Result<(), String> {
    let missing = world.dice.below(world.machines.len());
    // Perhaps while it is on its way to be in sync.
    world.heal_all();
    let until = world.now() + world.pause(0, 1_500);
    run_until(world, until)?;
    world.crash(missing, "it stays down for a while");
    let mut waited = Duration::ZERO;
    while let Some(why) = unserved(world, missing) {
        if waited > REST_MAX {
            return Err(format!("not served {REST_MAX:?} after all faults but one ended: {why}"));
        }
        let until = world.now() + 200_000;
        run_until(world, until)?;
        waited += Duration::from_millis(200);
        // What is there when it looks has to be committed when it looks again.
        world.clients.are_publishing = waited < Duration::from_secs(2);
        world.clients.are_consuming = world.clients.are_publishing;
    }
    Ok(())
}

/// Why a queue that can do without a node does not serve.
fn unserved(world: &World, missing: Place) -> Option<String> {
    let picture = world.register.latest();
    let node = world.node_at(missing);
    picture.queues.iter().find_map(|(queue, row)| {
        if row.copies.in_sync == [node] {
            return None;
        }
        let home = world.place_of(row.home).and_then(|place| world.awake(place));
        let role = home.and_then(|home| home.seats.get(queue)?.home.as_ref());
        let Some(role) = role.map(|home| &home.role).filter(|role| role.epoch() == row.copies.epoch) else {
            return Some(format!("queue {queue}: there is no home: {row:?}"));
        };
        let is_served = role.is_established() && role.committed() == role.position();
        (!is_served).then(|| format!("queue {queue}: its home waits for {:?}: {row:?}", role.waits_for()))
    })
}

/// Why not everything is as it should be.
fn restlessness(world: &World, is_drained: bool) -> Option<String> {
    let picture = world.register.latest();
    for place in world.places() {
        let Some(process) = world.awake(place) else { return Some(format!("{place} does not run")) };
        if process.picture.catalog.version != picture.catalog.version {
            return Some(format!("{place} is behind on the catalog"));
        }
        if !process.writes.is_empty() {
            return Some(format!("{place} writes"));
        }
    }
    picture.queues.iter().find_map(|(queue, row)| {
        let why = restless_queue(world, &picture, *queue, row, is_drained)?;
        Some(format!("queue {queue}: {why}: {row:?}"))
    })
}

fn restless_queue(
    world: &World,
    picture: &Picture,
    queue: QueueId,
    row: &Row,
    is_drained: bool,
) -> Option<String> {
    let copies = &row.copies;
    let (wanted, minimum) = &row.wanted;
    if copies.in_sync != *wanted || copies.mirrors.len() + 1 != wanted.len() {
        return Some("not all copies are in sync".to_owned());
    }
    if copies.min_in_sync != *minimum || !copies::next_steps(&picture.catalog, 1).is_empty() {
        return Some("its copies are not as wanted".to_owned());
    }
    let seat = |node: NodeId| world.awake(world.place_of(node)?)?.seats.get(&queue);
    let Some(home) = seat(row.home) else { return Some("there is no home".to_owned()) };
    let Some(role) = home.home.as_ref().filter(|it| it.role.epoch() == copies.epoch) else {
        return Some("its home does not know it".to_owned());
    };
    if !role.role.is_established() || role.role.committed() < role.role.position() {
        return Some(format!("its home waits for {:?}", role.role.waits_for()));
    }
    if is_drained && !home.contents.live.is_empty() {
        return Some(format!("messages are left: {:?}", home.contents.live));
    }
    for node in &copies.mirrors {
        let copy = seat(*node)?;
        if copy.contents != home.contents {
            return Some(format!("node {node} has another copy than the home: {}", difference(copy, home)));
        }
        if copy.mirror.held_count() > 0 {
            return Some(format!("node {node} holds what is committed"));
        }
    }
    None
}

/// What is different in two copies, in short.
fn difference(copy: &Seat, home: &Seat) -> String {
    let (ours, theirs) = (&copy.contents, &home.contents);
    let all = ours.live.keys().chain(theirs.live.keys());
    let indexes: BTreeSet<u64> = all.copied().filter(|at| ours.live.get(at) != theirs.live.get(at)).collect();
    format!(
        "{:?} up to {}, {:?} up to {}, they differ in {indexes:?}",
        ours.history, ours.next, theirs.history, theirs.next
    )
}

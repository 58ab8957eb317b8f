//! One chunk for several queues of a home.

use super::{Dice, Stage};
use broker::message::{Chunk, ChunkBuilder, RecordHead};
use broker::queue::Picks;
use engine::QueueCommand;
use engine::queue::{Enqueue, Ticket};
use std::collections::BTreeSet;
use std::sync::Arc;

fn chunk(bodies: &[String]) -> Arc<Chunk> {
    let mut builder = ChunkBuilder::default();
    let route: Arc<[u8]> = Arc::from(&b"\0\x01q"[..]);
    for body in bodies {
        builder.push(RecordHead::default(), &route, &[0, 0], body.as_bytes());
    }
    Arc::new(builder.finish())
}

/// Publishes some of a chunk to a queue; each of these publishes has a number of its own.
fn publish(stage: &mut Stage, name: &str, chunk: &Arc<Chunk>, picks: Picks) {
    let first = stage.last_number + 1;
    stage.last_number += u64::from(picks.len());
    let ticket = Ticket { outlet: stage.outlet(), ranges: vec![(first, stage.last_number)] };
    let bytes = (0..picks.len()).map(|at| u64::from(chunk.head(picks.ordinal(at)).body_bytes)).sum();
    let enqueue = Enqueue { chunk: chunk.clone(), picks, bytes, ticket: Some(ticket) };
    stage.post(name, QueueCommand::Enqueue(enqueue));
}

/// What a queue holds, taken out at the home.
async fn drain(stage: &mut Stage, name: &str) -> Vec<String> {
    let before = stage.bodies().len();
    let (_, _answer) = stage.consume(name, true, 0, false);
    stage.settle().await;
    stage.bodies().split_off(before)
}

#[tokio::test]
async fn a_body_for_many_queues_crosses_the_link_once() {
    let mut stage = Stage::new().await;
    let names: Vec<String> = (0..10).map(|at| format!("f{at}")).collect();
    for name in &names {
        stage.declare(name, false).await;
    }
    let chunk = chunk(&["x".repeat(100_000)]);
    for name in &names {
        publish(&mut stage, name, &chunk, Picks::Span(0, 1));
    }
    stage.away.flush();
    let sent: usize =
        stage.link.as_ref().map_or(0, |link| link.to_home.frames.lock().iter().map(Vec::len).sum());
    assert!(sent < 102_000, "{sent} bytes");
    stage.settle().await;
    assert_eq!(stage.client.0.lock().confirmed, (1..=10).collect::<BTreeSet<u64>>());
    for name in &names {
        assert_eq!(stage.counts(name).ready, 1, "{name}");
        assert_eq!(drain(&mut stage, name).await, ["x".repeat(100_000)]);
    }
    // Nothing of it is owed or kept at this end.
    assert!(names.iter().all(|name| !stage.queue(name).is_full()));
    assert_eq!(Arc::strong_count(&chunk), 1);
}

/// Chunks of several publishers in turns, each queue getting some of each, with the link's work ending and the link
/// itself being cut anywhere.
#[tokio::test]
async fn each_queue_gets_its_own_in_order() {
    let names = ["a", "b", "c", "d"];
    for seed in 0..60 {
        let mut stage = Stage::new().await;
        let mut dice = Dice(seed);
        for name in names {
            stage.declare(name, false).await;
        }
        let mut expected: Vec<Vec<String>> = vec![Vec::new(); names.len()];
        let mut live: Vec<Arc<Chunk>> = Vec::new();
        let mut made = 0;
        for _ in 0..200 {
            match dice.roll(8) {
                0 | 1 => {
                    let count = 1 + dice.roll(5);
                    let bodies: Vec<String> =
                        (made..made + count).map(|at| format!("{at:06}{:>90}", "")).collect();
                    made += count;
                    live.push(chunk(&bodies));
                }
                2..=5 if !live.is_empty() => {
                    let chunk = live[dice.roll(live.len() as u64) as usize].clone();
                    let mut picks = Picks::Span(0, 0);
                    let all = dice.roll(2) == 0;
                    (0..chunk.len()).filter(|_| all || dice.roll(2) == 0).for_each(|at| picks.push(at));
                    let at = dice.roll(names.len() as u64) as usize;
                    if !picks.is_empty() {
                        let body = |position| chunk.record(picks.ordinal(position)).body.to_vec();
                        let bodies = (0..picks.len()).map(|at| String::from_utf8(body(at)).unwrap());
                        expected[at].extend(bodies);
                        publish(&mut stage, names[at], &chunk, picks);
                    }
                }
                6 => {
                    live.clear();
                    stage.away.flush();
                }
                _ => {
                    stage.carry(dice.roll(4) as usize);
                    if dice.roll(40) == 0 {
                        // All that is on the way has arrived; the next link begins with nothing kept.
                        stage.settle().await;
                        stage.cut();
                        stage.connect();
                    }
                }
            }
        }
        stage.settle().await;
        assert_eq!(stage.client.0.lock().confirmed.len() as u64, stage.last_number, "seed {seed}");
        for (name, expected) in names.iter().zip(expected) {
            assert_eq!(drain(&mut stage, name).await, expected, "seed {seed}, queue {name}");
        }
    }
}

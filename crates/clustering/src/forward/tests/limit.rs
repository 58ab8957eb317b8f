//! The limit of a channel on another node: who holds how much, and what becomes of the rest.

use super::{Client, Dice, Stage};
use broker::queue::Consumer;
use engine::QueueCommand;
use engine::queue::AddConsumer;
use std::sync::Arc;
use tokio::sync::oneshot;
use types::{ConsumerId, FieldTable};

/// A channel that may hold so many.
fn limit(stage: &Stage, room: u32) {
    let mut seen = stage.client.0.lock();
    (seen.is_limit, seen.room) = (true, room);
}

#[tokio::test]
async fn a_home_sends_no_more_than_a_channel_may_hold() {
    let mut stage = Stage::new().await;
    limit(&stage, 2);
    let (id, _answer) = stage.consume("q", false, 0, false);
    for body in ["a", "b", "c", "d"] {
        stage.publish("q", body);
    }
    stage.settle().await;
    assert_eq!((stage.counts("q").ready, stage.counts("q").unacked), (2, 2));
    stage.post("q", QueueCommand::Settle(id, vec![(0, 1)]));
    stage.make_room(1);
    stage.settle().await;
    assert_eq!((stage.counts("q").ready, stage.counts("q").unacked), (1, 2));
    assert_eq!(stage.bodies(), ["a", "b", "c"]);
    // Without a limit the rest comes, and what is new.
    stage.client.0.lock().is_limit = false;
    stage.make_room(u32::MAX);
    stage.publish("q", "e");
    stage.settle().await;
    assert_eq!(stage.bodies(), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn what_is_too_much_for_a_channel_goes_back_for_others() {
    let mut stage = Stage::new().await;
    stage.declare("r", false).await;
    let (_, _first) = stage.consume("q", false, 0, false);
    let (_, _second) = stage.consume("r", false, 0, false);
    stage.settle().await;
    // The homes were told of no limit, and everything is on its way when it comes.
    limit(&stage, 3);
    for at in 0..3 {
        for name in ["q", "r"] {
            stage.publish(name, &format!("{name}{at}"));
        }
    }
    stage.settle().await;
    assert_eq!(stage.bodies(), ["q0", "r0", "q1"]);
    assert_eq!((stage.counts("q").ready, stage.counts("q").unacked), (1, 2));
    assert_eq!((stage.counts("r").ready, stage.counts("r").unacked), (2, 1));
    let totals = stage.home.queue_named("/", "r").unwrap().listing().totals;
    assert_eq!((totals.deliver, totals.redeliver), (1, 0), "what nobody has seen is not counted");
    let at_home = Arc::new(Client::default());
    at_home.0.lock().room = u32::MAX;
    stage.client.0.lock().waiting.retain(|(queue, _)| queue.row().name != "r".into());
    let (reply, _answer) = oneshot::channel();
    let add = AddConsumer {
        consumer: Consumer {
            id: ConsumerId(100),
            priority: 0,
            no_ack: false,
            exclusive: false,
            prefetch: 0,
            in_flight: 0,
            blocked: false,
        },
        tag: "other".into(),
        arguments: FieldTable::new(),
        outlet: at_home.clone(),
        channel: String::new(),
        reply: Some(reply),
    };
    stage.home.post(&stage.home.queue_named("/", "r").unwrap(), QueueCommand::AddConsumer(Box::new(add)));
    stage.settle().await;
    let seen: Vec<_> = at_home.0.lock().delivered.iter().map(|row| (row.1.clone(), row.2)).collect();
    assert_eq!(seen, [("r1".to_owned(), false), ("r2".to_owned(), false)]);
    // The channel goes on with what is left for it.
    stage.make_room(5);
    stage.settle().await;
    assert_eq!(stage.bodies(), ["q0", "r0", "q1", "q2"]);
}

/// Limits that change while messages are on their way: each queue's messages come once, in order, and none as
/// seen before, since what was too much nobody has seen.
#[tokio::test]
async fn a_shared_limit_keeps_the_order_of_each_queue() {
    for seed in 0..100 {
        let mut stage = Stage::new().await;
        let mut dice = Dice(seed);
        stage.declare("r", false).await;
        stage.client.0.lock().is_limit = dice.roll(2) == 0;
        let _answers = ["q", "r"].map(|name| stage.consume(name, false, 0, false));
        for at in 0..300 {
            match dice.roll(8) {
                0..=3 => {
                    let name = ["q", "r"][dice.roll(2) as usize];
                    stage.publish(name, &format!("{name}{at:06}"));
                }
                4 => stage.make_room(dice.roll(4) as u32),
                5 if dice.roll(10) == 0 => stage.client.0.lock().is_limit = dice.roll(3) > 0,
                _ => {
                    stage.carry(dice.roll(4) as usize);
                }
            }
        }
        stage.settle().await;
        stage.make_room(u32::MAX);
        stage.settle().await;
        let mut all: Vec<String> = stage.bodies();
        assert!(stage.client.0.lock().delivered.iter().all(|(_, _, redelivered)| !redelivered));
        all.sort_by_key(|body| body.chars().next());
        assert!(all.is_sorted(), "seed {seed}: {all:?}");
        assert_eq!(all.len() as u64, stage.last_number, "seed {seed}");
        let left = ["q", "r"].map(|name| stage.counts(name).ready);
        assert_eq!(left, [0, 0], "seed {seed}");
    }
}

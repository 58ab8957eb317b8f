//! Queues that run: what is published arrives, what nobody needs goes, what is too much waits.

use crate::client::Client;
use crate::stage::{Stage, wait_for};
use engine::QueueCommand;
use std::sync::Arc;
use tokio::sync::oneshot;
use types::limits::QUEUE_MAILBOX_MAX_BYTES;
use types::{ConsumerId, FieldValue};

fn text(value: &str) -> FieldValue {
    FieldValue::text(value)
}

fn number(value: i64) -> FieldValue {
    FieldValue::I64(value)
}

#[tokio::test]
async fn a_publish_is_delivered_in_order_and_flushed() {
    let stage = Stage::new();
    let queue = stage.declare("q", &[]).await;
    let client = Arc::new(Client::default());
    client.consume(&stage, &queue, 1).await;
    stage.publish("q", &[b"one", b"two"], None);
    stage.publish("q", &[b"three"], None);
    let got = client.got();
    assert_eq!(got.bodies, [&b"one"[..], b"two", b"three"]);
    assert_eq!(got.flushes, 2);
    assert_eq!((queue.counts().ready, queue.counts().unacked), (0, 3));
    stage.broker.post(&queue, QueueCommand::Settle(ConsumerId(1), vec![(0, 3)]));
    assert_eq!(queue.counts().unacked, 0);
}

#[tokio::test]
async fn a_full_client_gets_the_rest_when_it_has_room() {
    let stage = Stage::new();
    let queue = stage.declare("q", &[]).await;
    let client = Arc::new(Client::default());
    client.set_room(2);
    client.consume(&stage, &queue, 1).await;
    stage.publish("q", &[b"1", b"2", b"3"], None);
    assert_eq!(client.got().bodies.len(), 2);
    client.set_room(9);
    stage.broker.post(&queue, QueueCommand::Unblock(ConsumerId(1)));
    assert_eq!(client.got().indexes, [0, 1, 2]);
}

#[tokio::test]
async fn a_dead_letter_cycle_ends() {
    let stage = Stage::new();
    let to = |other: &str| {
        let (exchange, key) = (text(""), text(other));
        [
            ("x-dead-letter-exchange", exchange),
            ("x-dead-letter-routing-key", key),
            ("x-message-ttl", number(1)),
        ]
    };
    let here = stage.declare("here", &to("there")).await;
    let there = stage.declare("there", &to("here")).await;
    stage.publish("here", &[b"round and round"], None);
    let cycles = || stage.broker.metrics().dead_letter_cycles.get();
    wait_for("the message comes full circle", || cycles() == 1).await;
    assert_eq!((here.counts().ready, there.counts().ready), (0, 0));
    assert_eq!(stage.broker.metrics().dead_lettered.get(), 2);
}

#[tokio::test]
async fn messages_and_unused_queues_expire_by_themselves() {
    let stage = Stage::new();
    let queue = stage.declare("q", &[("x-message-ttl", number(20))]).await;
    stage.publish("q", &[b"1", b"2"], None);
    assert_eq!(queue.counts().ready, 2);
    wait_for("the messages expire", || queue.counts().ready == 0).await;
    assert_eq!(queue.listing().totals.expired, 2);
    stage.declare("unused", &[("x-expires", number(20))]).await;
    wait_for("the queue expires", || stage.queue("unused").is_none()).await;
}

#[tokio::test]
async fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let stage = Stage::new();
    let queue = stage.declare_as("q", true, &[]).await;
    let client = Arc::new(Client::default());
    client.consume(&stage, &queue, 1).await;
    client.consume(&stage, &queue, 2).await;
    let leave = |id| {
        let (reply, answer) = oneshot::channel();
        stage.broker.post(&queue, QueueCommand::RemoveConsumer(ConsumerId(id), reply));
        answer
    };
    assert!(leave(1).await.unwrap());
    tokio::task::yield_now().await;
    assert!(stage.queue("q").is_some());
    assert!(leave(2).await.unwrap());
    wait_for("the queue goes", || stage.queue("q").is_none()).await;
    assert_eq!(client.got().cancelled, []);
}

#[tokio::test]
async fn consumers_of_a_deleted_queue_are_cancelled() {
    let stage = Stage::new();
    let queue = stage.declare("q", &[]).await;
    let client = Arc::new(Client::default());
    client.consume(&stage, &queue, 1).await;
    stage.publish("q", &[b"held"], None);
    stage.broker.delete_queue(&queue, Default::default()).await.unwrap();
    assert_eq!(client.got().cancelled, [ConsumerId(1)]);
    assert!(queue.is_gone() && stage.queue("q").is_none());
}

#[tokio::test]
async fn publishers_wait_for_a_queue_whose_mailbox_is_full() {
    let stage = Stage::new();
    let queue = stage.declare("q", &[]).await;
    let client = Arc::new(Client::default());
    client.consume(&stage, &queue, 1).await;
    client.close_gate();
    // Another thread runs the queue and stands at the gate; what is posted now stays in the mailbox.
    let stage = Arc::new(stage);
    let elsewhere = stage.clone();
    let busy = std::thread::spawn(move || elsewhere.publish("q", &[b"first"], None).is_none());
    wait_for("the queue runs", || client.is_at_gate()).await;
    let body = vec![0; 1024 * 1024];
    let mut published = 1;
    while stage.publish("q", &[&body], None).is_none() {
        published += 1;
        assert!(published * body.len() <= 2 * QUEUE_MAILBOX_MAX_BYTES, "the mailbox has no bound");
    }
    assert!(queue.is_full());
    client.open_gate();
    wait_for("the queue catches up", || client.got().bodies.len() == published + 1).await;
    assert!(!queue.is_full());
    assert!(busy.join().unwrap());
}

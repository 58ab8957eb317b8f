//! A confirm leaves when the log has committed, and not before.

use crate::client::Client;
use crate::stage::Stage;
use broker::catalog;
use broker::queue::LogCommand;
use engine::queue::{Commit, QueueLog, QueueLogs, Turn};
use engine::{Outlet, QueueCommand};
use std::sync::{Arc, Mutex};
use types::{ConsumerId, FieldValue};

/// A log that commits when the test says so, and what was appended to it, turn by turn.
#[derive(Clone, Default)]
struct SlowLog {
    turns: Arc<Mutex<Vec<Vec<LogCommand>>>>,
}

impl QueueLog for SlowLog {
    fn keeps_commands(&self) -> bool {
        true
    }

    fn append(&mut self, turn: Turn<'_>) -> Commit {
        let mut turns = self.turns.lock().unwrap();
        turns.push(turn.commands.to_vec());
        let position = turns.len() as u64;
        Commit::At { first: position, last: position }
    }
}

impl QueueLogs for SlowLog {
    fn open(&self, _row: &catalog::Queue) -> Box<dyn QueueLog> {
        Box::new(self.clone())
    }
}

#[tokio::test]
async fn confirms_wait_for_the_log() {
    let log = SlowLog::default();
    let stage = Stage::with_logs(Box::new(log.clone()));
    let queue = stage.declare("q", &[]).await;
    let client = Arc::new(Client::default());
    let outlet: Arc<dyn Outlet> = client.clone();
    stage.publish("q", &[b"1", b"2"], Some((&outlet, 1)));
    stage.publish("q", &[b"3"], Some((&outlet, 3)));
    assert_eq!(client.got().confirmed, []);
    assert_eq!(log.turns.lock().unwrap().len(), 2);
    stage.broker.post(&queue, QueueCommand::Committed(1));
    assert_eq!(client.got().confirmed, [(vec![(1, 2)], vec![])]);
    stage.broker.post(&queue, QueueCommand::Committed(2));
    assert_eq!(client.got().confirmed.last(), Some(&(vec![(3, 3)], vec![])));
    stage.broker.post(&queue, QueueCommand::Committed(2));
    assert_eq!(client.got().confirmed.len(), 2);
}

#[tokio::test]
async fn a_turn_without_commands_does_not_confirm_what_waits() {
    let stage = Stage::with_logs(Box::new(SlowLog::default()));
    let queue = stage.declare("q", &[]).await;
    let client = Arc::new(Client::default());
    let outlet: Arc<dyn Outlet> = client.clone();
    stage.publish("q", &[b"1"], Some((&outlet, 1)));
    stage.broker.post(&queue, QueueCommand::Tick);
    stage.broker.post(&queue, QueueCommand::Unblock(ConsumerId(7)));
    assert_eq!(client.got().confirmed, []);
}

#[tokio::test]
async fn a_refused_publish_is_told_with_the_commit() {
    let limits = [("x-max-length", FieldValue::I64(1)), ("x-overflow", FieldValue::text("reject-publish"))];
    let stage = Stage::with_logs(Box::new(SlowLog::default()));
    let queue = stage.declare("q", &limits).await;
    let client = Arc::new(Client::default());
    let outlet: Arc<dyn Outlet> = client.clone();
    stage.publish("q", &[b"1", b"2", b"3"], Some((&outlet, 1)));
    assert_eq!(client.got().confirmed, []);
    stage.broker.post(&queue, QueueCommand::Committed(1));
    assert_eq!(client.got().confirmed, [(vec![(1, 3)], vec![2, 3])]);
    assert_eq!(queue.counts().ready, 1);
}

#[tokio::test]
async fn the_log_gets_each_turn_as_it_happened() {
    let log = SlowLog::default();
    let stage = Stage::with_logs(Box::new(log.clone()));
    let queue = stage.declare("q", &[]).await;
    let client = Arc::new(Client::default());
    client.consume(&stage, &queue, 1).await;
    stage.publish("q", &[b"1", b"2"], None);
    stage.broker.post(&queue, QueueCommand::Settle(ConsumerId(1), vec![(0, 1)]));
    stage.broker.post(&queue, QueueCommand::Return(ConsumerId(1), vec![(1, 2)]));
    let turns = log.turns.lock().unwrap();
    assert!(matches!(turns[0][..], [LogCommand::Enqueue { first: 0, .. }]));
    assert!(matches!(&turns[1][..], [LogCommand::Settle(ranges)] if *ranges == [(0, 1)]));
    assert!(matches!(&turns[2][..], [LogCommand::Return(ranges)] if *ranges == [(1, 2)]));
    assert_eq!(client.got().indexes, [0, 1, 1]);
}

//! Clients that do this and that, and what they know of what they did.

use crate::chance::Chance;
use crate::client::{Client, Seen};
use crate::definitions::Definitions;
use crate::ledger::{Ledger, Op};
use crate::letters::Letters;
use crate::message::Message;
use crate::node::{CONSUMER, Dead, Node, ranges, vhost};
use broker::catalog::Command;
use engine::{Queue, QueueCommand};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use types::{ExchangeName, FieldValue};

/// Queues that are always there; more come and go.
const FIXED: [&str; 7] = ["plain", "priority", "ttl", "short", "strict", "source", LETTERS];
const LETTERS: &str = "letters";
const FLEETING: &str = "fleeting";
const SPREAD: &str = "spread";
const OTHERS: [&str; 3] = ["one", "two", "three"];
const OTHER_EXCHANGES: [&str; 2] = ["there", "everywhere"];
const LENGTH_MAX: usize = 12;

type Arguments = Vec<(&'static str, FieldValue)>;

fn arguments(name: &str) -> Arguments {
    let number = FieldValue::I64;
    match name {
        "priority" | "two" => vec![("x-max-priority", number(5))],
        "ttl" => vec![("x-message-ttl", number(864_000_000))],
        "short" => vec![("x-max-length", number(LENGTH_MAX as i64))],
        "strict" => vec![
            ("x-max-length", number(LENGTH_MAX as i64)),
            ("x-overflow", FieldValue::text("reject-publish")),
        ],
        "source" => vec![
            ("x-dead-letter-exchange", FieldValue::text("")),
            ("x-dead-letter-routing-key", FieldValue::text(LETTERS)),
        ],
        _ => Vec::new(),
    }
}

fn ledger(name: &str) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.priority_max = ["priority", "two"].contains(&name).then_some(5);
    ledger.length_max = (name == "short").then_some(LENGTH_MAX);
    ledger
}

pub struct Driver {
    pub chance: Chance,
    client: Arc<Client>,
    ledgers: BTreeMap<String, Ledger>,
    letters: Letters,
    definitions: Definitions,
    /// What the definitions will be if the change takes place that nobody has answered yet.
    pending: Option<Definitions>,
    last_id: u64,
    /// Publishes that were not confirmed yet: their operations in each queue.
    publishes: BTreeMap<u64, Vec<(String, usize)>>,
    refused: BTreeSet<u64>,
    consuming: BTreeSet<String>,
    pub confirmed: usize,
}

impl Driver {
    pub fn new(seed: u64) -> Driver {
        Driver {
            chance: Chance::new(seed),
            client: Arc::default(),
            ledgers: BTreeMap::new(),
            letters: Letters::default(),
            definitions: Definitions::default(),
            pending: None,
            last_id: 0,
            publishes: BTreeMap::new(),
            refused: BTreeSet::new(),
            consuming: BTreeSet::new(),
            confirmed: 0,
        }
    }

    /// Does so many random things, unless the disk dies before.
    pub async fn work(&mut self, node: &Node, steps: u64) -> Result<(), Dead> {
        self.prepare(node).await?;
        for _ in 0..steps {
            if node.is_dead() {
                return Err(Dead);
            }
            self.step(node).await?;
            self.hear();
        }
        Ok(())
    }

    /// Makes what is always there.
    async fn prepare(&mut self, node: &Node) -> Result<(), Dead> {
        for name in FIXED {
            if !self.definitions.queues.contains(name) {
                self.declare(node, name).await?;
            }
        }
        node.declare(FLEETING, false, &[]).await?;
        if !self.definitions.exchanges.contains(SPREAD) {
            self.declare_exchange(node, SPREAD).await?;
        }
        for name in ["plain", "priority", "ttl"] {
            self.bind(node, SPREAD, name).await?;
        }
        Ok(())
    }

    async fn step(&mut self, node: &Node) -> Result<(), Dead> {
        match self.chance.below(100) {
            0..=34 => return self.publish(node).await,
            35..=54 => return self.answer(node).await,
            55..=62 => return self.get(node).await,
            63..=64 => return self.purge(node).await,
            65..=71 => return self.commit(node).await,
            72..=75 => self.housekeep(node),
            76..=81 => return self.consume(node).await,
            82..=85 => return self.change(node).await,
            86..=87 => return self.calm(node).await,
            88..=92 => {
                let client = self.client.clone();
                return node.until("all is confirmed", || client.is_confirmed()).await;
            }
            93..=96 => tokio::time::sleep(Duration::from_micros(300)).await,
            _ => tokio::task::yield_now().await,
        }
        Ok(())
    }

    /// Takes in what was confirmed.
    pub fn hear(&mut self) {
        assert_eq!(self.client.wrong(), Vec::<String>::new());
        // In this order: what is confirmed in between is not looked at yet.
        let confirmed = self.client.take_confirmed();
        let refused = self.client.refused();
        for number in confirmed {
            self.confirmed += 1;
            assert_eq!(refused.contains(&number), self.refused.contains(&number), "refusal of {number}");
            for (queue, operation) in self.publishes.remove(&number).unwrap_or_default() {
                if let Some(ledger) = self.ledgers.get_mut(&queue) {
                    ledger.promise(operation);
                }
            }
        }
    }

    fn name(&mut self) -> String {
        let names: Vec<&String> = self.ledgers.keys().collect();
        (*self.chance.one(&names)).clone()
    }

    /// A queue that messages are published to: not the one for dead letters.
    fn target(&mut self) -> String {
        loop {
            let name = self.name();
            if name != LETTERS {
                return name;
            }
        }
    }

    fn queue(&self, node: &Node, name: &str) -> Arc<Queue> {
        node.queue(name).unwrap_or_else(|| panic!("queue '{name}' is there"))
    }

    fn note(&mut self, name: &str, op: Op) -> usize {
        self.ledgers.get_mut(name).map_or(0, |ledger| ledger.note(op))
    }

    async fn publish(&mut self, node: &Node) -> Result<(), Dead> {
        let mut messages = Vec::new();
        for _ in 0..=self.chance.below(8) {
            self.last_id += 1;
            messages.push(Message::any(self.last_id, &mut self.chance));
        }
        let exchanges: Vec<String> = self.definitions.exchanges.iter().cloned().collect();
        let (exchange, key, targets) = match self.chance.below(10) {
            0..=2 => {
                let exchange = self.chance.one(&exchanges).clone();
                let bound = self.definitions.bound_to(&exchange);
                (exchange, String::new(), bound)
            }
            3 => (String::new(), FLEETING.to_owned(), Vec::new()),
            _ => {
                let name = self.target();
                (String::new(), name.clone(), vec![name])
            }
        };
        let first = messages[0].id;
        for name in &targets {
            self.note_publishes(node, name, &messages);
        }
        let client = self.client.clone();
        let queues = node.publish(&exchange, &key, &messages, Some((&client, first)));
        let fleeting = usize::from(key == FLEETING);
        assert_eq!(queues.len(), targets.len() + fleeting, "'{exchange}' leads to {targets:?}");
        if key == "short" { self.end_turn(node, &key).await } else { Ok(()) }
    }

    /// What is too much leaves at the end of a turn: what follows must come in another one.
    async fn end_turn(&self, node: &Node, name: &str) -> Result<(), Dead> {
        node.fence(&self.queue(node, name)).await
    }

    /// What a publish does to a queue.
    fn note_publishes(&mut self, node: &Node, name: &str, messages: &[Message]) {
        let held = self.client.held(self.queue(node, name).id);
        for message in messages {
            let full = self.ledgers[name].ready(&held).len() >= LENGTH_MAX;
            if name == "strict" && full {
                self.refused.insert(message.id);
                continue;
            }
            let operation = self.note(name, Op::Publish(*message));
            if message.persistent {
                self.publishes.entry(message.id).or_default().push((name.to_owned(), operation));
            }
        }
        self.drop_head(name, &held);
    }

    /// What is too much leaves from the head.
    fn drop_head(&mut self, name: &str, held: &[Seen]) {
        if name == "short" {
            let mut ready = self.ledgers[name].ready(held);
            ready.truncate(ready.len().saturating_sub(LENGTH_MAX));
            if !ready.is_empty() {
                self.note(name, Op::Leave(ready));
            }
        }
    }

    /// Acks, nacks or rejects some of what is held.
    async fn answer(&mut self, node: &Node) -> Result<(), Dead> {
        let name = self.name();
        let queue = self.queue(node, &name);
        let held = self.client.held(queue.id);
        self.see(&name, &held);
        let share = 20 + self.chance.below(80);
        let some: Vec<Seen> = held.into_iter().filter(|_| self.chance.percent(share)).collect();
        if some.is_empty() {
            return Ok(());
        }
        let indexes: Vec<u64> = some.iter().map(|seen| seen.index).collect();
        let ids: Vec<u64> = some.iter().map(|seen| seen.id).collect();
        self.client.let_go(queue.id, &indexes);
        let which = self.chance.below(10);
        let command = match which {
            0..=4 => QueueCommand::Settle(CONSUMER, ranges(&some)),
            5..=6 => QueueCommand::Return(CONSUMER, ranges(&some)),
            _ => QueueCommand::Reject(CONSUMER, ranges(&some)),
        };
        match which {
            5..=6 => drop(self.note(&name, Op::Return(ids))),
            _ if name == LETTERS => ids.iter().for_each(|id| self.letters.settle(*id)),
            0..=4 => drop(self.note(&name, Op::Settle(ids))),
            _ => {
                if name == "source" {
                    some.iter().for_each(|seen| self.letters.leave(seen.id, seen.message.persistent));
                }
                self.note(&name, Op::Leave(ids));
            }
        }
        self.drop_head(&name, &self.client.held(queue.id));
        node.post(&queue, command);
        if name == "short" || self.chance.percent(30) { self.end_turn(node, &name).await } else { Ok(()) }
    }

    fn see(&mut self, name: &str, seen: &[Seen]) {
        if let Some(ledger) = self.ledgers.get_mut(name) {
            seen.iter().for_each(|seen| ledger.hand(seen.id));
        }
    }

    async fn get(&mut self, node: &Node) -> Result<(), Dead> {
        let name = if self.chance.percent(50) { "short".to_owned() } else { self.name() };
        let no_ack = self.chance.percent(40);
        let queue = self.queue(node, &name);
        let asked = node.get(&queue, &self.client, no_ack).await;
        // If the disk died meanwhile it may have happened nevertheless.
        let (seen, outcome) = match asked {
            Ok(seen) => (seen, Ok(())),
            Err(Dead) => (self.client.take_got(), Err(Dead)),
        };
        let Some(seen) = seen else { return outcome };
        self.see(&name, &[seen]);
        if no_ack && name == LETTERS {
            self.letters.settle(seen.id);
        } else if no_ack {
            self.note(&name, Op::Settle(vec![seen.id]));
        }
        outcome
    }

    async fn purge(&mut self, node: &Node) -> Result<(), Dead> {
        let name = self.target();
        let queue = self.queue(node, &name);
        let asked = node.ask("a purge", &queue, QueueCommand::Purge).await;
        let held = self.client.held(queue.id);
        self.see(&name, &held);
        let ready = self.ledgers[&name].ready(&held);
        if let Ok(count) = asked {
            assert_eq!(count, ready.len() as u64, "purged from '{name}'");
        }
        self.note(&name, Op::Leave(ready));
        asked.map(drop)
    }

    async fn commit(&mut self, node: &Node) -> Result<(), Dead> {
        let name = self.name();
        let operation = self.ledgers[&name].count();
        node.commit(&self.queue(node, &name)).await?;
        if let Some(ledger) = self.ledgers.get_mut(&name) {
            ledger.promise(operation);
        }
        Ok(())
    }

    fn housekeep(&mut self, node: &Node) {
        let name = self.name();
        let queue = self.queue(node, &name);
        let command = match self.chance.below(3) {
            0 => QueueCommand::PageOut,
            _ => QueueCommand::Housekeep,
        };
        node.post(&queue, command);
    }

    /// A consumer comes or goes; what it holds stays held.
    async fn consume(&mut self, node: &Node) -> Result<(), Dead> {
        let name = self.name();
        // Overflow depends on what is held, and a consumer takes when it can.
        if ["short", "strict"].contains(&name.as_str()) {
            return Ok(());
        }
        let queue = self.queue(node, &name);
        if self.consuming.remove(&name) {
            let leave = |reply| QueueCommand::RemoveConsumer(CONSUMER, reply);
            return node.ask("a consumer that leaves", &queue, leave).await.map(drop);
        }
        let prefetch = 1 + self.chance.below(30) as u32;
        node.consume(&queue, &self.client, prefetch).await?;
        self.consuming.insert(name);
        Ok(())
    }

    /// Everything is committed, and no dead letter is on the way.
    async fn calm(&mut self, node: &Node) -> Result<(), Dead> {
        let source = self.queue(node, "source");
        node.until("dead letters arrive", || source.listing().dead_lettering == 0).await?;
        let names: Vec<String> = self.ledgers.keys().cloned().collect();
        for name in names {
            let operation = self.ledgers[&name].count();
            node.commit(&self.queue(node, &name)).await?;
            self.ledgers.get_mut(&name).expect("it is there").promise(operation);
        }
        self.letters.calm();
        Ok(())
    }

    /// Changes a definition.
    async fn change(&mut self, node: &Node) -> Result<(), Dead> {
        let queue = *self.chance.one(&OTHERS);
        let exchange = *self.chance.one(&OTHER_EXCHANGES);
        let (has_queue, has_exchange) =
            (self.definitions.queues.contains(queue), self.definitions.exchanges.contains(exchange));
        match self.chance.below(4) {
            0 if has_exchange => {
                let mut after = self.definitions.clone();
                after.remove_exchange(exchange);
                self.pending = Some(after);
                let name = ExchangeName::from(exchange);
                node.change(Command::DeleteExchange { vhost: vhost(), name, if_unused: false }).await?;
                self.answered();
                Ok(())
            }
            0 => self.declare_exchange(node, exchange).await,
            1 if has_queue => self.delete(node, queue).await,
            _ if !has_queue => self.declare(node, queue).await,
            _ if has_exchange => self.bind(node, exchange, queue).await,
            _ => Ok(()),
        }
    }

    fn answered(&mut self) {
        self.definitions = self.pending.take().expect("a change was asked for");
    }

    async fn delete(&mut self, node: &Node, name: &str) -> Result<(), Dead> {
        let mut after = self.definitions.clone();
        after.remove_queue(name);
        self.pending = Some(after);
        let queue = self.queue(node, name);
        let deleted = node.live("a delete", node.broker.delete_queue(&queue, Default::default())).await?;
        node.broker.flush();
        deleted.expect("it can be deleted");
        self.answered();
        self.ledgers.remove(name);
        self.consuming.remove(name);
        self.client.forget(queue.id);
        self.publishes.values_mut().for_each(|queues| queues.retain(|(queue, _)| queue != name));
        Ok(())
    }

    async fn declare(&mut self, node: &Node, name: &str) -> Result<(), Dead> {
        let mut after = self.definitions.clone();
        after.queues.insert(name.to_owned());
        self.pending = Some(after);
        node.declare(name, true, &arguments(name)).await?;
        self.answered();
        self.ledgers.insert(name.to_owned(), ledger(name));
        Ok(())
    }

    async fn declare_exchange(&mut self, node: &Node, name: &str) -> Result<(), Dead> {
        let mut after = self.definitions.clone();
        after.exchanges.insert(name.to_owned());
        self.pending = Some(after);
        node.declare_exchange(name).await?;
        self.answered();
        Ok(())
    }

    async fn bind(&mut self, node: &Node, exchange: &str, queue: &str) -> Result<(), Dead> {
        let mut after = self.definitions.clone();
        after.bindings.insert((exchange.to_owned(), queue.to_owned()));
        self.pending = Some(after);
        node.bind(exchange, queue).await?;
        self.answered();
        Ok(())
    }

    /// The node is gone, with all that clients held.
    pub fn lose_node(&mut self) {
        self.hear();
        self.client = Arc::default();
        self.publishes.clear();
        self.refused.clear();
        self.consuming.clear();
    }

    /// Compares a node that was opened again with what must be there. `goes_on`: it is this one that
    /// goes on, so all that was looked at is given back.
    pub async fn check(&mut self, node: &Node, goes_on: bool) -> Result<(), String> {
        self.check_definitions(node)?;
        if let Some(source) = node.queue("source") {
            let arrived = node.until("dead letters arrive", || source.listing().dead_lettering == 0).await;
            arrived.map_err(|_| "the disk died")?;
        }
        let mut all: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
        for name in self.definitions.queues.clone() {
            let seen = node.look(&self.queue(node, &name)).await.map_err(|_| "the disk died")?;
            let known = self.ledgers.entry(name.clone()).or_insert_with(|| ledger(&name));
            if name != LETTERS {
                known.check(&seen).map_err(|why| format!("queue '{name}': {why}"))?;
            }
            all.insert(name, seen);
        }
        if let (Some(first), Some(second)) = (all.get("source"), all.get(LETTERS)) {
            self.letters.check(&self.ledgers["source"], first, second)?;
        }
        for (name, seen) in all {
            let ledger = self.ledgers.get_mut(&name).expect("just looked at");
            ledger.begin_again(&seen);
            if goes_on && name != LETTERS {
                seen.iter().for_each(|seen| ledger.hand(seen.id));
                ledger.note(Op::Return(seen.iter().map(|seen| seen.id).collect()));
            }
        }
        Ok(())
    }

    fn check_definitions(&mut self, node: &Node) -> Result<(), String> {
        let found = Definitions::of(&node.broker);
        let pending = self.pending.take();
        if found != self.definitions && Some(&found) != pending.as_ref() {
            return Err(format!("{found:?}\ninstead of {:?}\nor {pending:?}", self.definitions));
        }
        self.definitions = found;
        let queues = &self.definitions.queues;
        self.ledgers.retain(|name, _| queues.contains(name));
        Ok(())
    }
}

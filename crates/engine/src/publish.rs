//! A batch of publishes: copied once into a chunk, handed over once to each queue.
//!
//! Invariant: a queue gets its messages of the batch in the order they were published; the batch is
//! flushed before anything else of its connection is done.

use crate::node::Broker;
use crate::outlet::Outlet;
use crate::queue::{Enqueue, Queue, QueueCommand, Ticket};
use crate::route::Route;
use broker::message::{Chunk, ChunkBuilder, Record, RecordHead};
use broker::queue::Picks;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use types::{AmqpError, ExchangeName, Properties, VhostName};

/// Above this many queues in one batch they are found by their key instead of one after the other.
const LINEAR_TARGETS_MAX: usize = 8;

/// A queue, and the channel that waits for its commits (its address; 0 = nobody waits).
type TargetKey = (types::QueueId, usize);

/// Mixes a key of two numbers that nobody outside chooses.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 32;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

fn address(outlet: Option<&Arc<dyn Outlet>>) -> usize {
    outlet.map_or(0, |outlet| Arc::as_ptr(outlet).cast::<()>() as usize)
}

struct Target {
    queue: Arc<Queue>,
    picks: Picks,
    bytes: u64,
    ticket: Option<Ticket>,
}

/// Consecutive publishes of one channel with one route.
struct Run {
    route: Arc<Route>,
    first: u32,
    count: u32,
    bytes: u64,
    confirm: Option<(Arc<dyn Outlet>, u64)>,
}

/// Publishes gathered from one connection.
pub struct PublishBatch {
    builder: ChunkBuilder,
    run: Option<Run>,
    targets: Vec<Target>,
    /// Positions in `targets` by queue and waiting channel, once there are many.
    positions: HashMap<TargetKey, u32, BuildHasherDefault<KeyHasher>>,
}

impl Default for PublishBatch {
    fn default() -> PublishBatch {
        let builder = ChunkBuilder::roomy();
        PublishBatch { builder, run: None, targets: Vec::new(), positions: HashMap::default() }
    }
}

impl PublishBatch {
    /// Whether there is nothing to flush.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Whether it should be flushed before more is added.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    /// Bytes gathered.
    pub fn data_bytes(&self) -> usize {
        self.builder.data_bytes()
    }

    /// Adds a publish; `confirm` is its channel and number when the publisher waits for it.
    #[inline]
    pub fn push(
        &mut self,
        route: &Arc<Route>,
        head: RecordHead,
        properties: &[u8],
        body: &[u8],
        confirm: Option<(&Arc<dyn Outlet>, u64)>,
    ) {
        let ordinal = self.builder.push(head, &route.wire, properties, body);
        if let Some(run) = &mut self.run
            && Arc::ptr_eq(&run.route, route)
            && follows(run, confirm)
        {
            run.count += 1;
            run.bytes += body.len() as u64;
            return;
        }
        self.end_run();
        self.run = Some(Run {
            route: route.clone(),
            first: ordinal,
            count: 1,
            bytes: body.len() as u64,
            confirm: confirm.map(|(outlet, number)| (outlet.clone(), number)),
        });
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let waiting = run.confirm.as_ref().map(|(outlet, _)| outlet);
        for queue in &run.route.queues {
            let at = self.target(queue, waiting);
            let target = &mut self.targets[at];
            match &mut target.picks {
                Picks::Span(first, count) if *count == 0 => (*first, *count) = (run.first, run.count),
                Picks::Span(first, count) if *first + *count == run.first => *count += run.count,
                picks => (run.first..run.first + run.count).for_each(|ordinal| picks.push(ordinal)),
            }
            target.bytes += run.bytes;
            if let (Some((_, number)), Some(ticket)) = (&run.confirm, &mut target.ticket) {
                ticket.ranges.push((*number, *number + u64::from(run.count) - 1));
            }
        }
    }

    /// The target for a queue and the channel that waits, a new one if there is none yet: a ticket is one
    /// channel's, and has a number for each of its messages.
    fn target(&mut self, queue: &Arc<Queue>, waiting: Option<&Arc<dyn Outlet>>) -> usize {
        let key = (queue.id, address(waiting));
        let key_of =
            |target: &Target| (target.queue.id, address(target.ticket.as_ref().map(|ticket| &ticket.outlet)));
        if self.targets.len() <= LINEAR_TARGETS_MAX {
            if let Some(at) = self.targets.iter().position(|target| key_of(target) == key) {
                return at;
            }
        } else {
            if self.positions.is_empty() {
                self.positions.extend(self.targets.iter().map(key_of).zip(0u32..));
            }
            match self.positions.entry(key) {
                Entry::Occupied(known) => return *known.get() as usize,
                Entry::Vacant(place) => place.insert(self.targets.len() as u32),
            };
        }
        let ticket = waiting.map(|outlet| Ticket { outlet: outlet.clone(), ranges: Vec::new() });
        self.targets.push(Target { queue: queue.clone(), picks: Picks::Span(0, 0), bytes: 0, ticket });
        self.targets.len() - 1
    }

    /// Hands one message over in the buffer it came in, without copying it: room for a record head, then
    /// properties and body as `head` says. Whatever was gathered before must have been flushed.
    pub fn send_alone(
        &mut self,
        broker: &Broker,
        route: &Arc<Route>,
        head: RecordHead,
        buffer: Vec<u8>,
        confirm: Option<(&Arc<dyn Outlet>, u64)>,
    ) -> Option<Arc<Queue>> {
        debug_assert!(self.is_empty());
        let bytes = u64::from(head.body_bytes);
        let chunk = Arc::new(Chunk::of_one(buffer, head, route.wire.clone()));
        let mut slow = None;
        for queue in &route.queues {
            let ticket = confirm
                .map(|(outlet, number)| Ticket { outlet: outlet.clone(), ranges: vec![(number, number)] });
            let enqueue = Enqueue { chunk: chunk.clone(), picks: Picks::Span(0, 1), bytes, ticket };
            broker.post_quietly(queue, QueueCommand::Enqueue(enqueue));
            if queue.is_full() || queue.is_congested() {
                slow = Some(queue.clone());
            }
        }
        drop(chunk);
        broker.run_posted();
        slow
    }

    /// Hands the messages over to their queues and runs those that are idle. Gives the queues that
    /// want their publishers to wait.
    pub fn flush(&mut self, broker: &Broker) -> Option<Arc<Queue>> {
        if self.builder.is_empty() {
            return None;
        }
        self.end_run();
        self.positions.clear();
        let chunk = Arc::new(self.builder.finish());
        let mut slow = None;
        for target in self.targets.drain(..) {
            let Target { queue, picks, bytes, ticket } = target;
            let enqueue = Enqueue { chunk: chunk.clone(), picks, bytes, ticket };
            broker.post_quietly(&queue, QueueCommand::Enqueue(enqueue));
            if queue.is_full() || queue.is_congested() {
                slow = Some(queue);
            }
        }
        drop(chunk);
        broker.run_posted();
        slow
    }
}

fn follows(run: &Run, confirm: Option<(&Arc<dyn Outlet>, u64)>) -> bool {
    match (&run.confirm, confirm) {
        (None, None) => true,
        (Some((outlet, first)), Some((other, number))) => {
            Arc::ptr_eq(outlet, other) && first + u64::from(run.count) == number
        }
        _ => false,
    }
}

/// A message that the broker itself made.
pub(crate) struct Made<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) key: &'a [u8],
    pub(crate) properties: &'a [u8],
    pub(crate) body: &'a [u8],
    /// Queues that must not get it.
    pub(crate) without: &'a [String],
}

/// What a record's head says of a message with these properties; refuses a bad expiration as RabbitMQ
/// does.
pub fn record_head(properties: &Properties<'_>) -> Result<RecordHead, AmqpError> {
    let ttl_ms = match properties.expiration() {
        None => None,
        Some(text) => Some(parse_expiration(text)?),
    };
    Ok(RecordHead {
        ttl_ms,
        persistent: properties.delivery_mode() == Some(2),
        priority: properties.priority().unwrap_or(0),
        ..RecordHead::default()
    })
}

/// Ten years, as in RabbitMQ.
const EXPIRATION_MAX_MS: u64 = 315_360_000_000;

fn parse_expiration(raw: &[u8]) -> Result<u64, AmqpError> {
    let text = String::from_utf8_lossy(raw);
    let refuse = |why: String| AmqpError::precondition_failed(format!("invalid expiration '{text}': {why}"));
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let digits = unsigned.len() - unsigned.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let leftover = &unsigned[digits..];
    if digits == 0 {
        return Err(refuse("no_integer".into()));
    }
    if !leftover.is_empty() {
        return Err(refuse(format!("{{leftover_string,\"{leftover}\"}}")));
    }
    if text.starts_with('-') && !unsigned.trim_start_matches('0').is_empty() {
        return Err(refuse(format!("{{value_negative,-{}}}", unsigned.trim_start_matches('0'))));
    }
    let value = unsigned.parse::<u64>().ok().filter(|value| *value <= EXPIRATION_MAX_MS);
    value.ok_or_else(|| refuse(format!("{{value_too_large,{}}}", unsigned.trim_start_matches('0'))))
}

impl Broker {
    /// Publishes a message that the broker itself makes: traces, the HTTP API. Gives how many queues got
    /// it; an exchange that does not exist gets nothing.
    pub fn publish_internal(
        &self,
        vhost: &VhostName,
        exchange: &str,
        key: &[u8],
        properties: &[u8],
        body: &[u8],
    ) -> usize {
        self.publish_made(vhost, &Made { exchange, key, properties, body, without: &[] }, None)
    }

    /// Publishes what the broker made; `confirm` hears of each queue's commit.
    pub(crate) fn publish_made(
        &self,
        vhost: &VhostName,
        made: &Made<'_>,
        confirm: Option<(&Arc<dyn Outlet>, u64)>,
    ) -> usize {
        let catalog = self.catalog();
        let Some(row) = catalog.vhost(vhost.as_str()) else { return 0 };
        let Some(source) = row.exchange(made.exchange) else { return 0 };
        let view = Properties::parse(made.properties).ok();
        let mut routes = broker::router::Routes::default();
        let random = crate::route::random();
        let input = broker::router::RoutingInput { routing_key: made.key, properties: view.as_ref(), random };
        broker::router::route(row, source, &input, &mut routes);
        let message = chunk_of_one(made.exchange, made.key, made.properties, made.body);
        let delays = self.delays(row, &routes, view.as_ref());
        for (holding, delay_ms) in &delays {
            self.hold(holding, *delay_ms, &message.record(0), confirm);
        }
        if !routes.recent_history.is_empty() {
            self.remember(vhost, &routes.recent_history, &message);
        }
        delays.len() + self.enqueue_in(&routes.queues, &message, made.without, confirm)
    }

    fn enqueue_in(
        &self,
        ids: &[types::QueueId],
        message: &Arc<Chunk>,
        without: &[String],
        confirm: Option<(&Arc<dyn Outlet>, u64)>,
    ) -> usize {
        let mut count = 0;
        for queue in ids.iter().filter_map(|id| self.queue(*id)) {
            if without.iter().any(|name| queue.row().name.as_str() == name) {
                self.metrics().dead_letter_cycles.add(1);
                continue;
            }
            self.enqueue_copy(&queue, message.clone(), confirm);
            count += 1;
        }
        count
    }

    /// Routes a delayed message whose time has come; gives how many queues got it.
    pub(crate) fn publish_due(
        &self,
        vhost: &VhostName,
        exchange: &str,
        record: &Record<'_>,
        confirm: Option<(&Arc<dyn Outlet>, u64)>,
    ) -> usize {
        let catalog = self.catalog();
        let Some(row) = catalog.vhost(vhost.as_str()) else { return 0 };
        let Some(source) = row.exchange(exchange) else { return 0 };
        let view = Properties::parse(record.properties).ok();
        let input = broker::router::RoutingInput {
            routing_key: record.routing_key(),
            properties: view.as_ref(),
            random: crate::route::random(),
        };
        let mut routes = broker::router::Routes::default();
        broker::router::route_due(row, source, &input, &mut routes);
        let message = Arc::new(of_one(Arc::from(record.route), record.properties, record.body));
        self.enqueue_in(&routes.queues, &message, &[], confirm)
    }

    /// Puts a chunk of one message into a queue.
    pub(crate) fn enqueue_copy(
        &self,
        queue: &Arc<Queue>,
        message: Arc<Chunk>,
        confirm: Option<(&Arc<dyn Outlet>, u64)>,
    ) {
        let bytes = message.body_bytes(0, 1);
        let ticket =
            confirm.map(|(outlet, number)| Ticket { outlet: outlet.clone(), ranges: vec![(number, number)] });
        let enqueue = Enqueue { chunk: message, picks: Picks::Span(0, 1), bytes, ticket };
        self.post(queue, QueueCommand::Enqueue(enqueue));
    }

    /// What a route asks for beyond appending to queues: direct replies, delays and histories.
    /// `confirm` hears of the commit of each queue that holds the message.
    pub fn publish_aside(
        &self,
        vhost: &VhostName,
        route: &Route,
        properties: &[u8],
        body: &[u8],
        confirm: Option<(&Arc<dyn Outlet>, u64)>,
    ) {
        let message = Arc::new(of_one(route.wire.clone(), properties, body));
        if let Some(outlet) = &route.reply
            && outlet.reply(&message.record(0))
        {
            crate::drive::touch(outlet);
        }
        for (holding, delay_ms) in &route.delays {
            self.hold(holding, *delay_ms, &message.record(0), confirm);
        }
        if !route.history.is_empty() {
            self.remember(vhost, &route.history, &message);
        }
    }

    /// The firehose: a copy of what passes goes to `amq.rabbitmq.trace`.
    pub fn trace(&self, vhost: &VhostName, key: String, properties: Vec<u8>, body: &[u8]) {
        let exchange = ExchangeName::from("amq.rabbitmq.trace");
        self.publish_internal(vhost, exchange.as_str(), key.as_bytes(), &properties, body);
    }
}

fn of_one(wire: Arc<[u8]>, properties: &[u8], body: &[u8]) -> Chunk {
    let head =
        Properties::parse(properties).ok().and_then(|view| record_head(&view).ok()).unwrap_or_default();
    Chunk::single(head, wire, properties, body)
}

/// A chunk of one message published to `exchange` with `key`.
fn chunk_of_one(exchange: &str, key: &[u8], properties: &[u8], body: &[u8]) -> Arc<Chunk> {
    let mut wire = Vec::with_capacity(2 + exchange.len() + key.len());
    for part in [exchange.as_bytes(), key] {
        let part = &part[..part.len().min(types::limits::SHORT_STRING_BYTES_MAX)];
        wire.push(part.len() as u8);
        wire.extend_from_slice(part);
    }
    Arc::new(of_one(wire.into(), properties, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations_are_read_as_rabbitmq_reads_them() {
        let table = [
            ("0", Ok(0)),
            ("60000", Ok(60_000)),
            ("4294967296", Ok(1 << 32)),
            ("+5", Ok(5)),
            ("", Err("invalid expiration '': no_integer")),
            ("abc", Err("invalid expiration 'abc': no_integer")),
            ("10s", Err("invalid expiration '10s': {leftover_string,\"s\"}")),
            ("-1", Err("invalid expiration '-1': {value_negative,-1}")),
            ("315360000001", Err("invalid expiration '315360000001': {value_too_large,315360000001}")),
        ];
        for (text, expected) in table {
            let got = parse_expiration(text.as_bytes()).map_err(|error| error.explanation);
            assert_eq!(got, expected.map_err(String::from), "{text}");
        }
    }
}

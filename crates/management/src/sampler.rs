//! Rates: what queues and the node have counted, looked at every few seconds.
//!
//! Invariant: it holds one sample for each queue and connection that exists, nothing older; a queue's
//! lock is taken for a moment at a time.

use crate::api::Api;
use crate::client::Client;
use broker::queue::QueueTotals;
use engine::cluster::NodeCounters;
use engine::queue::QueueListing;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{ConnectionId, NodeId, QueueId};

const INTERVAL: Duration = Duration::from_secs(5);
/// Queues looked at before other work of this thread has its turn.
const BATCH: usize = 1_000;

type Read = fn(&QueueTotals) -> u64;

/// Counters of a queue, by their names in `message_stats`.
const COUNTERS: [(&str, Read); 9] = [
    ("publish", |totals| totals.publish),
    ("deliver", |totals| totals.deliver),
    ("deliver_no_ack", |totals| totals.deliver_no_ack),
    ("get", |totals| totals.get),
    ("get_no_ack", |totals| totals.get_no_ack),
    ("get_empty", |totals| totals.get_empty),
    ("deliver_get", |totals| totals.deliver + totals.deliver_no_ack + totals.get + totals.get_no_ack),
    ("ack", |totals| totals.ack),
    ("redeliver", |totals| totals.redeliver),
];
const GAUGES: [&str; 3] = ["messages", "messages_ready", "messages_unacknowledged"];

/// Numbers as they were last, and how fast they change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series<const N: usize> {
    last: [u64; N],
    rates: [f64; N],
}

impl<const N: usize> Default for Series<N> {
    fn default() -> Series<N> {
        Series { last: [0; N], rates: [0.0; N] }
    }
}

impl<const N: usize> Series<N> {
    fn update(&mut self, now: [u64; N], seconds: f64) {
        for (rate, (now, last)) in self.rates.iter_mut().zip(now.iter().zip(self.last)) {
            *rate = (*now as f64 - last as f64) / seconds;
        }
        self.last = now;
    }

    /// Nothing new was heard.
    fn pause(&mut self) {
        self.rates = [0.0; N];
    }

    pub(crate) fn rate(&self, at: usize) -> f64 {
        self.rates[at]
    }
}

/// Counters, then messages, ready and unacknowledged.
pub(crate) type QueueSeries = Series<12>;

impl QueueSeries {
    /// Adds what a queue has counted since `before`, what it holds, and how fast both change.
    fn add(&mut self, queue: &QueueSeries, before: &QueueSeries) {
        let numbers = queue.last.iter().zip(before.last).enumerate();
        for (place, (at, (now, before))) in self.last.iter_mut().zip(numbers) {
            *place += if at < COUNTERS.len() { now.saturating_sub(before) } else { *now };
        }
        self.rates.iter_mut().zip(queue.rates).for_each(|(sum, rate)| *sum += rate);
    }
}

fn numbers(listing: &QueueListing) -> [u64; 12] {
    let mut numbers = [0; 12];
    for (place, (_, read)) in numbers.iter_mut().zip(COUNTERS) {
        *place = read(&listing.totals);
    }
    let counts = &listing.counts;
    numbers[9..].copy_from_slice(&[counts.ready + counts.unacked, counts.ready, counts.unacked]);
    numbers
}

/// All samples.
#[derive(Default)]
pub(crate) struct Samples {
    queues: Mutex<HashMap<QueueId, QueueSeries>>,
    connections: Mutex<HashMap<ConnectionId, Series<2>>>,
    node: Mutex<HashMap<&'static str, Series<1>>>,
    /// The same of other nodes.
    others: Mutex<HashMap<(NodeId, String), Series<1>>>,
    /// What all queues have counted, also those that are gone.
    all: Mutex<QueueSeries>,
}

impl Samples {
    pub(crate) fn queue(&self, id: QueueId) -> QueueSeries {
        self.queues.lock().get(&id).copied().unwrap_or_default()
    }

    pub(crate) fn connection(&self, id: ConnectionId) -> Series<2> {
        self.connections.lock().get(&id).copied().unwrap_or_default()
    }

    /// The rate of one of the nodes' counters, all nodes together.
    pub(crate) fn nodes(&self, name: &str) -> f64 {
        let own = self.node.lock().get(name).map_or(0.0, |series| series.rate(0));
        let others = self.others.lock();
        own + others
            .iter()
            .filter(|((_, known), _)| known == name)
            .map(|(_, series)| series.rate(0))
            .sum::<f64>()
    }

    pub(crate) fn all(&self) -> QueueSeries {
        *self.all.lock()
    }
}

/// Samples for as long as the API runs.
pub(crate) async fn run(api: Arc<Api>) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut heard = None;
    loop {
        tick.tick().await;
        let others = api.ask_others_again().await;
        let now = Instant::now();
        let here = seconds(last, now);
        last = now;
        let there = match (heard, others) {
            // What has gathered since their start says nothing of how fast it goes now.
            (None, Some(_)) => Some(f64::INFINITY),
            (Some(before), Some(now)) if now > before => Some(seconds(before, now)),
            _ => None,
        };
        heard = others.or(heard);
        sample(&api, &Passed { here, there }).await;
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.001)
}

/// Seconds since the last sample.
struct Passed {
    here: f64,
    /// Between what other nodes told then and now; None when they have told nothing new.
    there: Option<f64>,
}

impl Passed {
    /// Takes new numbers of something that is elsewhere or not.
    fn update<const N: usize>(&self, series: Option<Series<N>>, is_away: bool, now: [u64; N]) -> Series<N> {
        let is_new = series.is_none();
        let mut series = series.unwrap_or_default();
        match self.there {
            _ if !is_away => series.update(now, self.here),
            Some(_) if is_new => series.update(now, f64::INFINITY),
            Some(there) => series.update(now, there),
            None => series.pause(),
        }
        series
    }
}

async fn sample(api: &Api, passed: &Passed) {
    let mut before = std::mem::take(&mut *api.samples.queues.lock());
    let mut after = HashMap::with_capacity(before.len());
    let mut all = QueueSeries { last: api.samples.all().last, ..QueueSeries::default() };
    all.last[9..].fill(0);
    let catalog = api.catalog();
    let rows = catalog.queues();
    for (at, row) in rows.enumerate() {
        if let Some(queue) = api.broker.queue(row.id) {
            let old = before.remove(&row.id);
            let series = passed.update(old, queue.is_away(), numbers(&queue.listing()));
            all.add(&series, &old.unwrap_or_default());
            after.insert(row.id, series);
        }
        if at % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
    *api.samples.queues.lock() = after;
    *api.samples.all.lock() = all;
    sample_node(api, passed);
    sample_other_nodes(api, passed);
    sample_clients(api, passed);
}

fn sample_node(api: &Api, passed: &Passed) {
    let mut node = api.samples.node.lock();
    for (name, _, value) in api.broker.metrics().all() {
        node.entry(name).or_default().update([value], passed.here);
    }
}

fn sample_other_nodes(api: &Api, passed: &Passed) {
    let told = api.cluster().map_or_else(Vec::new, |cluster| cluster.counters());
    let mut series = api.samples.others.lock();
    let mut before = std::mem::take(&mut *series);
    for NodeCounters { node, values } in told {
        for (name, value) in values {
            let key = (node, name);
            // A process that was started again counts from 0: how far it got is no rate.
            let old = before.remove(&key).filter(|old| old.last[0] <= value);
            if old.is_some() || passed.there.is_some() {
                series.insert(key, passed.update(old, true, [value]));
            }
        }
    }
}

fn sample_clients(api: &Api, passed: &Passed) {
    let mut before = std::mem::take(&mut *api.samples.connections.lock());
    let sampled = api.clients().into_iter().map(|client| {
        let (id, listing) = (client.id(), client.listing());
        let is_away = matches!(client, Client::There(_));
        let now = [listing.received_bytes, listing.sent_bytes];
        (id, passed.update(before.remove(&id), is_away, now))
    });
    let after = sampled.collect();
    *api.samples.connections.lock() = after;
}

/// Puts a number and its rate under RabbitMQ's two keys.
pub(crate) fn put_rated(map: &mut Map<String, Value>, name: &str, value: u64, rate: f64) {
    map.insert(name.to_owned(), json!(value));
    map.insert(format!("{name}_details"), json!({ "rate": rate }));
}

/// The `message_stats` of a queue.
pub(crate) fn message_stats(totals: &QueueTotals, series: &QueueSeries) -> Map<String, Value> {
    let mut map = Map::new();
    for (at, (name, read)) in COUNTERS.iter().enumerate() {
        put_rated(&mut map, name, read(totals), series.rate(at));
    }
    map
}

/// The counters of all queues together.
pub(crate) fn all_message_stats(series: &QueueSeries) -> Map<String, Value> {
    let mut map = Map::new();
    for (at, (name, _)) in COUNTERS.iter().enumerate() {
        put_rated(&mut map, name, series.last[at], series.rate(at));
    }
    map
}

/// Message counts with how fast they change.
pub(crate) fn put_counts(map: &mut Map<String, Value>, ready: u64, unacked: u64, rates: &QueueSeries) {
    for (at, (name, value)) in GAUGES.into_iter().zip([ready + unacked, ready, unacked]).enumerate() {
        put_rated(map, name, value, rates.rate(COUNTERS.len() + at));
    }
}

/// Adds up queues.
pub(crate) fn sum<'a>(
    all: impl Iterator<Item = (&'a QueueListing, &'a QueueSeries)>,
) -> (QueueListing, QueueSeries) {
    let (mut listing, mut series) = (QueueListing::default(), QueueSeries::default());
    for (one, rates) in all {
        listing.counts.ready += one.counts.ready;
        listing.counts.unacked += one.counts.unacked;
        let (sum, add) = (&mut listing.totals, &one.totals);
        sum.publish += add.publish;
        sum.deliver += add.deliver;
        sum.deliver_no_ack += add.deliver_no_ack;
        sum.get += add.get;
        sum.get_no_ack += add.get_no_ack;
        sum.get_empty += add.get_empty;
        sum.ack += add.ack;
        sum.redeliver += add.redeliver;
        series.rates.iter_mut().zip(rates.rates).for_each(|(sum, rate)| *sum += rate);
    }
    (listing, series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_change_by_seconds() {
        let mut series = Series::<2>::default();
        series.update([10, 5], 1.0);
        series.update([110, 0], 5.0);
        assert_eq!((series.rate(0), series.rate(1)), (20.0, -1.0));
    }

    #[test]
    fn what_is_elsewhere_changes_between_the_words_of_its_node() {
        let passed = |there| Passed { here: 5.0, there };
        // Seconds between words; whether it was known and is elsewhere; the number now; the rate and the last number.
        let table = [
            (None, true, false, 110, 20.0, 110),
            (None, false, false, 110, 22.0, 110),
            (Some(10.0), true, true, 110, 10.0, 110),
            (Some(f64::INFINITY), true, true, 110, 0.0, 110),
            // Nothing was heard: no rate, and the number counts from before.
            (None, true, true, 110, 0.0, 10),
            // Its past is no rate.
            (Some(10.0), false, true, 110, 0.0, 110),
        ];
        for (there, is_known, is_away, now, rate, last) in table {
            let known = Series::<1> { last: [10], rates: [7.0] };
            let series = passed(there).update(is_known.then_some(known), is_away, [now]);
            assert_eq!((series.rate(0), series.last), (rate, [last]), "{there:?} {is_known} {is_away}");
        }
    }

    #[test]
    fn sums_count_what_came_and_hold_what_is() {
        let mut all = QueueSeries::default();
        let series = |counter, gauge, rate| QueueSeries {
            last: std::array::from_fn(|at| if at < COUNTERS.len() { counter } else { gauge }),
            rates: [rate; 12],
        };
        all.add(&series(100, 5, 2.0), &series(90, 50, 9.0));
        // Its home has started again and counts from 0.
        all.add(&series(3, 1, 0.5), &series(90, 0, 0.0));
        assert_eq!((all.last[0], all.last[11], all.rate(0)), (10, 6, 2.5));
    }

    #[test]
    fn each_counter_comes_with_its_rate() {
        let totals = QueueTotals { publish: 3, get: 1, get_no_ack: 2, ..QueueTotals::default() };
        let map = message_stats(&totals, &QueueSeries::default());
        assert_eq!((&map["publish"], &map["deliver_get"]), (&json!(3), &json!(3)));
        assert_eq!(map["publish_details"], json!({"rate": 0.0}));
        assert_eq!(map.len(), 18);
    }
}

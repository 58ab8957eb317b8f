//! The rows of the table: what is run, which figures are shown, and what they should be.
//!
//! Invariant: names of figures are those the scenarios report; floor and aim are in the figure's unit.

use crate::scenario::{
    Scenario, backlog, channel_churn, connection_churn, declare, delete_bindings, fan_out, idle_connections,
    latency, many_queues, persistent, throughput, topic_bindings,
};

#[derive(Debug, Clone)]
pub struct Row {
    pub title: String,
    pub scenario: Scenario,
    pub figures: Vec<Figure>,
    /// The limit program can run it too.
    pub has_limit: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    pub name: &'static str,
    pub floor: Option<f64>,
    pub aim: Option<f64>,
    better: Better,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    Higher,
    Lower,
}

impl Figure {
    /// "++" when the aim is reached, "+" for the floor, "!" for neither, nothing without goals.
    pub fn mark(&self, value: f64) -> &'static str {
        let reaches = |goal: Option<f64>| {
            goal.is_some_and(|goal| match self.better {
                Better::Higher => value >= goal,
                Better::Lower => value <= goal,
            })
        };
        match () {
            () if reaches(self.aim) => "++",
            () if reaches(self.floor) => "+",
            () if self.floor.is_some() => "!",
            () => "",
        }
    }
}

const fn high(name: &'static str, floor: f64, aim: f64) -> Figure {
    Figure { name, floor: Some(floor), aim: Some(aim), better: Better::Higher }
}

const fn low(name: &'static str, floor: f64, aim: f64) -> Figure {
    Figure { name, floor: Some(floor), aim: Some(aim), better: Better::Lower }
}

const fn shown(name: &'static str) -> Figure {
    Figure { name, floor: None, aim: None, better: Better::Higher }
}

const RATE: &str = "deliver_msgs_per_s";
const RATE_CONFIRMED: &str = "confirmed_msgs_per_s";
const CPU: &str = "broker_cpu_us_per_msg";
const CLIENT_CPU: Figure = shown("client_cpu_us_per_msg");
const SHARE: Figure = shown("share_of_limit_percent");
/// In memory; once queues are on disk the floor is 2,000.
const PAIRS: Figure = Figure { name: "pairs_per_s", floor: Some(5000.0), aim: None, better: Better::Higher };

/// The table of the contract; `with_others` adds the scenarios it names no figure for.
pub fn all(with_others: bool) -> Vec<Row> {
    let row = |title: &str, scenario, figures: &[Figure], has_limit| Row {
        title: title.into(),
        scenario,
        figures: figures.to_vec(),
        has_limit,
    };
    let mut rows = vec![
        row(
            "throughput 16 B",
            Scenario::Throughput(throughput::Options::of_size(16)),
            &[high(RATE, 2e6, 6e6), low(CPU, 0.5, 0.15), CLIENT_CPU, SHARE],
            true,
        ),
        row(
            "throughput 1 KiB",
            Scenario::Throughput(throughput::Options::of_size(1024)),
            &[high(RATE, 500e3, 1e6), shown(CPU), CLIENT_CPU, SHARE],
            true,
        ),
        row(
            "latency 1,000/s of 100 B",
            Scenario::Latency(latency::Options { rate: 1000, size: 100 }),
            &[
                low("latency_us_p50", 60.0, 55.0),
                shown("latency_us_p95"),
                low("latency_us_p99", 250.0, 150.0),
                shown("latency_us_max"),
            ],
            true,
        ),
        row(
            "connection churn, 4 threads",
            Scenario::ConnectionChurn(connection_churn::Options { threads: 4 }),
            &[high("cycles_per_s", 5000.0, 8000.0), shown("cycle_us_p99")],
            false,
        ),
        row(
            "idle connections",
            Scenario::IdleConnections(idle_connections::Options { count: 1000 }),
            &[low("broker_rss_kib_per_connection", 15.0, 8.0)],
            false,
        ),
        row(
            "declare + bind durable",
            Scenario::Declare(declare::Options { count_max: 200_000 }),
            &[PAIRS, shown("pair_us_p99")],
            false,
        ),
        delete_row(),
    ];
    if with_others {
        rows.extend(others());
    }
    rows
}

/// Persistent messages with confirms, a row for each window.
pub fn persistent(windows: &[u64]) -> Vec<Row> {
    let row = |window: &u64| Row {
        title: format!("persistent 16 B, window {window}"),
        scenario: Scenario::Throughput(persistent::options(*window)),
        figures: [RATE_CONFIRMED, "confirm_us_p50", "confirm_us_p99", RATE, CPU, "broker_rss_mib_after"]
            .map(shown)
            .to_vec(),
        has_limit: false,
    };
    windows.iter().map(row).collect()
}

fn delete_row() -> Row {
    let options = delete_bindings::Options {
        bindings: 10_000,
        exchange: delete_bindings::Kind::Direct,
        rate: 2000,
        size: 100,
        repeats: 3,
    };
    Row {
        title: "delete 10,000 bindings".into(),
        scenario: Scenario::DeleteBindings(options),
        figures: vec![
            shown("delete_ms_p50"),
            shown("latency_during_us_p50"),
            low("latency_during_us_p99", 50e3, 5e3),
            shown("latency_during_us_max"),
        ],
        has_limit: false,
    }
}

fn others() -> Vec<Row> {
    let load = [shown(RATE), shown(CPU), shown("latency_under_load_us_p99")];
    let row = |title: &str, scenario, figures: &[Figure]| Row {
        title: title.into(),
        scenario,
        figures: figures.to_vec(),
        has_limit: false,
    };
    vec![
        row(
            "fan-out to 10 queues",
            Scenario::FanOut(fan_out::Options { queues: 10, consumer_connections: 2, size: 100 }),
            &load,
        ),
        row(
            "1,000 queues",
            Scenario::ManyQueues(many_queues::Options {
                queues: 1000,
                publishers: 2,
                consumer_connections: 2,
                size: 100,
            }),
            &load,
        ),
        row(
            "topic, 10,000 bindings",
            Scenario::TopicBindings(topic_bindings::Options {
                bindings: 10_000,
                queues: 10,
                keys: 1000,
                size: 100,
            }),
            &load,
        ),
        row(
            "channel churn, 4 threads",
            Scenario::ChannelChurn(channel_churn::Options { threads: 4 }),
            &[shown("cycles_per_s"), shown("cycle_us_p99")],
        ),
        row(
            "backlog of 1,000,000",
            Scenario::Backlog(backlog::Options {
                messages: 1_000_000,
                size: 100,
                persistent: false,
                ack_every: 0,
            }),
            &[shown("fill_msgs_per_s"), shown("drain_msgs_per_s"), shown("broker_rss_bytes_per_msg")],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_follow_the_goals() {
        let rate = high("r", 2.0, 6.0);
        assert_eq!([1.0, 2.0, 5.9, 6.0].map(|value| rate.mark(value)), ["!", "+", "+", "++"]);
        let cost = low("c", 0.5, 0.15);
        assert_eq!([0.6, 0.5, 0.15, 0.1].map(|value| cost.mark(value)), ["!", "+", "++", "++"]);
        assert_eq!(shown("s").mark(1.0), "");
    }

    #[test]
    fn floors_are_easier_than_aims() {
        for figure in all(true).iter().flat_map(|row| &row.figures) {
            if let (Some(floor), Some(aim)) = (figure.floor, figure.aim) {
                let is_easier = if figure.better == Better::Higher { floor < aim } else { floor > aim };
                assert!(is_easier, "{}", figure.name);
            }
        }
    }
}

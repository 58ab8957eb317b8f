//! The scenarios, one file each: its options, its set-up, and the figures it gives.
//!
//! Invariant: a scenario leaves nothing on the broker: what it declares is exclusive, or registered in `Leftovers`
//! before it is declared; and every loop in it is bounded in time or count.

pub mod backlog;
pub mod backlog_memory;
pub mod channel_churn;
pub mod cluster;
pub mod connection_churn;
pub mod declare;
pub mod delete_bindings;
pub mod fan_out;
pub mod fill_drain;
pub mod idle_connections;
pub mod latency;
pub mod limit;
pub mod many_queues;
pub mod many_queues_durable;
pub mod mirrors;
pub mod nodes;
pub mod persistent;
pub mod restart_time;
pub mod rounds;
pub mod throughput;
pub mod topic_bindings;

use crate::client::Target;
use crate::error::Result;
use crate::load::measure::Pacing;
use crate::outcome::Outcome;

/// A scenario with its options.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Scenario {
    /// Messages per second through one queue, as fast as the broker takes them
    Throughput(throughput::Options),
    /// Publish-to-deliver latency at a fixed rate
    Latency(latency::Options),
    /// One publisher, a fanout exchange, many queues with a consumer each
    FanOut(fan_out::Options),
    /// Many queues, reached in turn over the default exchange
    ManyQueues(many_queues::Options),
    /// A topic exchange with many bindings
    TopicBindings(topic_bindings::Options),
    /// Connect, open a channel, declare an exclusive queue, close: cycles per second
    ConnectionChurn(connection_churn::Options),
    /// Open and close channels: cycles per second
    ChannelChurn(channel_churn::Options),
    /// Declare and bind durable queues with round trips on one channel: pairs per second
    Declare(declare::Options),
    /// The broker's memory per idle connection with one channel
    IdleConnections(idle_connections::Options),
    /// Latency of others while a queue with many bindings is deleted
    DeleteBindings(delete_bindings::Options),
    /// Fill a queue without a consumer, then drain it
    Backlog(backlog::Options),
    /// Fill a durable queue with confirmed persistent messages, then drain it and check count and order
    FillDrain(fill_drain::Options),
    /// The broker's memory as a durable queue grows
    BacklogMemory(backlog_memory::Options),
    /// Persistent messages with confirms to many durable queues, and the share of the rate to one
    ManyQueuesDurable(many_queues_durable::Options),
}

impl Scenario {
    pub fn run(&self, target: &Target, pacing: &Pacing) -> Result<Outcome> {
        match self {
            Self::Throughput(options) => throughput::run(target, pacing, options),
            Self::Latency(options) => latency::run(target, pacing, options),
            Self::FanOut(options) => fan_out::run(target, pacing, options),
            Self::ManyQueues(options) => many_queues::run(target, pacing, options),
            Self::TopicBindings(options) => topic_bindings::run(target, pacing, options),
            Self::ConnectionChurn(options) => connection_churn::run(target, pacing, options),
            Self::ChannelChurn(options) => channel_churn::run(target, pacing, options),
            Self::Declare(options) => declare::run(target, pacing, options),
            Self::IdleConnections(options) => idle_connections::run(target, options),
            Self::DeleteBindings(options) => delete_bindings::run(target, pacing, options),
            Self::Backlog(options) => backlog::run(target, options),
            Self::FillDrain(options) => fill_drain::run(target, options),
            Self::BacklogMemory(options) => backlog_memory::run(target, options),
            Self::ManyQueuesDurable(options) => many_queues_durable::run(target, pacing, options),
        }
    }
}

/// Names or keys of one length: `prefix` and a number with leading zeros.
fn numbered(prefix: &str, count: usize, suffix: &str) -> Vec<String> {
    let digits = count.saturating_sub(1).to_string().len();
    (0..count).map(|at| format!("{prefix}.{at:0digits$}{suffix}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_names_have_one_length() {
        let names = numbered("q", 11, ".x");
        assert_eq!(names.len(), 11);
        assert_eq!(names[0], "q.00.x");
        assert_eq!(names[10], "q.10.x");
        assert_eq!(numbered("q", 1, ""), ["q.0"]);
    }
}

//! Any settings and any steps, as proptest makes them up.

use crate::queue::step::{Answer, Appetite, Message, Step};
use broker::queue::{Overflow, QueueConfig};
use proptest::prelude::*;

pub fn any_config() -> impl Strategy<Value = QueueConfig> {
    let limits = (prop::option::of(1u64..60), prop::option::of(0u64..12), prop::option::of(0u64..6000));
    let overflow = prop_oneof![
        Just(Overflow::DropHead),
        Just(Overflow::RejectPublish),
        Just(Overflow::RejectPublishDlx)
    ];
    let rest =
        (prop::option::of(0u8..5), prop::bool::weighted(0.2), prop::option::of(0u64..3), any::<bool>());
    (limits, overflow, rest).prop_map(|(limits, overflow, rest)| QueueConfig {
        message_ttl_ms: limits.0,
        max_length: limits.1,
        max_length_bytes: limits.2,
        overflow,
        max_priority: rest.0,
        single_active_consumer: rest.1,
        delivery_limit: rest.2,
        dead_letter_exchange: rest.3.then(|| "dlx".into()),
        ..QueueConfig::default()
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let priority = prop_oneof![3 => Just(0u8), 1 => 0u8..8];
    let ttl_ms = prop_oneof![3 => Just(None), 1 => (0u64..50).prop_map(Some)];
    let bytes = prop_oneof![0usize..20, 0usize..3000];
    (priority, ttl_ms, bytes, prop::bool::weighted(0.7), prop::bool::weighted(0.8)).prop_map(
        |(priority, ttl_ms, bytes, picked, persistent)| Message {
            priority,
            ttl_ms,
            bytes,
            picked,
            persistent,
        },
    )
}

fn any_appetite() -> impl Strategy<Value = Appetite> {
    prop_oneof![
        4 => Just(Appetite::All),
        1 => (0u32..4).prop_map(Appetite::UpTo),
        1 => (0u32..4).prop_map(Appetite::Blocked),
    ]
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![3 => Just(Answer::Settle), 2 => Just(Answer::Return), 1 => Just(Answer::Reject)]
}

fn any_consumer() -> impl Strategy<Value = Step> {
    let prefetch = prop_oneof![Just(0u32), 1u32..6];
    (-1i64..2, prop::bool::weighted(0.2), prop::bool::weighted(0.05), prefetch).prop_map(
        |(priority, no_ack, exclusive, prefetch)| Step::AddConsumer { priority, no_ack, exclusive, prefetch },
    )
}

pub fn any_step() -> impl Strategy<Value = Step> {
    let answer = (any_answer(), 0usize..8, 0usize..6, 1usize..8)
        .prop_map(|(answer, holder, from, count)| Step::Answer { answer, holder, from, count });
    let stray = (any_answer(), 0u64..60, 1u64..6).prop_map(|(answer, start, count)| Step::Stray {
        answer,
        start,
        count,
    });
    prop_oneof![
        10 => prop::collection::vec(any_message(), 1..14).prop_map(Step::Enqueue),
        4 => any_consumer(),
        2 => (0usize..8).prop_map(Step::RemoveConsumer),
        2 => (0usize..8).prop_map(Step::Unblock),
        12 => prop::collection::vec(any_appetite(), 1..5).prop_map(Step::Deliver),
        3 => any::<bool>().prop_map(|no_ack| Step::Get { no_ack }),
        12 => answer,
        1 => stray,
        4 => (0u64..40).prop_map(Step::Wait),
        3 => Just(Step::EnforceLength),
        1 => Just(Step::Purge),
        1 => any_config().prop_map(|config| Step::Configure(Box::new(config))),
        3 => (0usize..20).prop_map(Step::DeadLetter),
        2 => Just(Step::SettleDown),
    ]
}

/// Settings under which the sums of bodies, which are estimates while blocks are on disk, decide nothing.
pub fn any_config_without_bytes() -> impl Strategy<Value = QueueConfig> {
    any_config().prop_map(|config| QueueConfig { max_length_bytes: None, ..config })
}

/// Steps of a queue whose bodies leave memory and whose node restarts.
pub fn any_durable_step() -> impl Strategy<Value = Step> {
    let plain = any_step().prop_map(|step| match step {
        Step::Configure(config) => {
            Step::Configure(Box::new(QueueConfig { max_length_bytes: None, ..*config }))
        }
        other => other,
    });
    prop_oneof![
        40 => plain,
        6 => (0u64..4000).prop_map(Step::PageOut),
        6 => Just(Step::Written),
        2 => Just(Step::GiveUp),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Restart),
    ]
}

//! Whatever happens to a queue, its machine agrees with a naive model after every step.

#[path = "queue/any.rs"]
mod any;
mod queue;

use any::{any_config, any_config_without_bytes, any_durable_step, any_step};
use proptest::prelude::*;
use queue::drive::run;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_agrees_with_the_model(
        config in any_config(),
        steps in prop::collection::vec(any_step(), 1..80),
    ) {
        run(config, &steps);
    }

    #[test]
    fn so_it_does_while_bodies_leave_memory_and_the_node_restarts(
        config in any_config_without_bytes(),
        steps in prop::collection::vec(any_durable_step(), 1..100),
    ) {
        run(config, &steps);
    }
}

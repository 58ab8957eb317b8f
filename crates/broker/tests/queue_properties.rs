//! Whatever happens to a queue, its machine agrees with a naive model after every step.

#[path = "queue/any.rs"]
mod any;
mod queue;

use any::{any_config, any_step};
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
}

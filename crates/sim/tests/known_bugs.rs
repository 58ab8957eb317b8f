//! The simulation finds bugs: each known one, put back, makes a play fail, and for the right reason.

use sim::bug::Bug;
use sim::play::play;
use sim::{Settings, play::Played};

/// Plays in which a bug has to show itself.
const SEEDS: u64 = 600;

fn run(seed: u64, bug: Option<Bug>) -> Result<Played, String> {
    play(Settings { seed, bug, is_told: false })
}

/// The bug shows itself in some play, by one of these words.
fn is_found(bug: Bug, words: &[&str]) {
    let mut others = Vec::new();
    for seed in 0..SEEDS {
        match run(seed, Some(bug)) {
            Err(why) if words.iter().any(|word| why.contains(word)) => {
                println!("{bug:?}: seed {seed}: {why}");
                return;
            }
            Err(why) => others.push(why),
            Ok(_) => {}
        }
    }
    panic!("{bug:?} was not found as {words:?} in {SEEDS} plays; other failures: {others:?}");
}

#[test]
fn a_play_is_its_seed() {
    for seed in 0..5 {
        let first = run(seed, None);
        assert!(first.is_ok(), "{first:?}");
        assert_eq!(first, run(seed, None), "seed {seed}");
    }
    assert_ne!(run(0, None).unwrap().trace, run(1, None).unwrap().trace);
}

#[test]
fn a_loss_that_hits_another_start_is_found() {
    is_found(Bug::LossOfAnyBoot, &["hit Some"]);
}

#[test]
fn a_vote_that_is_not_durable_is_found() {
    is_found(Bug::VoteForgotten, &["two clusters were formed", "another cluster already"]);
}

#[test]
fn passing_queues_that_outlive_their_node_are_found() {
    is_found(Bug::NewStartKeepsPassingQueues, &["still has queue", "the catalog says"]);
}

#[test]
fn dead_voters_that_stay_are_found() {
    is_found(Bug::DeadVotersStay, &["no leader", "the group has"]);
}

#[test]
fn a_jump_without_its_events_is_found() {
    is_found(Bug::JumpWithoutDifference, &["the catalog says", "runs queue", "is lost"]);
}

#[test]
fn logs_that_are_dropped_too_early_are_found() {
    is_found(Bug::UnclaimedDroppedAtStart, &["is lost"]);
}

#[test]
fn a_row_that_is_put_only_once_is_found() {
    is_found(Bug::RowPutOnce, &["its row is"]);
}

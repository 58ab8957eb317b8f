//! The simulation of mirrored queues finds bugs: each known one, put back, makes a play fail, and for the right reason.

use sim::copies::{Bug, Played, Settings, play};

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

/// Words of a message that is not where it should be.
const LOST: [&str; 3] = ["is lost", "does not have it on disk", "was committed"];

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
fn a_confirm_before_the_commit_is_found() {
    is_found(Bug::ConfirmBeforeCommit, &LOST);
}

#[test]
fn a_home_that_was_not_in_sync_is_found() {
    is_found(Bug::UnsyncedPromoted, &["the new home was not in sync"]);
}

#[test]
fn a_tail_that_is_kept_is_found() {
    is_found(Bug::DivergentTailKept, &["names", "another copy than the home", "was committed as"]);
}

#[test]
fn a_settle_that_is_applied_too_early_is_found() {
    is_found(Bug::SettleBeforeCommit, &["whose settle is not committed"]);
}

#[test]
fn a_timeout_that_counts_as_an_outcome_is_found() {
    is_found(Bug::TimeoutIsOutcome, &LOST);
}

#[test]
fn an_open_that_does_not_wait_for_the_version_is_found() {
    is_found(Bug::OpenWithoutVersion, &["which is in sync"]);
}

#[test]
fn an_epoch_that_a_start_forgets_is_found() {
    is_found(Bug::EpochForgotten, &["goes back from epoch"]);
}

#[test]
fn a_copy_that_an_old_row_drops_is_found() {
    is_found(Bug::DroppedByOldRow, &["which is in sync"]);
}

#[test]
fn turns_that_are_not_repeated_are_found() {
    is_found(Bug::PendingNotRepeated, &["another copy than the home"]);
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    is_found(Bug::AckBeforeSync, &LOST);
}

#[test]
fn a_state_of_before_the_stream_is_found() {
    is_found(Bug::StateOfAnyOpen, &["another copy than the home", "is lost", "does not have it on disk"]);
}

#[test]
fn an_epoch_of_another_start_is_found() {
    is_found(Bug::EpochOfOldStart, &["two homes append"]);
}

#[test]
fn a_queue_that_an_old_row_has_served_is_found() {
    is_found(Bug::ServedByOldRow, &["was committed as", "is lost", "does not have it on disk"]);
}

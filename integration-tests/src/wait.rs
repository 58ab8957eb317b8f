//! Waiting for something to become true, with a deadline.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long a test waits for one thing to happen: much longer than it takes, for machines that are slow or busy.
pub const WAIT: Duration = Duration::from_secs(20);
/// How long a whole test may take.
pub const TEST_TIME_LIMIT: Duration = Duration::from_secs(100);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks again and again until `holds` gives true; fails the test after `limit`.
#[track_caller]
pub fn wait_for(
    limit: Duration,
    what: &str,
    mut holds: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + limit;
        while !holds().await {
            assert!(Instant::now() < deadline, "{place}: waited {limit:?} in vain: {what}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What `future` gives, if it does so within [`WAIT`].
#[track_caller]
pub fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(WAIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("{place}: waited {WAIT:?} in vain: {what}"),
        }
    }
}

//! The threads of the transport, each with a runtime of its own.
//!
//! Invariant: a thread runs until it is told to stop, and is waited for then, for a limited time, unless it is
//! the one that asks.

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// How long a runtime that stops waits for what blocks it.
const RUNTIME_STOP_LIMIT: Duration = Duration::from_millis(100);
/// How long the threads are waited for; one whose consumer of frames never comes back is left.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How often is looked whether they are through.
const STOP_POLL: Duration = Duration::from_millis(1);

/// Threads that were started.
pub(super) struct Threads {
    stop: watch::Sender<bool>,
    joins: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(super) fn new() -> Threads {
        Threads { stop: watch::Sender::new(false), joins: Vec::new() }
    }

    /// Starts a thread with a runtime, to which tasks can be given.
    pub(super) fn start(&mut self, name: &str) -> io::Result<Handle> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let mut stopped = self.stop.subscribe();
        let work = move || {
            runtime.block_on(async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            });
            runtime.shutdown_timeout(RUNTIME_STOP_LIMIT);
        };
        self.joins.push(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(handle)
    }

    /// Stops the threads and waits for them.
    pub(super) fn stop(&mut self) {
        self.stop.send_replace(true);
        let this = std::thread::current().id();
        let until = Instant::now() + STOP_LIMIT;
        for thread in self.joins.drain(..).filter(|thread| thread.thread().id() != this) {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(STOP_POLL);
            }
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if !thread.is_finished() {
                tracing::error!("the thread {name} does not stop: what it called does not come back");
            } else if thread.join().is_err() {
                tracing::error!("the thread {name} has panicked");
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

//! The threads of the transport, each with a runtime of its own.
//!
//! Invariant: a thread runs until it is told to stop, and is waited for then, unless it is the one that asks.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// How long a thread that stops waits for what blocks it.
const STOP_LIMIT: Duration = Duration::from_millis(100);

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
            runtime.shutdown_timeout(STOP_LIMIT);
        };
        self.joins.push(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(handle)
    }

    /// Stops the threads and waits for them.
    pub(super) fn stop(&mut self) {
        self.stop.send_replace(true);
        let this = std::thread::current().id();
        for thread in self.joins.drain(..).filter(|thread| thread.thread().id() != this) {
            if thread.join().is_err() {
                tracing::error!("a thread of the links between nodes has panicked");
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

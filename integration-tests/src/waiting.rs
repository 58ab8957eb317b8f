//! A node that may never serve clients: it waits, or ends by itself.
//!
//! Invariant: the process does not outlive its `Waiting`.

use crate::wait::WAIT;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// A node that does not get as far as serving clients.
pub struct Waiting {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Waiting {
    /// Runs a command that starts the binary.
    pub fn start(mut command: Command) -> Waiting {
        let mut child = command.spawn().expect("the broker's binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (child.stderr.take().expect("stderr is piped"), log.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().expect("log").push_str(&(line + "\n"));
            }
        });
        Waiting { child, log, reader: Some(reader) }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Waits until it has logged `text`.
    pub async fn says(&self, text: &str) {
        let deadline = Instant::now() + WAIT;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "'{text}' is not said:\n{}", self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Its exit code, when it ends by itself; its log is complete then.
    pub async fn code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + 2 * WAIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child's state") {
                self.reader.take().map(JoinHandle::join);
                return status.code();
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("it goes on:\n{}", self.log());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A broker as a child process on ports of its own, for one test.
//!
//! Invariant: the child does not outlive its `Broker`; it is stopped by its own pid, first with
//! SIGTERM. A test that passes also proves that the broker lived to its end, logged no panic and
//! stopped with exit code 0. The data directory goes with the `Broker`, not with the process: a broker
//! that was stopped or killed can be started again on what it left.

use crate::binary::broker_binary;
use crate::client::Client;
use crate::cluster::{Cluster, clustered};
use crate::wait::TEST_TIME_LIMIT;
use crate::wire::Peer;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a broker may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// A running broker.
pub struct Broker {
    child: Mutex<Child>,
    pid: u32,
    data_dir: PathBuf,
    log: Arc<Mutex<String>>,
    log_reader: Mutex<Option<JoinHandle<()>>>,
    /// The other nodes of its cluster, where a test for one broker runs against a cluster.
    pub(crate) others: Vec<Broker>,
    /// Where AMQP clients connect.
    pub amqp: SocketAddr,
    /// Where AMQP clients connect over TLS.
    pub amqps: Option<SocketAddr>,
    /// Where the HTTP API is.
    pub http: Option<SocketAddr>,
}

/// Runs a test against a broker with the default configuration.
pub fn with_broker(test: impl AsyncFnOnce(&Broker)) {
    with_broker_args(&[], test);
}

/// Runs a test against a broker started with more flags.
pub fn with_broker_args(flags: &[&str], test: impl AsyncFnOnce(&Broker)) {
    with_restarts(flags, async |broker| test(broker).await);
}

/// Runs a test that stops or kills its broker and starts it again on the same data directory.
pub fn with_restarts(flags: &[&str], test: impl AsyncFnOnce(&mut Broker)) {
    let mut broker = if clustered() { Cluster::as_one(flags) } else { Broker::start(flags) };
    run_to_end(test(&mut broker));
    broker.finish();
}

/// Runs a test to its end, which must come in time.
pub(crate) fn run_to_end(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime for the test");
    runtime.block_on(async {
        let run = tokio::time::timeout(TEST_TIME_LIMIT, test).await;
        assert!(run.is_ok(), "the test took longer than {TEST_TIME_LIMIT:?}");
    });
    runtime.shutdown_background();
}

impl Broker {
    /// Starts the binary on free ports of the loopback with an empty data directory.
    pub fn start(flags: &[&str]) -> Broker {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let data_dir = std::env::temp_dir().join(format!("leveret-test-{}-{number}", std::process::id()));
        Broker::start_in(data_dir, flags)
    }

    /// The command that starts the binary on free ports of the loopback and this data directory.
    pub fn command_in(data_dir: &Path, flags: &[&str]) -> Command {
        let mut command = Broker::command();
        command
            .args(["--amqp-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(flags);
        command
    }

    /// Starts the binary on this data directory, which goes with the `Broker` unless it is kept.
    pub fn start_at(data_dir: PathBuf, flags: &[&str]) -> Broker {
        Broker::start_in(data_dir, flags)
    }

    /// Leaves the data directory to whoever started the process.
    pub fn keep_data(&mut self) {
        self.data_dir = PathBuf::new();
    }

    fn start_in(data_dir: PathBuf, flags: &[&str]) -> Broker {
        Broker::run(Broker::command_in(&data_dir, flags), data_dir)
    }

    /// Runs a command that starts the binary on this data directory.
    pub(crate) fn run(mut command: Command, data_dir: PathBuf) -> Broker {
        let mut child = command.spawn().expect("the broker's binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        let (start_line, log_reader) = match follow_log(&mut child, log.clone()) {
            Ok(found) => found,
            Err(why) => {
                let _ = child.kill();
                let _ = child.wait();
                let _ = std::fs::remove_dir_all(&data_dir);
                panic!("the broker did not start: {why}\n{}", log.lock().expect("log"));
            }
        };
        Broker {
            pid: child.id(),
            child: Mutex::new(child),
            data_dir,
            log,
            log_reader: Mutex::new(Some(log_reader)),
            others: Vec::new(),
            amqp: address(&start_line, "AMQP").expect("the start line tells the AMQP address"),
            amqps: address(&start_line, "AMQPS"),
            http: address(&start_line, "HTTP"),
        }
    }

    /// The binary with an environment of its own and its log caught.
    pub fn command() -> Command {
        Broker::prepared(Command::new(broker_binary()))
    }

    /// The same for a command that runs the binary in its own way.
    pub(crate) fn prepared(mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LEVERET_") {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// A lapin connection as guest to `/`.
    pub async fn connect(&self) -> Client {
        Client::connect(self.amqp).await
    }

    /// A bare socket whose handshake is done.
    pub async fn peer(&self) -> Peer {
        Peer::open(self.amqp).await
    }

    /// What the broker has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Memory it holds, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.pid);
        let statm = std::fs::read_to_string(path).expect("the broker runs");
        let pages: u64 = statm.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("pages");
        pages * 4096
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill has no memory effects here; the pid is our child's, which is not reaped before
        // `child` says so.
        unsafe { libc::kill(self.pid as libc::pid_t, signal) };
    }

    /// Waits for its end.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.child.lock().expect("child").try_wait().expect("a child's state");
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the process; what it leaves stays. SIGKILL ends it at once, any other signal in order.
    pub fn end(&mut self, signal: i32) {
        self.signal(signal);
        let status = self.wait(STOP_LIMIT);
        assert!(status.is_some(), "the broker did not end within {STOP_LIMIT:?} of signal {signal}");
        let log = self.whole_log();
        if signal != libc::SIGKILL {
            assert!(status.is_some_and(|status| status.success()), "it ended with {status:?}:\n{log}");
        }
        assert!(!log.contains("panicked"), "the broker panicked:\n{log}");
    }

    /// Waits until it has ended by itself; gives its exit code and its log.
    pub fn ended(&self) -> (Option<i32>, String) {
        let status = self.wait(STOP_LIMIT);
        assert!(status.is_some(), "the broker did not end by itself within {STOP_LIMIT:?}");
        let log = self.whole_log();
        assert!(!log.contains("panicked"), "the broker panicked:\n{log}");
        (status.and_then(|status| status.code()), log)
    }

    /// Starts it again, on new ports, on what it left when it was ended.
    pub fn start_again(&mut self, flags: &[&str]) {
        let next = Broker::start_in(self.data_dir.clone(), flags);
        let mut before = std::mem::replace(self, next);
        // The directory is the new one's.
        before.data_dir = PathBuf::new();
    }

    /// Ends it with a signal and starts it again with the default configuration.
    pub fn restart(&mut self, signal: i32) {
        self.end(signal);
        self.start_again(&[]);
    }

    /// Tries to start a broker that refuses to; gives what it says.
    pub fn refusal_in(data_dir: &Path, flags: &[&str]) -> String {
        let output = Broker::command_in(data_dir, flags).output().expect("the broker's binary runs");
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        text
    }

    /// The log of a process that has ended: it is complete when its pipe has ended.
    fn whole_log(&self) -> String {
        let reader = self.log_reader.lock().expect("log reader").take();
        reader.map(JoinHandle::join);
        self.log()
    }

    /// Proves that it is well, and stops it.
    pub(crate) fn finish(mut self) {
        std::mem::take(&mut self.others).into_iter().for_each(Broker::finish);
        let ended = self.child.lock().expect("child").try_wait().expect("a child's state");
        if ended.is_none() {
            self.signal(libc::SIGTERM);
        }
        let status = self.wait(STOP_LIMIT);
        assert!(status.is_some(), "the broker did not stop within {STOP_LIMIT:?} of SIGTERM");
        assert!(status.is_some_and(|status| status.success()), "the broker ended with {status:?}");
        let log = self.whole_log();
        assert!(log.contains("SIGTERM") || log.contains("SIGINT"), "the broker ended by itself");
        assert!(!log.contains("panicked"), "the broker panicked");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.wait(Duration::ZERO).is_none() {
            self.signal(libc::SIGTERM);
            if self.wait(STOP_LIMIT).is_none() {
                self.signal(libc::SIGKILL);
                let _ = self.wait(STOP_LIMIT);
            }
        }
        if std::thread::panicking() {
            eprintln!("--- log of the broker (pid {}) ---\n{}", self.pid, self.log());
        }
        if !self.data_dir.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.data_dir);
        }
    }
}

/// Keeps the log as it comes, and gives the line that says the broker has started.
fn follow_log(child: &mut Child, log: Arc<Mutex<String>>) -> Result<(String, JoinHandle<()>), String> {
    let stderr = child.stderr.take().expect("stderr is piped");
    let (found, start_line) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let line = without_colour(&line);
            let mut log = log.lock().expect("log");
            log.push_str(&line);
            log.push('\n');
            if line.contains(" started: node ") {
                // Nobody listens for a second start line.
                let _ = found.send(line);
            }
        }
    });
    let line = start_line.recv_timeout(START_LIMIT).map_err(|error| error.to_string())?;
    Ok((line, reader))
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

/// The address behind `name` in "…, AMQP 127.0.0.1:4711, …".
fn address(start_line: &str, name: &str) -> Option<SocketAddr> {
    start_line.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

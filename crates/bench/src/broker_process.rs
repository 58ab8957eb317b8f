//! The broker under test as a process: started, waited for, stopped or killed.
//!
//! Invariant: a broker started here never outlives the value; it has a process group of its own, so that one that
//! is started by a script goes with it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::client::{Connection, Target};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::process::rss_bytes_of_group;

const POLL: Duration = Duration::from_millis(2);
/// A broker must answer, and go when asked to, within this time.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Args)]
pub struct BrokerOptions {
    /// The broker's program; it is given Leveret's flags
    #[arg(long, value_name = "PROGRAM", required_unless_present = "broker_command")]
    pub broker: Option<PathBuf>,
    /// A whole command with {data-dir}, {port} and maybe {http-port} in it; VAR=value in front sets the environment
    #[arg(long, value_name = "COMMAND", conflicts_with = "broker")]
    pub broker_command: Option<String>,
}

const LEVERET: &str = "{broker} --data-dir {data-dir} --log-level warn --amqp-addr 127.0.0.1:{port} --http-addr 127.0.0.1:{http-port}";

/// How a life of the broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL.
    Killed,
    /// SIGTERM, and it goes by itself.
    Stopped,
}

/// How to start a broker.
#[derive(Debug, Clone)]
pub struct BrokerCommand {
    words: Vec<String>,
    pub port: u16,
    /// Its output is appended to this file.
    pub log: PathBuf,
    /// Where its HTTP API listens, when the command has a place for the port.
    pub http_port: Option<u16>,
}

impl BrokerCommand {
    pub fn new(options: &BrokerOptions, data_dir: &Path, port: u16, http_port: u16) -> Result<Self> {
        let text = options.broker_command.as_deref().unwrap_or(LEVERET);
        let broker = options.broker.as_deref().unwrap_or(Path::new(""));
        let fill = |word: &str| {
            word.replace("{broker}", &broker.to_string_lossy())
                .replace("{data-dir}", &data_dir.to_string_lossy())
                .replace("{port}", &port.to_string())
                .replace("{http-port}", &http_port.to_string())
        };
        if !text.contains("{port}") {
            return Err(Error::Input(format!("--broker-command {text}: {{port}} is missing")));
        }
        let words = text.split_whitespace().map(fill).collect();
        let http_port = text.contains("{http-port}").then_some(http_port);
        Ok(Self { words, port, log: data_dir.with_extension("log"), http_port })
    }

    pub fn start(&self) -> Result<BrokerProcess> {
        let is_setting = |word: &&String| word.split_once('=').is_some_and(|(name, _)| !name.contains('/'));
        let settings: Vec<&String> = self.words.iter().take_while(is_setting).collect();
        let mut rest = self.words.iter().skip(settings.len());
        let program = rest.next().ok_or_else(|| Error::Input("--broker-command names no program".into()))?;
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(|error| Error::io("the broker's log", &error))?;
        let mut command = Command::new(program);
        command.args(rest).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        for (name, value) in settings.iter().filter_map(|word| word.split_once('=')) {
            command.env(name, value);
        }
        let started_at = Instant::now();
        let child = command.spawn().map_err(|error| Error::io(format!("starting {program}"), &error))?;
        Ok(BrokerProcess { child, started_at, is_stopping: false, is_gone: false })
    }

    fn open_log(&self) -> Result<File> {
        let open = OpenOptions::new().create(true).append(true).open(&self.log);
        open.map_err(|error| Error::io(self.log.display().to_string(), &error))
    }

    /// The last lines the broker wrote.
    pub fn log_tail(&self) -> String {
        const LINES: usize = 5;
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join(" | ")
    }
}

#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    pub started_at: Instant,
    is_stopping: bool,
    is_gone: bool,
}

impl BrokerProcess {
    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The memory of the broker and of whatever started it.
    pub fn rss_bytes(&self) -> Result<u64> {
        rss_bytes_of_group(self.child.id())
    }

    /// Connects again and again until the broker opens a connection; gives it.
    pub fn wait_until_open(&mut self, target: &Target) -> Result<Connection> {
        let target = Target { timeout: PATIENCE, ..target.clone() };
        loop {
            interrupt::check()?;
            self.check_alive()?;
            match Connection::open(&target) {
                Ok(connection) => return Ok(connection),
                Err(error) if self.started_at.elapsed() > PATIENCE => return Err(error),
                Err(_) => thread::sleep(POLL),
            }
        }
    }

    /// An error when the broker has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Error::Protocol(format!("the broker ended by itself: {status}"))),
            Err(error) => Err(Error::io("waiting for the broker", &error)),
        }
    }

    /// Ends the broker; one that does not stop when it should is killed, and an error.
    pub fn end(mut self, ending: Ending) -> Result<()> {
        match ending {
            Ending::Killed => self.signal(libc::SIGKILL),
            // Brokers may take a second request for impatience.
            Ending::Stopped if self.is_stopping => {}
            Ending::Stopped => self.signal(libc::SIGTERM),
        }
        self.wait_for_end()
    }

    pub fn signal(&mut self, signal: libc::c_int) {
        self.is_stopping |= signal == libc::SIGTERM;
        // SAFETY: kill takes two integers and touches no memory of ours; the group was made by us.
        unsafe { libc::kill(-self.group(), signal) };
    }

    fn group(&self) -> libc::pid_t {
        libc::pid_t::try_from(self.child.id()).unwrap_or(libc::pid_t::MAX)
    }

    fn wait_for_end(&mut self) -> Result<()> {
        let since = Instant::now();
        while self.is_running()? {
            if since.elapsed() > PATIENCE {
                return Err(Error::Stalled(format!("the broker did not stop within {PATIENCE:?}")));
            }
            thread::sleep(POLL);
        }
        self.is_gone = true;
        Ok(())
    }

    /// The process itself and everything in its group.
    fn is_running(&mut self) -> Result<bool> {
        let status = self.child.try_wait().map_err(|error| Error::io("waiting for the broker", &error))?;
        // SAFETY: signal 0 only asks whether there is such a group.
        let has_group = unsafe { libc::kill(-self.group(), 0) } == 0;
        Ok(status.is_none() || has_group)
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        if !self.is_gone {
            self.signal(libc::SIGKILL);
            // Nothing more can be done about one that cannot be killed.
            let _ = self.wait_for_end();
        }
    }
}

/// A port of the loopback interface that nobody listens on now.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| Error::io("looking for a free port", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Result<BrokerCommand> {
        let options = BrokerOptions { broker: None, broker_command: Some(text.into()) };
        BrokerCommand::new(&options, &std::env::temp_dir().join("bench-broker-process"), 5, 6)
    }

    #[test]
    fn words_are_filled_in() {
        let command = command("A=b/{port} sh -c x={http-port}").expect("a correct command");
        assert_eq!(command.words, ["A=b/5", "sh", "-c", "x=6"]);
        assert_eq!(command.http_port, Some(6));
        assert!(super::tests::command("sh").is_err(), "without {{port}} every start would listen elsewhere");
    }

    #[test]
    fn a_group_is_ended_as_a_whole() {
        let command = command("WAIT=1000 sh -c sleep${IFS}$WAIT&wait;echo{port}").expect("a correct command");
        for ending in [Ending::Killed, Ending::Stopped] {
            let mut process = command.start().expect("sh starts");
            assert!(process.check_alive().is_ok());
            let group = process.group();
            assert!(process.end(ending).is_ok());
            // SAFETY: signal 0 only asks.
            assert_ne!(unsafe { libc::kill(-group, 0) }, 0, "the group is gone");
        }
        assert!(fs::remove_file(&command.log).is_ok());
    }
}

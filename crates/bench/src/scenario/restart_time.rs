//! How long a broker takes from its start to serving, by what it has on disk and how it ended.
//!
//! Invariant: the clock starts when the process is started; a broker serves what it had when a passive declare of
//! every queue is answered with the right count.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::fill_drain::Fill;
use super::numbered;
use crate::broker_process::{BrokerCommand, BrokerOptions, BrokerProcess, Ending, free_port};
use crate::client::{Connection, Queue, Target, target};
use crate::disk_use::bytes_on_disk;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::load::measure::mib;
use crate::outcome::{Outcome, number, table};

const BODY_BYTES: usize = 100;
const CONFIRM_WINDOW: u64 = 20_000;
const PREFIX: &str = "restart";
/// A count that is not right yet is asked for again until then.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub broker: BrokerOptions,
    /// A directory that is not there yet; it is removed at the end
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Persistent messages of 100 B, spread over --queues; 0 leaves this row out
    #[arg(long, default_value_t = 1_000_000)]
    pub messages: u64,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub queues: u32,
    /// Durable queues with two bindings each; 0 leaves this row out
    #[arg(long, default_value_t = 50_000)]
    pub definitions: u32,
}

/// What the broker has on disk.
#[derive(Debug, Clone, Copy)]
enum Content {
    Nothing,
    Messages { count: u64, queues: u32 },
    Definitions(u32),
}

/// One restart.
#[derive(Debug)]
struct Row {
    content: Content,
    ending: Ending,
    times: Result<Times>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    open_ms: f64,
    ready_ms: f64,
    rss_mib: f64,
    disk_mib: f64,
}

#[derive(Debug)]
pub struct Report {
    rows: Vec<Row>,
}

pub fn run(like: &Target, options: &Options) -> Result<Report> {
    let own = || std::env::temp_dir().join(format!("bench-restart-{}", std::process::id()));
    let data_dir = options.data_dir.clone().unwrap_or_else(own);
    if data_dir.exists() {
        let path = data_dir.display();
        return Err(Error::Input(format!("--data-dir {path}: it is there already; name a new one")));
    }
    let mut contents = vec![Content::Nothing];
    if options.messages > 0 {
        contents.push(Content::Messages { count: options.messages, queues: options.queues });
    }
    if options.definitions > 0 {
        contents.push(Content::Definitions(options.definitions));
    }
    let mut report = Report { rows: Vec::new() };
    for content in contents {
        let result = restart_with(like, options, &data_dir, content, &mut report.rows);
        // Only what this run made.
        let _ = fs::remove_dir_all(&data_dir);
        let _ = fs::remove_file(data_dir.with_extension("log"));
        result?;
    }
    Ok(report)
}

fn restart_with(
    like: &Target,
    options: &Options,
    data_dir: &Path,
    content: Content,
    rows: &mut Vec<Row>,
) -> Result<()> {
    interrupt::check()?;
    fs::create_dir_all(data_dir).map_err(|error| Error::io(data_dir.display().to_string(), &error))?;
    let command = BrokerCommand::new(&options.broker, data_dir, free_port()?, free_port()?)?;
    let target = like.at("broker", target::resolve("127.0.0.1", command.port)?, None);
    eprintln!("bench: preparing {}", content.name());
    let mut process = command.start()?;
    process.wait_until_open(&target)?.close()?;
    content.prepare(&target)?;
    for ending in [Ending::Stopped, Ending::Killed] {
        interrupt::check()?;
        process.end(ending)?;
        eprintln!("bench: starting with {}, {}", content.name(), name_of(ending));
        let disk_mib = mib(bytes_on_disk(data_dir)?);
        process = command.start()?;
        let times = measure(&mut process, &target, content, disk_mib);
        let is_over = times.is_err();
        rows.push(Row { content, ending, times });
        if is_over {
            // What is gone after the first restart cannot be there after the second.
            break;
        }
    }
    process.end(Ending::Killed)
}

fn measure(process: &mut BrokerProcess, target: &Target, content: Content, disk_mib: f64) -> Result<Times> {
    let mut connection = process.wait_until_open(target)?;
    let open_ms = process.started_at.elapsed().as_secs_f64() * 1e3;
    content.check(&mut connection, process)?;
    let ready_ms = process.started_at.elapsed().as_secs_f64() * 1e3;
    connection.close()?;
    let rss_mib = mib(process.rss_bytes()?);
    Ok(Times { open_ms, ready_ms, rss_mib, disk_mib })
}

fn name_of(ending: Ending) -> &'static str {
    match ending {
        Ending::Stopped => "after SIGTERM",
        Ending::Killed => "after SIGKILL",
    }
}

impl Content {
    fn name(self) -> String {
        match self {
            Self::Nothing => "nothing".into(),
            Self::Messages { count, queues } => format!("{count} messages in {queues} queues"),
            Self::Definitions(queues) => format!("{queues} queues, {} bindings", u64::from(queues) * 2),
        }
    }

    fn queues(self) -> Vec<String> {
        let count = match self {
            Self::Nothing => 0,
            Self::Messages { queues, .. } | Self::Definitions(queues) => queues,
        };
        numbered(PREFIX, count as usize, "")
    }

    fn prepare(self, target: &Target) -> Result<()> {
        let queues = self.queues();
        let mut connection = Connection::open(target)?;
        for name in &queues {
            interrupt::check()?;
            connection.declare(name, &Queue::durable())?;
            if matches!(self, Self::Definitions(_)) {
                connection.bind_no_wait(name, "amq.direct", name)?;
                connection.bind_no_wait(name, "amq.topic", &format!("{name}.*"))?;
            }
        }
        connection.sync()?;
        connection.close()?;
        if let Self::Messages { count, .. } = self {
            let fill = Fill { messages: count, size: BODY_BYTES, window: CONFIRM_WINDOW };
            fill.run_keys(target, &queues, |_, _| ())?;
        }
        Ok(())
    }

    /// How many messages belong into the queue at this place: they were sent to the queues in turn.
    fn messages_of(self, at: u64) -> u64 {
        match self {
            Self::Messages { count, queues } => {
                count / u64::from(queues) + u64::from(at < count % u64::from(queues))
            }
            Self::Nothing | Self::Definitions(_) => 0,
        }
    }

    fn check(self, connection: &mut Connection, process: &BrokerProcess) -> Result<()> {
        for (at, name) in self.queues().iter().enumerate() {
            let wanted = self.messages_of(at as u64);
            loop {
                interrupt::check()?;
                let ready = u64::from(connection.ready_messages(name)?);
                if ready == wanted {
                    break;
                }
                if ready > wanted || process.started_at.elapsed() > PATIENCE {
                    let text = format!("{name} has {ready} messages, {wanted} were confirmed");
                    return Err(Error::Protocol(text));
                }
                thread::sleep(POLL);
            }
        }
        Ok(())
    }
}

impl Report {
    pub fn is_complete(&self) -> bool {
        self.rows.iter().all(|row| row.times.is_ok())
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |row: &Row| {
            let mut outcome = Outcome::new("restart-time", "broker");
            outcome.parameter("content", row.content.name());
            outcome.parameter("ending", name_of(row.ending));
            match &row.times {
                Ok(times) => {
                    outcome.figure("open_ms", times.open_ms);
                    outcome.figure("ready_ms", times.ready_ms);
                    outcome.figure("broker_rss_mib", times.rss_mib);
                    outcome.figure("disk_mib", times.disk_mib);
                }
                Err(error) => outcome.note(error.to_string()),
            }
            outcome
        };
        self.rows.iter().map(outcome).collect()
    }

    pub fn table(&self) -> String {
        let head = ["restart with", "", "open ms", "all there ms", "RSS MiB", "disk MiB"];
        let mut lines = vec![head.map(String::from).to_vec()];
        let mut notes = String::new();
        for row in &self.rows {
            let mut line = vec![row.content.name(), name_of(row.ending).into()];
            match &row.times {
                Ok(times) => {
                    line.extend([times.open_ms, times.ready_ms, times.rss_mib, times.disk_mib].map(number));
                }
                Err(error) => {
                    line.push("failed".into());
                    notes.push_str(&format!("  {} {}: {error}\n", line[0], line[1]));
                }
            }
            lines.push(line);
        }
        format!("{}{notes}", table(&lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_shared_out_in_turn() {
        let content = Content::Messages { count: 1003, queues: 10 };
        let counts: Vec<u64> = (0..10).map(|at| content.messages_of(at)).collect();
        assert_eq!(counts, [101, 101, 101, 100, 100, 100, 100, 100, 100, 100]);
    }

    #[test]
    fn failures_are_shown() {
        let times = Times { open_ms: 12.0, ready_ms: 34.0, rss_mib: 5.0, disk_mib: 6.0 };
        let content = Content::Definitions(7);
        let failed = Err(Error::Input("gone".into()));
        let report = Report {
            rows: vec![
                Row { content, ending: Ending::Stopped, times: Ok(times) },
                Row { content, ending: Ending::Killed, times: failed },
            ],
        };
        let text = report.table();
        assert!(text.contains("7 queues, 14 bindings  after SIGTERM    12.00"), "{text}");
        assert!(text.contains("after SIGKILL: gone"), "{text}");
        assert!(!report.is_complete());
    }
}

//! Kills a broker again and again under load, and checks that it keeps its word.
//!
//! Invariant: one data directory lives through all rounds; the plan follows from the seed, though not the moment at
//! which each byte arrives; a run ends in bounded time.

mod checker;
mod consumer;
mod drain;
mod history;
mod http;
mod ledger;
mod message;
mod moment;
mod operator;
mod plan;
mod publisher;
mod random;
mod report;
mod round;
mod specimen;
mod stage;

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::broker_process::{BrokerCommand, BrokerOptions, free_port};
use crate::client::{Target, target};
use crate::error::{Error, Result};
use checker::Checker;
use history::History;
use random::Random;
use report::Rule;
use round::Rounds;
use stage::Stage;

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub broker: BrokerOptions,
    /// How often the broker is killed or stopped under load
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: u32,
    /// The plan follows from it; without one, a new one is made and shown
    #[arg(long)]
    pub seed: Option<u64>,
    /// A directory that is empty or not there; without one, a temporary one
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// How long the clients work in a round: FROM..TO
    #[arg(long, default_value = "0.2..2", value_parser = parse_seconds)]
    pub seconds_per_round: Seconds,
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub publishers: u32,
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub consumers: u32,
    /// All queues are emptied and all definitions checked every so many rounds, and at the end
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub drain_every: u32,
    /// The quorum queue is a plain one instead, for brokers that have none or lose its leader
    #[arg(long)]
    pub without_quorum: bool,
    /// SIGKILL only; the orderly stop at the end stays
    #[arg(long)]
    pub without_stops: bool,
    /// Show violations of this rule, but do not fail for them; repeat it
    #[arg(long, value_name = "RULE")]
    tolerate: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Seconds(pub RangeInclusive<f64>);

fn parse_seconds(text: &str) -> std::result::Result<Seconds, String> {
    let wrong = || "not of the form 0.2..2".to_string();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to): (f64, f64) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if 0.0 <= from && from <= to && to <= 600.0 {
        Ok(Seconds(from..=to))
    } else {
        Err("FROM must not be above TO, and TO not above 600".into())
    }
}

impl Seconds {
    fn choose(&self, random: &mut Random) -> Duration {
        let (from, to) = (self.0.start(), self.0.end());
        Duration::from_secs_f64(from + (to - from) * random.fraction())
    }
}

/// Runs all rounds and prints the summary; false when a rule was broken.
pub fn run(like: &Target, options: &Options) -> Result<bool> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or(u64::from(since_epoch.subsec_nanos()));
    let data_dir = prepare_data_dir(options)?;
    let command = BrokerCommand::new(&options.broker, &data_dir, free_port()?, free_port()?)?;
    println!("seed {seed}, data directory {}, log {}", data_dir.display(), command.log.display());
    println!("to repeat: {}", repeat_command(options, seed));
    let address = target::resolve("127.0.0.1", command.port)?;
    let target = Target { heeds_interrupt: false, ..like.at("broker", address, None) };
    let history = History::new(Checker::new(plan::rules(!options.without_quorum)));
    let stage = Stage::new(target, seed, history, command.http_port);
    let finished = Rounds::new(&stage, &command, options).run();
    if let Err(error) = &finished {
        if matches!(error, Error::Interrupted) {
            return Err(error.clone());
        }
        let text = format!("the run ended early: {error}; its log ends with: {}", command.log_tail());
        stage.history.violate(Rule::Broker, "run", text);
    }
    let violations = stage.history.violations().clone();
    println!("\nwhat was done\n{}", stage.history.checker().counts());
    println!("  {:<36} {:>12}", "definitions made", stage.ledger.count());
    println!("\nviolations: {}\n{violations}", violations.total());
    let is_good = violations.total_but(&options.tolerate) == 0;
    if is_good && options.data_dir.is_none() {
        // Only what this run made; a leftover in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&data_dir);
        let _ = fs::remove_file(&command.log);
    } else {
        println!("kept: {} and {}", data_dir.display(), command.log.display());
    }
    println!("{}", if is_good { "PASSED" } else { "FAILED" });
    Ok(is_good)
}

fn prepare_data_dir(options: &Options) -> Result<PathBuf> {
    let own = || std::env::temp_dir().join(format!("bench-crash-{}", std::process::id()));
    let path = options.data_dir.clone().unwrap_or_else(own);
    let show = || path.display().to_string();
    fs::create_dir_all(&path).map_err(|error| Error::io(show(), &error))?;
    let mut entries = fs::read_dir(&path).map_err(|error| Error::io(show(), &error))?;
    if entries.next().is_some() {
        return Err(Error::Input(format!("--data-dir {}: it is not empty; name a new one", show())));
    }
    path.canonicalize().map_err(|error| Error::io(show(), &error))
}

fn repeat_command(options: &Options, seed: u64) -> String {
    let broker = match (&options.broker.broker, &options.broker.broker_command) {
        (Some(path), _) => format!("--broker {}", Path::display(path)),
        (None, command) => format!("--broker-command '{}'", command.as_deref().unwrap_or_default()),
    };
    let tolerated = options.tolerate.iter().filter_map(clap::ValueEnum::to_possible_value);
    let tolerated = tolerated.map(|rule| format!(" --tolerate {}", rule.get_name()));
    let Options { rounds, publishers, consumers, drain_every, .. } = options;
    let (from, to) = (options.seconds_per_round.0.start(), options.seconds_per_round.0.end());
    format!(
        "bench crash {broker} --rounds {rounds} --seed {seed} --seconds-per-round {from}..{to} \
         --publishers {publishers} --consumers {consumers} --drain-every {drain_every}{}{}{}",
        if options.without_quorum { " --without-quorum" } else { "" },
        if options.without_stops { " --without-stops" } else { "" },
        tolerated.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_range() {
        assert_eq!(parse_seconds("0.2..2"), Ok(Seconds(0.2..=2.0)));
        assert_eq!(parse_seconds("1..1"), Ok(Seconds(1.0..=1.0)));
        for wrong in ["", "1", "2..1", "-1..1", "0..601", "a..b", "nan..1"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}

//! `bench`: a load generator for AMQP 0-9-1 brokers, seen from outside.
//!
//! Invariant: it knows nothing of any broker but the protocol and /proc; every run ends in bounded time, with exit
//! code 1 and one clear line when something went wrong.

mod arguments;
mod broker_process;
mod client;
mod clock;
mod crash;
mod disk_use;
mod error;
mod histogram;
mod interrupt;
mod limit;
mod load;
mod outcome;
mod process;
mod scenario;
mod suite;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, Common};
use error::Result;
use outcome::Outcome;
use scenario::{Scenario, cluster, limit as limit_scenario, mirrors, persistent, restart_time};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    if matches!(arguments.command, Command::LimitServe) {
        return limit::serve().map(|()| ExitCode::SUCCESS);
    }
    interrupt::install();
    let common = &arguments.common;
    let pacing = common.pacing();
    let outcomes = match &arguments.command {
        Command::Scenario(Scenario::Throughput(options)) if options.with_limit => {
            let (outcome, limit) = limit_scenario::compare_with_limit(&common.target()?, &pacing, options)?;
            vec![outcome, limit]
        }
        Command::Scenario(scenario) => vec![scenario.run(&common.target()?, &pacing)?],
        Command::Limit(options) => vec![limit_scenario::run(&common.any_target()?, &pacing, options)?],
        Command::Suite(options) => return run_suite(common, &[common.target()?], options),
        Command::Compare(options) => {
            let targets = options.targets.resolve(&common.any_target()?)?;
            return run_suite(common, &targets, &options.suite);
        }
        Command::Persistent(options) => persistent::run(&common.target()?, &pacing, options)?,
        Command::ComparePersistent(options) => {
            let targets = options.targets.resolve(&common.any_target()?)?;
            let suite = suite::Options::of_rounds(options.rounds);
            let report = suite::run_persistent(&targets, &pacing, &suite, &options.persistent.windows)?;
            return show_report(common, &report);
        }
        Command::RestartTime(options) => {
            let report = restart_time::run(&common.any_target()?, options)?;
            common.show(&report.table(), &report.outcomes())?;
            return Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Cluster(options) => {
            let report = cluster::run(&common.any_target()?, &common.pacing(), options)?;
            common.show(&report.table(), report.outcomes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Mirrors(options) => {
            let report = mirrors::run(&common.any_target()?, &common.pacing(), options)?;
            common.show(&report.table(), report.outcomes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Crash(options) => {
            let is_good = crash::run(&common.any_target()?, options)?;
            return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::LimitServe => Vec::new(),
    };
    let text = outcomes.iter().map(Outcome::table).collect::<Vec<_>>().join("\n");
    common.show(&text, &outcomes)?;
    Ok(ExitCode::SUCCESS)
}

fn run_suite(common: &Common, targets: &[client::Target], options: &suite::Options) -> Result<ExitCode> {
    show_report(common, &suite::run(targets, &common.pacing(), options)?)
}

fn show_report(common: &Common, report: &suite::Report) -> Result<ExitCode> {
    common.show(&report.table(), &report.outcomes())?;
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

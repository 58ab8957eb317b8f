//! leveretctl: the operator's command line, in the words of rabbitmqctl.
//!
//! Invariant: everything goes through the node's HTTP API; the exit code alone tells a script what
//! happened, and standard output holds nothing but what was asked for.

mod arguments;
mod client;
mod command;
mod failure;
mod output;
mod rows;
mod target;

use arguments::Arguments;
use clap::Parser;
use clap::error::ErrorKind;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => Failure::usage("").exit_code(),
            };
        }
    };
    match command::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("Error:\n{failure}");
            failure.exit_code()
        }
    }
}

//! The `leveret` binary: reads the configuration, starts what it asks for, stops in order.

mod config;
mod launch;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match config::Config::load() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("leveret: {error}");
            return ExitCode::FAILURE;
        }
    };
    match launch::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leveret: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The `leveret` binary: reads the configuration, starts what it asks for, stops in order.

mod config;
mod launch;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory that this thread no longer uses back to the system. Messages are allocated on their
/// publisher's thread and freed on their consumer's; without this they would stay with the first.
/// `all` looks at every page, also at large ones that are kept for a while otherwise.
pub(crate) fn give_memory_back(all: bool) {
    // SAFETY: may be called by any thread at any time; it only looks at the calling thread's heap.
    unsafe { libmimalloc_sys::mi_collect(all) };
}

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

//! The `leveret` binary: reads the configuration, starts what it asks for, stops in order.

mod cluster;
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

/// The allocator gives memory back after this time, milliseconds.
const PURGE_DELAY_MS: std::ffi::c_long = 100;
/// The number of that option, the same in versions 2 and 3 of mimalloc.
const PURGE_DELAY_OPTION: libmimalloc_sys::mi_option_t = 15;

/// Keeps the process as small as what it holds: a broker's memory comes and goes in chunks, of which huge
/// pages and a long delay would keep several times as much (measured: docs/performance.md).
fn hold_little_memory() {
    // SAFETY: sets a number, before there is another thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY_OPTION, PURGE_DELAY_MS) };
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        eprintln!("leveret: huge pages stay on: {error}");
    }
}

/// Takes as many open files as the system lets the process have: each connection is one.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        eprintln!("leveret: the limit of open files stays as it is: {error}");
    }
}

fn main() -> ExitCode {
    hold_little_memory();
    allow_many_files();
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

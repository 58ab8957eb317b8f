//! The repository's own checks: `cargo xtask layers` and `cargo xtask tidy`.
//!
//! Invariant: a check only reads. It prints one line for each thing that is wrong and fails if there is any.

mod edges;
mod layers;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let found = match wanted.as_str() {
        "layers" => layers::check(&root()),
        "tidy" => tidy::check(&root()),
        _ => Err("usage: cargo xtask layers | tidy".to_owned()),
    };
    let wrong = match found {
        Ok(wrong) => wrong,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    for line in &wrong {
        println!("{line}");
    }
    println!(
        "{wanted}: {}",
        if wrong.is_empty() { "fine".to_owned() } else { format!("{} wrong", wrong.len()) }
    );
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The repository, wherever the command was given.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// What a program printed.
fn output_of(root: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{program}: {error}"))
}

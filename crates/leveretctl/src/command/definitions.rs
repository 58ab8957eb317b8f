//! Definitions out of the node into a file, and back.

use super::{Context, json, write};
use crate::failure::Failure;
use clap::Subcommand;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // the commands' own words
pub(crate) enum Definition {
    /// Writes everything that is declared into a file, or to standard output with '-'
    ExportDefinitions {
        file: String,
        /// Only json is supported
        #[arg(long, default_value = "json")]
        format: String,
    },
    /// Reads definitions from a file, or from standard input without one
    ImportDefinitions {
        file: Option<String>,
        /// Only json is supported
        #[arg(long, default_value = "json")]
        format: String,
        /// Accepted; what is there already is left as it is
        #[arg(long = "skip-if-unchanged")]
        skip_if_unchanged: bool,
    },
}

pub(crate) fn run(context: &Context, definition: Definition) -> Result<(), Failure> {
    let (Definition::ExportDefinitions { format, .. } | Definition::ImportDefinitions { format, .. }) =
        &definition;
    if !format.eq_ignore_ascii_case("json") {
        return Err(Failure::usage(format!("--format is '{format}': only json is supported")));
    }
    match definition {
        Definition::ExportDefinitions { file, .. } => export(context, &file),
        Definition::ImportDefinitions { file, .. } => import(context, file.as_deref()),
    }
}

fn export(context: &Context, file: &str) -> Result<(), Failure> {
    if file != "-" {
        context.say(&format!("Exporting definitions in JSON to a file at \"{file}\" ..."));
    }
    let text = context.client.get("/api/definitions")?.to_string();
    if file == "-" {
        write(&format!("{text}\n"));
        return Ok(());
    }
    // Password hashes are in it.
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::data(format!("{file} cannot be written: {error}")))
}

fn import(context: &Context, file: Option<&str>) -> Result<(), Failure> {
    let text = match file {
        None | Some("-") => {
            context.say("Importing definitions in JSON from standard input ...");
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
        }
        Some(file) => {
            context.say(&format!("Importing definitions in JSON from a file at \"{file}\" ..."));
            std::fs::read_to_string(file)
        }
    };
    let text = text.map_err(|error| Failure::data(format!("the definitions cannot be read: {error}")))?;
    context.client.ask("POST", "/api/definitions", Some(&json(text.trim())?))?;
    context.say("Successfully imported definitions.");
    Ok(())
}

//! The command line.
//!
//! Invariant: the global options may stand before or after the command, as with rabbitmqctl.

use crate::command::Command;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Manages a Leveret node. Also answers to the names rabbitmqctl, rabbitmq-diagnostics and
/// rabbitmq-queues.
#[derive(Parser, Debug)]
#[command(name = "leveretctl", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// The node; accepted for scripts written for rabbitmqctl, the address comes from --url or --data-dir
    #[arg(short = 'n', long, global = true)]
    pub(crate) node: Option<String>,
    /// The virtual host
    #[arg(short = 'p', long, global = true, default_value = "/")]
    pub(crate) vhost: String,
    /// No chatter before the answer
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// No chatter and no column names
    #[arg(short, long, global = true)]
    pub(crate) silent: bool,
    /// No column names
    #[arg(long, global = true)]
    pub(crate) no_table_headers: bool,
    /// Seconds to wait for the node
    #[arg(short, long, global = true, default_value_t = 60)]
    pub(crate) timeout: u64,
    /// How lists are written
    #[arg(long, global = true, value_enum, default_value_t = Formatter::Table)]
    pub(crate) formatter: Formatter,
    /// The node's HTTP API, such as http://127.0.0.1:15672
    #[arg(long, global = true, env = "LEVERET_URL")]
    pub(crate) url: Option<String>,
    /// Log in with this user instead of the token in the data directory
    #[arg(id = "login_user", long = "user", global = true, env = "LEVERET_USER")]
    pub(crate) user: Option<String>,
    /// The password of --user
    #[arg(
        id = "login_password",
        long = "password",
        global = true,
        env = "LEVERET_PASSWORD",
        hide_env_values = true
    )]
    pub(crate) password: Option<String>,
    /// The node's data directory, whose token opens the node without a password
    #[arg(long, global = true, env = "LEVERET_DATA_DIR", default_value = "data")]
    pub(crate) data_dir: PathBuf,
    /// Accepted and not needed
    #[arg(long, global = true, hide = true)]
    pub(crate) longnames: bool,
    /// Accepted and not needed
    #[arg(long, global = true, hide = true)]
    pub(crate) erlang_cookie: Option<String>,
}

/// How lists are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "snake_case")]
pub(crate) enum Formatter {
    /// Columns with tabs between
    Table,
    /// A frame around columns
    PrettyTable,
    /// One JSON array
    Json,
    /// Values with commas between
    Csv,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn options_and_commands_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_stand_on_both_sides_of_the_command() {
        for line in
            ["ctl -q -p v list_queues name", "ctl list_queues -q name -p v", "ctl list_queues name -qp v"]
        {
            let parsed = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert!(parsed.options.quiet && parsed.options.vhost == "v", "{line}");
        }
    }
}

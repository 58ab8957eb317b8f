//! The commands, in groups by what they are about.
//!
//! Invariant: a command says what it does before it asks the node, and the answer comes after; with
//! --quiet or another formatter than the table there is only the answer.

mod accounts;
mod checks;
mod cluster;
mod connections;
mod definitions;
mod instead;
mod limits;
mod listings;
mod node;
mod parameters;
mod permissions;
mod policies;
mod queues;
mod topic_permissions;
mod vhosts;

use crate::arguments::{Arguments, Formatter, Options};
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::Table;
use crate::target::Target;
use clap::Subcommand;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// A command with its arguments.
#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
pub(crate) enum Command {
    #[command(flatten)]
    Account(accounts::Account),
    #[command(flatten)]
    Vhost(vhosts::VhostCommand),
    #[command(flatten)]
    Permission(permissions::Permission),
    #[command(flatten)]
    TopicPermission(topic_permissions::TopicPermission),
    #[command(flatten)]
    Policy(policies::Policy),
    #[command(flatten)]
    Limit(limits::Limit),
    #[command(flatten)]
    Parameter(parameters::Parameter),
    #[command(flatten)]
    Listing(listings::Listing),
    #[command(flatten)]
    Queue(queues::QueueCommand),
    #[command(flatten)]
    Connection(connections::Connection),
    #[command(flatten)]
    Definition(definitions::Definition),
    #[command(flatten)]
    Node(node::Node),
    #[command(flatten)]
    Check(checks::Check),
    #[command(flatten)]
    Cluster(cluster::Cluster),
    #[command(flatten)]
    Instead(instead::Instead),
}

/// What a command has to work with.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
}

impl Context {
    fn connect(options: Options) -> Result<Context, Failure> {
        let target = Target::find(&options)?;
        let timeout = Duration::from_secs(options.timeout.max(1));
        Ok(Context { client: Client { target, timeout }, options })
    }

    /// Says what is being done.
    pub(crate) fn say(&self, text: &str) {
        say(&self.options, text);
    }

    /// The answer to a question.
    pub(crate) fn print(&self, table: &Table) {
        let headers = !self.options.silent && !self.options.no_table_headers;
        write(&table.render(self.options.formatter, headers));
    }

    pub(crate) fn vhost(&self) -> &str {
        &self.options.vhost
    }

    /// The vhost as a segment of a path.
    pub(crate) fn vhost_path(&self) -> String {
        segment(self.vhost())
    }
}

/// Says what is being done, before there is a way to the node.
fn say(options: &Options, text: &str) {
    if !options.quiet && !options.silent && options.formatter == Formatter::Table {
        write(&format!("{text}\n"));
    }
}

/// How often a node that is not there yet is asked again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long one of many questions may take.
const POLL_SECONDS_MAX: u64 = 5;

/// Asks until it succeeds or the time is over; the failure is then the last one.
fn poll(options: &Options, ask: impl Fn(&Client) -> Result<(), Failure>) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(options.timeout);
    let timeout = Duration::from_secs(options.timeout.clamp(1, POLL_SECONDS_MAX));
    loop {
        // The token appears with the node, so it is looked for each time.
        match Target::find(options).and_then(|target| ask(&Client { target, timeout })) {
            Ok(()) => return Ok(()),
            Err(failure) if failure.is_usage() || Instant::now() >= deadline => return Err(failure),
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

/// Writes to standard output; a reader that has gone away is no failure.
pub(crate) fn write(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { mut options, mut command } = arguments;
    // rabbitmqctl's --user names whose limits are wanted; here it would be a login without a password.
    if let Command::Limit(limits::Limit::ListUserLimits { username, .. }) = &mut command
        && options.password.is_none()
    {
        *username = username.take().or(options.user.take());
    }
    let done = match &command {
        Command::Node(node) => node::without_node(node, &options),
        Command::Check(check) => checks::without_node(check, &options),
        Command::Cluster(cluster) => cluster::without_node(cluster, &options),
        Command::Instead(instead) => Some(instead::run(instead)),
        _ => None,
    };
    if let Some(outcome) = done {
        return outcome;
    }
    let context = Context::connect(options)?;
    match command {
        Command::Account(account) => accounts::run(&context, account),
        Command::Vhost(vhost) => vhosts::run(&context, vhost),
        Command::Permission(permission) => permissions::run(&context, permission),
        Command::TopicPermission(permission) => topic_permissions::run(&context, permission),
        Command::Policy(policy) => policies::run(&context, policy),
        Command::Limit(limit) => limits::run(&context, limit),
        Command::Parameter(parameter) => parameters::run(&context, parameter),
        Command::Listing(listing) => listings::run(&context, listing),
        Command::Queue(queue) => queues::run(&context, queue),
        Command::Connection(connection) => connections::run(&context, connection),
        Command::Definition(definition) => definitions::run(&context, definition),
        Command::Node(node) => node::run(&context, node),
        Command::Check(check) => checks::run(&context, check),
        Command::Cluster(cluster) => cluster::run(&context, cluster),
        Command::Instead(instead) => instead::run(&instead),
    }
}

/// JSON that an operator typed.
fn json(text: &str) -> Result<serde_json::Value, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::data(format!("could not parse JSON '{text}': {error}")))
}

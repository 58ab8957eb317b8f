//! Policies and operator policies.

use super::{Context, json};
use crate::client::{refusal, segment};
use crate::failure::Failure;
use crate::output::Table;
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // the commands' own words
pub(crate) enum Policy {
    /// Sets a policy
    SetPolicy(Setting),
    /// Removes a policy
    ClearPolicy { name: String },
    /// Lists the policies of a virtual host
    ListPolicies,
    /// Sets an operator policy
    SetOperatorPolicy(Setting),
    /// Removes an operator policy
    ClearOperatorPolicy { name: String },
    /// Lists the operator policies of a virtual host
    ListOperatorPolicies,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Setting {
    name: String,
    /// A regular expression over names
    pattern: String,
    /// A JSON object
    definition: String,
    /// The highest one applies
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i64,
    /// queues, classic_queues, quorum_queues, streams, exchanges or all
    #[arg(long = "apply-to", default_value = "all")]
    apply_to: String,
}

/// Policies and operator policies differ in two words.
struct Sort {
    path: &'static str,
    word: &'static str,
}

const POLICY: Sort = Sort { path: "policies", word: "policy" };
const OPERATOR: Sort = Sort { path: "operator-policies", word: "operator policy" };

pub(crate) fn run(context: &Context, policy: Policy) -> Result<(), Failure> {
    match policy {
        Policy::SetPolicy(setting) => set(context, &POLICY, &setting),
        Policy::ClearPolicy { name } => clear(context, &POLICY, &name),
        Policy::ListPolicies => list(context, &POLICY, "policies"),
        Policy::SetOperatorPolicy(setting) => set(context, &OPERATOR, &setting),
        Policy::ClearOperatorPolicy { name } => clear(context, &OPERATOR, &name),
        Policy::ListOperatorPolicies => list(context, &OPERATOR, "operator policy overrides"),
    }
}

fn path(context: &Context, sort: &Sort, name: &str) -> String {
    format!("/api/{}/{}/{}", sort.path, context.vhost_path(), segment(name))
}

fn set(context: &Context, sort: &Sort, setting: &Setting) -> Result<(), Failure> {
    let Setting { name, pattern, definition, priority, apply_to } = setting;
    context.say(&format!(
        "Setting {} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for vhost \
         \"{}\" ...",
        sort.word,
        context.vhost()
    ));
    let body = json!({
        "pattern": pattern,
        "definition": json(definition)?,
        "priority": priority,
        "apply-to": apply_to,
    });
    context.client.ask("PUT", &path(context, sort, name), Some(&body))?;
    Ok(())
}

fn clear(context: &Context, sort: &Sort, name: &str) -> Result<(), Failure> {
    context.say(&format!("Clearing {} \"{name}\" on vhost \"{}\" ...", sort.word, context.vhost()));
    let answer = context.client.send("DELETE", &path(context, sort, name), None, &[])?;
    match answer.status {
        204 => Ok(()),
        404 => Err(Failure::unavailable("Parameter does not exist")),
        _ => Err(refusal(&answer)),
    }
}

fn list(context: &Context, sort: &Sort, what: &str) -> Result<(), Failure> {
    context.say(&format!("Listing {what} for vhost \"{}\" ...", context.vhost()));
    let rows = context.client.get(&format!("/api/{}/{}", sort.path, context.vhost_path()))?;
    let columns = ["vhost", "name", "pattern", "apply-to", "definition", "priority"];
    let mut table = Table::new(&columns);
    for row in rows.as_array().into_iter().flatten() {
        let cell = |column: &&str| match *column {
            // As text in JSON too, as rabbitmqctl does.
            "definition" => Value::String(row[*column].to_string()),
            column => row[column].clone(),
        };
        table.rows.push(columns.iter().map(cell).collect());
    }
    context.print(&table);
    Ok(())
}

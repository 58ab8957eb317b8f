//! Parameters of virtual hosts and of the broker.

use super::{Context, json};
use crate::client::{refusal, segment};
use crate::failure::Failure;
use crate::output::Table;
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // the commands' own words
pub(crate) enum Parameter {
    /// Sets a parameter of a virtual host to a JSON value
    SetParameter { component: String, name: String, value: String },
    /// Removes a parameter of a virtual host
    ClearParameter { component: String, name: String },
    /// Lists the parameters of a virtual host
    ListParameters,
    /// Sets a parameter of the broker to a JSON value
    SetGlobalParameter { name: String, value: String },
    /// Removes a parameter of the broker
    ClearGlobalParameter { name: String },
    /// Lists the parameters of the broker
    ListGlobalParameters,
}

pub(crate) fn run(context: &Context, parameter: Parameter) -> Result<(), Failure> {
    let vhost = context.vhost();
    match parameter {
        Parameter::SetParameter { component, name, value } => {
            context.say(&format!(
                "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
            ));
            put(context, &path(context, &component, &name), &value)
        }
        Parameter::ClearParameter { component, name } => {
            context.say(&format!(
                "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."
            ));
            delete(context, &path(context, &component, &name))
        }
        Parameter::ListParameters => {
            context.say(&format!("Listing runtime parameters for vhost \"{vhost}\" ..."));
            let rows = context.client.get("/api/parameters")?;
            let own: Vec<&Value> =
                rows.as_array().into_iter().flatten().filter(|row| row["vhost"] == vhost).collect();
            print(context, &own, &["component", "name", "value"]);
            Ok(())
        }
        Parameter::SetGlobalParameter { name, value } => {
            context.say(&format!("Setting global runtime parameter \"{name}\" to \"{value}\" ..."));
            put(context, &format!("/api/global-parameters/{}", segment(&name)), &value)
        }
        Parameter::ClearGlobalParameter { name } => {
            context.say(&format!("Clearing global runtime parameter \"{name}\" ..."));
            delete(context, &format!("/api/global-parameters/{}", segment(&name)))
        }
        Parameter::ListGlobalParameters => {
            context.say("Listing global runtime parameters ...");
            let rows = context.client.get("/api/global-parameters")?;
            let all: Vec<&Value> = rows.as_array().into_iter().flatten().collect();
            print(context, &all, &["name", "value"]);
            Ok(())
        }
    }
}

fn path(context: &Context, component: &str, name: &str) -> String {
    format!("/api/parameters/{}/{}/{}", segment(component), context.vhost_path(), segment(name))
}

fn put(context: &Context, path: &str, value: &str) -> Result<(), Failure> {
    context.client.ask("PUT", path, Some(&json!({ "value": json(value)? })))?;
    Ok(())
}

fn delete(context: &Context, path: &str) -> Result<(), Failure> {
    let answer = context.client.send("DELETE", path, None, &[])?;
    match answer.status {
        204 => Ok(()),
        404 => Err(Failure::unavailable("Parameter does not exist")),
        _ => Err(refusal(&answer)),
    }
}

fn print(context: &Context, rows: &[&Value], columns: &[&str]) {
    let mut table = Table::new(columns);
    for row in rows {
        table.rows.push(columns.iter().map(|column| row[*column].clone()).collect());
    }
    context.print(&table);
}

//! The walls between the crates, checked against `cargo metadata`.

use crate::edges::{BANS, EDGES};
use serde_json::Value;
use std::path::Path;

/// A crate and its normal dependencies, in or outside the workspace.
struct Package {
    name: String,
    dependencies: Vec<String>,
}

/// Edges that are not in the table, and dependencies that are banned.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
    let metadata = crate::output_of(root, "cargo", &arguments)?;
    let metadata = serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    Ok(violations(&packages(&metadata)))
}

fn packages(metadata: &Value) -> Vec<Package> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    list(&metadata["packages"])
        .iter()
        .map(|package| Package {
            name: name(package),
            dependencies: list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(name)
                .collect(),
        })
        .collect()
}

fn violations(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{}: is not in the table of crates/xtask/src/edges.rs", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let is_ours = packages.iter().any(|other| other.name == *dependency);
            if is_ours && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{} imports {dependency}: not in the table of layers", package.name));
            }
        }
        let banned = BANS.iter().filter(|(name, _)| *name == package.name).flat_map(|(_, banned)| *banned);
        for banned in banned.filter(|banned| package.dependencies.iter().any(|name| name == *banned)) {
            wrong.push(format!("{} depends on {banned}: banned there", package.name));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(packages_json: Value) -> Vec<String> {
        violations(&packages(&json!({ "packages": packages_json })))
    }

    fn package(name: &str, dependencies: &[(&str, Value)]) -> Value {
        let dependencies: Vec<Value> =
            dependencies.iter().map(|(name, kind)| json!({ "name": name, "kind": kind })).collect();
        json!({ "name": name, "dependencies": dependencies })
    }

    #[test]
    fn an_edge_of_the_table_is_fine() {
        let normal = Value::Null;
        let engine = package("engine", &[("broker", normal.clone()), ("tokio", normal.clone())]);
        let broker = package("broker", &[("types", normal.clone()), ("bytes", normal)]);
        assert_eq!(wrong(json!([engine, broker, package("types", &[])])), Vec::<String>::new());
    }

    #[test]
    fn an_edge_outside_the_table_is_named() {
        let broker = package("broker", &[("protocol", Value::Null)]);
        let found = wrong(json!([broker, package("protocol", &[])]));
        assert_eq!(found, ["broker imports protocol: not in the table of layers"]);
    }

    #[test]
    fn only_normal_dependencies_count() {
        let broker = package("broker", &[("protocol", json!("dev")), ("tokio", json!("build"))]);
        assert_eq!(wrong(json!([broker, package("protocol", &[])])), Vec::<String>::new());
    }

    #[test]
    fn a_pure_crate_has_no_runtime() {
        let types = package("types", &[("tokio", Value::Null)]);
        assert_eq!(wrong(json!([types])), ["types depends on tokio: banned there"]);
    }

    #[test]
    fn a_crate_nobody_knows_is_named() {
        let found = wrong(json!([package("newcomer", &[])]));
        assert_eq!(found, ["newcomer: is not in the table of crates/xtask/src/edges.rs"]);
    }
}

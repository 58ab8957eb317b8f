//! Health checks before a node is stopped: what would stop with it, and what has stopped already.
//!
//! Invariant: a queue counts as served by the nodes that have its messages.

use super::health::{failed, passed};
use crate::api::Api;
use crate::auth::{Anyone, Caller};
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use broker::catalog::{Catalog, Pattern, Queue, refusal};
use broker::policy;
use broker::queue::QueueKind;
use engine::cluster::{ClusterStatus, NodeState};
use serde_json::{Value, json};
use std::sync::Arc;
use types::NodeId;

pub(crate) fn routes() -> Router<Arc<Api>> {
    const LEADERLESS: &str = "/api/health/checks/quorum-queues-without-elected-leaders";
    Router::new()
        .route("/api/health/checks/node-is-quorum-critical", get(quorum_critical))
        .route("/api/health/checks/node-is-mirror-sync-critical", get(mirror_sync_critical))
        .route(&format!("{LEADERLESS}/all-vhosts"), get(leaderless))
        .route(
            &format!("{LEADERLESS}/all-vhosts/pattern/{{pattern}}"),
            get(|caller, Path(pattern): Path<String>| leaderless_of(caller, None, Some(pattern))),
        )
        .route(
            &format!("{LEADERLESS}/vhost/{{vhost}}"),
            get(|caller, Path(vhost): Path<String>| leaderless_of(caller, Some(vhost), None)),
        )
        .route(
            &format!("{LEADERLESS}/vhost/{{vhost}}/pattern/{{pattern}}"),
            get(|caller, Path((vhost, pattern)): Path<(String, String)>| {
                leaderless_of(caller, Some(vhost), Some(pattern))
            }),
        )
}

fn all_queues(catalog: &Catalog) -> impl Iterator<Item = &Arc<Queue>> {
    catalog.queues()
}

fn entry(row: &Queue) -> Value {
    json!({
        "name": row.name.as_str(),
        "virtual_host": row.vhost.as_str(),
        "type": row.kind.as_str(),
        "readable_name": refusal::queue_text(&row.vhost, row.name.as_str()),
    })
}

fn verdict(reason: &str, queues: Vec<Value>) -> Answer {
    if queues.is_empty() {
        return passed();
    }
    failed(json!({"status": "failed", "reason": reason, "queues": queues}))
}

fn single_node() -> Answer {
    reply::show(json!({"status": "ok", "reason": "single node cluster"}))
}

/// Whether the voters that would be left without this node are most of all voters.
fn leaves_majority(status: &ClusterStatus) -> bool {
    let voters = status.nodes.iter().filter(|node| node.votes);
    let (all, left) = voters.fold((0, 0), |(all, left), node| {
        (all + 1, left + usize::from(!node.is_me && node.state == NodeState::Up))
    });
    left > all / 2
}

async fn quorum_critical(Anyone(caller): Anyone) -> Answer {
    let api = &caller.api;
    if api.cluster().is_none() {
        return single_node();
    }
    if !leaves_majority(&api.cluster_status()) {
        let reason = "The catalog would lose its majority if the target node is shut down";
        return failed(json!({"status": "failed", "reason": reason, "queues": []}));
    }
    let catalog = api.catalog();
    let me = api.broker.node();
    // Those that could not commit any more without this node's copy.
    let own = |row: &&Arc<Queue>| {
        let Some(copies) = row.copies.as_deref() else {
            return row.kind == QueueKind::Quorum && row.home == me;
        };
        let is_up = |node: &&NodeId| catalog.is_up(**node);
        let others = copies.in_sync.iter().filter(|node| **node != me).filter(is_up).count();
        row.kind == QueueKind::Quorum && copies.in_sync.contains(&me) && others < copies.min_in_sync as usize
    };
    let queues = all_queues(&catalog).filter(own).map(|row| entry(row)).collect();
    verdict("There are quorum queues that would lose their quorum if the target node is shut down", queues)
}

async fn mirror_sync_critical(Anyone(caller): Anyone) -> Answer {
    let api = &caller.api;
    if api.cluster().is_none() {
        return single_node();
    }
    let catalog = api.catalog();
    let mirrored = |row: &&Arc<Queue>| {
        let definition = policy::effective_definition(row.policy.as_deref(), row.operator_policy.as_deref());
        let me = api.broker.node();
        let is_safe = |node: &NodeId| *node != me && catalog.is_up(*node);
        let has_other = row.copies.as_ref().is_some_and(|copies| copies.in_sync.iter().any(is_safe));
        row.home == me && definition.get("ha-mode").is_some() && !has_other
    };
    let queues = all_queues(&catalog).filter(mirrored).map(|row| entry(row)).collect();
    verdict("There are classic mirrored queues without online synchronised mirrors", queues)
}

async fn leaderless(caller: Anyone) -> Answer {
    leaderless_of(caller, None, None).await
}

/// Quorum queues that nobody can get at.
async fn leaderless_of(Anyone(caller): Anyone, vhost: Option<String>, pattern: Option<String>) -> Answer {
    let pattern = pattern.map(|text| Pattern::new(&text)).transpose();
    let pattern = pattern.map_err(|_| Failure::bad_request("Invalid pattern"))?;
    let queues = unserved(&caller, vhost.as_deref(), pattern.as_ref())?;
    verdict("Detected quorum queues without an elected leader", queues)
}

fn unserved(caller: &Caller, vhost: Option<&str>, pattern: Option<&Pattern>) -> Result<Vec<Value>, Failure> {
    let api = &caller.api;
    let catalog = api.catalog();
    let vhosts = match vhost {
        Some(name) => vec![catalog.vhost(name).ok_or_else(Failure::no_object)?],
        None => catalog.vhosts.values().collect(),
    };
    let rows = vhosts.into_iter().flat_map(|vhost| vhost.queues.values());
    let lost = rows.filter(|row| {
        row.kind == QueueKind::Quorum
            && pattern.is_none_or(|pattern| pattern.is_match(row.name.as_str()))
            && !api.broker.queue(row.id).is_some_and(|queue| queue.is_reachable())
    });
    Ok(lost.map(|row| entry(row)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::cluster::NodeView;
    use types::NodeId;

    #[test]
    fn a_majority_is_counted_among_voters() {
        use NodeState::{Down, Suspect, Up};
        // This node first; whether it votes, then the others with whether they vote.
        type Row = (bool, &'static [(bool, NodeState)], bool);
        let table: [Row; 7] = [
            (true, &[(true, Up), (true, Up)], true),
            (true, &[(true, Up), (true, Down)], false),
            (true, &[(true, Up), (true, Suspect)], false),
            (true, &[(true, Up)], false),
            (false, &[(true, Up)], true),
            (true, &[(true, Up), (true, Up), (false, Down)], true),
            (true, &[(true, Up), (true, Up), (true, Up), (true, Down)], true),
        ];
        for (votes, others, expected) in table {
            let node = |at: usize, votes: bool, state: NodeState| NodeView {
                id: NodeId(at as u64 + 1),
                name: format!("n{at}"),
                addr: String::new(),
                is_me: at == 0,
                state,
                version: None,
                leads: false,
                votes,
                lag: None,
                homes: 0,
                numbers: None,
            };
            let others = others.iter().enumerate().map(|(at, (votes, state))| node(at + 1, *votes, *state));
            let nodes = std::iter::once(node(0, votes, Up)).chain(others).collect();
            let status = ClusterStatus { nodes, ..ClusterStatus::default() };
            assert_eq!(leaves_majority(&status), expected, "{status:?}");
        }
    }
}

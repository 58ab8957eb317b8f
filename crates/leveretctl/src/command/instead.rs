//! Commands of rabbitmqctl for what is done in another way here.
//!
//! Invariant: each of them fails and says in one line what to do instead, also while no node runs.

use crate::failure::Failure;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
#[command(rename_all = "snake_case")]
pub(crate) enum Instead {
    /// Not here: a node joins by itself when it starts
    JoinCluster(Anything),
    /// Not here: stop the process
    StopApp(Anything),
    /// Not here: start the process
    StartApp(Anything),
    /// Not here: use leave, or empty the data directory
    #[command(alias = "force_reset")]
    Reset(Anything),
    /// Not here: every node keeps what is declared on its disk
    ChangeClusterNodeType(Anything),
    /// Not here: start the node with another name
    RenameClusterNode(Anything),
    /// Not here: nodes learn each other's addresses
    UpdateClusterNodes(Anything),
    /// Not here: a node does not wait for the one that stopped last
    ForceBoot(Anything),
}

/// What the command had as arguments.
#[derive(clap::Args, Debug)]
pub(crate) struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(instead: &Instead) -> Result<(), Failure> {
    let (Instead::JoinCluster(Anything { arguments })
    | Instead::StopApp(Anything { arguments })
    | Instead::StartApp(Anything { arguments })
    | Instead::Reset(Anything { arguments })
    | Instead::ChangeClusterNodeType(Anything { arguments })
    | Instead::RenameClusterNode(Anything { arguments })
    | Instead::UpdateClusterNodes(Anything { arguments })
    | Instead::ForceBoot(Anything { arguments })) = instead;
    let text = match instead {
        Instead::JoinCluster(_) => {
            let other =
                arguments.iter().find(|word| !word.starts_with('-')).and_then(|word| word.split_once('@'));
            let host = other.map_or("HOST", |(_, host)| host);
            return Err(Failure::usage(format!(
                "join_cluster: a node joins when it starts: start it with an empty data directory, --cluster-addr, \
                 --cluster-secret-file and --join {host}:PORT, the cluster address of a node of the cluster"
            )));
        }
        Instead::StopApp(_) => {
            "stop_app: stop the node's process (SIGTERM), its queues wait on its disk; to take it out of its cluster \
             use leave"
        }
        Instead::StartApp(_) => "start_app: start the node's process, it finds its cluster by itself",
        Instead::Reset(_) => {
            "reset: use leave to take the node out of its cluster, stop its process and empty its data directory"
        }
        Instead::ChangeClusterNodeType(_) => {
            "change_cluster_node_type: there are no RAM nodes, every node keeps what is declared on its disk"
        }
        Instead::RenameClusterNode(_) => {
            "rename_cluster_node: start the node with another --node-name, what it is stands in its data directory"
        }
        Instead::UpdateClusterNodes(_) => {
            "update_cluster_nodes: nothing to do, nodes tell each other their addresses"
        }
        Instead::ForceBoot(_) => {
            "force_boot: nothing to do, a node that does not find its cluster serves the queues on its disk"
        }
    };
    Err(Failure::usage(text))
}

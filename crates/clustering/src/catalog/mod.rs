//! The catalog of a cluster: what is declared, agreed on by all of its nodes.
//!
//! Invariant: a change is applied on every node in one order, once, and only when most of the voting nodes
//! have it on disk; it is answered when every node that may be serving clients has applied it.

mod desk;
mod duties;
mod group;
mod leader;
mod lease;
mod log;
mod log_state;
#[cfg(test)]
mod log_tests;
mod machine;
mod member;
mod membership;
mod network;
mod on_broker;
mod proposal;
mod raft;
mod record;
mod service;
mod sessions;
mod snapshot;
mod status;
mod store;

pub use group::{CatalogGroup, Compaction, Elections, GroupConfig, NameOf};
pub use lease::{BootClock, Clock, LEASE, LEASE_AND_DRIFT};
pub use machine::CatalogTarget;
pub use member::Member;
pub use network::{Call, CallError, Rpc, kind};
pub use record::Ballot;
pub use service::Served;
pub use status::{GroupStatus, MemberStatus};

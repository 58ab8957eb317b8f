//! Several nodes as one broker: who is there (gossip), what is declared (the catalog, by agreement), and the
//! way to a queue that lives on another node.
//!
//! Invariant: nothing that must be right rests on gossip alone; what passes between nodes is sealed with the
//! cluster's secret or by mutual TLS.

pub mod forward;
pub mod identity;
pub mod secret;

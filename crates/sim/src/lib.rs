//! Whole clusters played from one number: nodes that start, crash, stand still, move and lose their disks, a network
//! that loses, delays and is cut, clients that declare and publish, and invariants that watch.
//!
//! Membership, gossip, formation and homes are decided by the product's own code; what is agreed on is an ideal
//! list of changes. No clock, no disk, no socket: `docs/internals/simulation.md`.
//!
//! Invariant: a play is its seed.

pub mod bug;
pub mod copies;
mod dice;
mod faults;
mod following;
mod gossiping;
mod invariants;
mod machine;
mod network;
pub mod play;
mod proposing;
mod register;
mod schedule;
mod seeking;
mod starting;
mod watching;
mod workload;
mod world;

pub use world::Settings;

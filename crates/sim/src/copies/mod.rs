//! Queues with mirrors, played from one number: nodes that crash, stand still, start again and lose their disks, links
//! that are cut and slow, a catalog that everybody follows at their own pace, and clients that publish and consume.
//!
//! What is committed, who joins and who leaves, whose frames are taken and where copies part is decided by
//! `broker::replica`; a copy is a set of numbers, the catalog an ideal list of rows.
//!
//! Invariant: a play is its seed.

mod bug;
mod clients;
mod contents;
mod disk;
mod event;
mod faults;
mod following;
mod frame;
mod home;
mod invariants;
mod leader;
mod levelling;
mod links;
mod machine;
mod mirror;
mod play;
mod register;
mod world;

pub use bug::Bug;
pub use play::{Played, play};
pub use world::Settings;

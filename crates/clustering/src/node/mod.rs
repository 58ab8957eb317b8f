//! A node of a cluster, put together: links, gossip, the catalog's group, forwarding, and what they decide
//! with each other.
//!
//! Invariant: who is a member is what the catalog says. Gossip and links say how members are, and only the
//! catalog's leader makes something of it. The decisions (`founding`, `judgement`, `placement`) are pure.

mod belonging;
mod config;
mod formation;
pub mod founding;
mod identity_file;
pub mod judgement;
mod links;
mod listing;
mod member;
mod placement;
mod service;
mod told;
mod twin;
mod view;
mod watch;

pub use config::ClusterConfig;
pub use member::{ClusterNode, Prepared};
pub use placement::{Locator, Place};

//! Gossip: who is there, and what nodes tell of themselves that may be a moment old.
//!
//! The failure detector is foca (SWIM); its packets go sealed over UDP, driven by one thread of their own.
//!
//! Invariant: nothing that must be right rests on gossip alone.

mod calls;
mod driver;
mod effects;
mod facts;
mod gate;
mod periods;
mod presence;
mod roster;
mod run;
mod sealed;
mod spread;
mod swim;
mod timers;
mod warnings;
mod wire;

pub use effects::{Effects, Oddity, SwimStats};
pub use facts::NodeFacts;
pub use periods::GossipPeriods;
pub use roster::Liveness;
pub use run::{Gossip, GossipConfig, GossipStats, Me, Member};
pub use swim::{Swim, SwimMember, SwimSettings};

//! A queue on several nodes: what its home and its mirrors do, as pure machines.
//!
//! Invariant: nothing is committed before every node in sync, and at least the minimum, has it; one stream from
//! the home to a mirror is in order and without gaps. Drawn in `docs/internals/mirrors.md`.

mod acks;
mod effect;
mod history;
mod home;
mod mirror;
mod reach;
mod sync;
mod waiting;

pub use effect::{HomeEffect, Sent};
pub use history::{History, divergence};
pub use home::HomeRole;
pub use mirror::{Frame, Keeping, MirrorRole, Opened, Taken};
pub use waiting::{WaitReason, Waiting};

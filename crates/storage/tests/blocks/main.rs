//! The block store against disks that are whole, damaged, full, failing and losing power.

mod basics;
mod crashes;
mod damage;
mod faults;
mod relocation;
mod rig;
mod threads;

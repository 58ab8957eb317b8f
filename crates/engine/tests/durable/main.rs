//! A broker on a disk that loses power, fails, fills up or was damaged: what was promised is there.

mod chance;
mod client;
mod cluster;
mod crashes;
mod damage;
mod definitions;
mod driver;
mod faults;
mod ledger;
mod letters;
mod listener;
mod members;
mod message;
mod mirrored;
mod node;
mod relocation;
mod room;
mod time;

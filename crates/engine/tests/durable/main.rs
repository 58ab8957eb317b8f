//! A broker on a disk that loses power, fails, fills up or was damaged: what was promised is there.

mod chance;
mod client;
mod crashes;
mod definitions;
mod driver;
mod faults;
mod ledger;
mod letters;
mod message;
mod node;

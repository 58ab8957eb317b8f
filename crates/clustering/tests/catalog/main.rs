//! Catalog groups of several nodes in one process, each with a data directory of its own.

mod bench;
mod brokers;
mod changes;
mod cluster;
mod faults;
mod leases;
mod members;
mod net;
mod node;
mod power;
mod restart;

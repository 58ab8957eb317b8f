//! A broker that runs in this process: its queues, their turns and their logs.

mod client;
mod confirms;
mod queues;
mod stage;

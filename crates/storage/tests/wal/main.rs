//! The write-ahead log from the outside: what is appended comes back, whatever the disk does.

mod crashes;
mod group_commit;
mod observer;
mod round_trip;

//! The write-ahead log from the outside: what is appended comes back, whatever the disk does.

mod crashes;
mod faults;
mod group_commit;
mod observer;
mod room;
mod round_trip;

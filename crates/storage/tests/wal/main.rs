//! The write-ahead log from the outside: what is appended comes back, whatever the disk does.

mod crashes;
mod damage;
mod directory;
mod faults;
mod fixtures;
mod group_commit;
mod observer;
mod room;
mod round_trip;

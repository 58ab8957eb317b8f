//! A queue machine next to a naive model of it: every step is done by both and compared.

pub mod compare;
pub mod disk;
pub mod drive;
pub mod model;
pub mod step;

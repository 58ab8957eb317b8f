//! What the tests of the catalog's on-disk forms share.

pub mod any;
pub mod every;
pub mod picture;

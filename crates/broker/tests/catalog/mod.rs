//! What the tests of the catalog's on-disk forms share.

#![allow(dead_code)] // each test takes some of it

pub mod any;
pub mod every;
pub mod mirrored;
pub mod picture;

//! Properties of the codec as a whole: round trips, an independent parser as oracle, cuts and random bytes.

pub(crate) mod any;
mod content;
mod methods;
mod timing;

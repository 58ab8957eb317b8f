//! Tests of a running broker from outside, with lapin and over raw sockets.

//! Every feature of the broker, proven from outside: one module per feature.

mod exchange_direct;

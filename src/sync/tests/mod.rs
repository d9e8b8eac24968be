//! The engine from end to end without a network: a KV version 2 server in memory, records in memory, a real trail.

mod engine;
mod fake;
mod rig;
mod runs;
mod sides;
mod trouble;

//! The integration tests: one binary, every suite a module, all against the real process on loopback ports.
//!
//! Nothing is skipped and nothing sleeps: what must be there and is not fails with a sentence that says what to install,
//! and what takes time is polled with a deadline.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test ends at the first thing that is not as it says"
)]

mod architecture;
mod audit;
mod aws;
mod canary;
mod certs;
mod check;
mod compile_fail;
mod config;
mod contract;
mod coverage;
mod dev;
mod events;
mod exec;
mod explain;
mod faults;
mod federation;
mod fuzz_replay;
mod harness;
mod identity;
mod leak;
mod leases;
mod lists;
mod matrix;
mod peers;
mod readme;
mod reload;
mod sdk;
mod shutdown;
mod store;
mod stub;
mod supply;
mod sync;
mod tenants;
mod threats;
mod whole;

//! scaivault-proxy: one path space, one policy and one audit trail in front of several secret stores, for clients that
//! speak their own store's wire.
//!
//! The request's path is `listener` → `pipeline` (`wire` decodes → `identity` → `mapping` → `policy` → `audit` admits →
//! `backend` or local store → `audit` discloses → `wire` encodes) → `listener`. The order stands in
//! `pipeline/mod.rs`; each stage's result is a type the next one demands.
//!
//! | room | is |
//! |---|---|
//! | [`secret`], [`error`], [`clock`] | the neutral language; import nothing but each other |
//! | [`mapping`] | names to names; pure |
//! | [`policy`] | who may do what; pure |
//! | [`identity`] | credentials to principals |
//! | [`seal`], [`store`] | secrets to sealed bytes, sealed bytes at rest |
//! | [`audit`] | the trail; holds replies back until it has its line |
//! | [`backend`] | what every remote store's client offers, the one HTTP client |
//! | [`wire`] | a folder a vendor, both roles inside |
//! | [`sync`] | copies of remote secrets: made, compared, served, written |
//! | [`events`] | what happened, to subscribers and webhooks |
//! | [`pipeline`] | the line |
//! | [`listener`] | sockets; the only room that speaks pingora |
//! | [`api`] | the description of our own REST API |
//! | [`config`] | the file: raw, then compiled with every problem at once |
//! | [`telemetry`] | logs and metrics |
//! | [`app`], [`cli`] | put everything together; may import everything |
//!
//! A room imports only what its row of `ARCHITECTURE` allows; `tests/it/architecture.rs` checks.

pub mod api;
pub mod app;
pub mod audit;
pub mod backend;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod events;
pub mod identity;
pub mod listener;
pub mod mapping;
pub mod pipeline;
pub mod policy;
pub mod seal;
pub mod secret;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod wire;

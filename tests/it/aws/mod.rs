//! AWS Secrets Manager, both roles: the wire over every kind of store, and moto and ministack behind the backend.
//!
//! Requests are signed by a signer of the suite's own. What the proxy asked of a stand-in is counted by a [`relay::Relay`] in
//! between, where that is what the test is about. Tests that list take a region of their own: regions are apart.

mod ambient;
mod chapter;
mod credentials;
mod cross;
mod egress;
mod keys;
mod local;
mod proxy;
mod relay;
pub(crate) mod sign;
mod sync;
mod tamper;
mod trouble;
mod vault_login;
pub(crate) mod world;

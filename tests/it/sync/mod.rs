//! Copies of a real OpenBao's secrets: made, kept fresh, served when it is gone, written, fought over and given up.
//!
//! Every test has a mount of its own in OpenBao, and a credential that reaches nothing else. What went over the wire to
//! OpenBao is counted by a [`relay::Relay`] in between, where that is what the test is about.

mod api;
mod audit_device;
mod changes;
mod conflicts;
mod demand;
mod denied;
mod first;
mod flips;
mod gateway;
mod names;
mod outage;
mod relay;
mod restart;
mod source;
mod under_writes;
mod world;
mod writes;

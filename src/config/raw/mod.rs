//! The file as written: text to a small ordered tree, and typed reads from that tree.
//!
//! A read names its key, so the set of known keys is the set of reads: what was never asked for is an unknown key and
//! is reported when its block ends. Nothing stops at the first problem; a read that fails reports and yields `None`.
//! Knows nothing of what the keys mean.

mod block;
mod duration;
mod item;
mod node;
mod scope;
mod yaml;

pub(super) use block::Block;
pub(super) use item::Item;
pub(super) use scope::{Scope, child};
pub(super) use yaml::{MAX_BYTES, parse};

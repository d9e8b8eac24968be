//! The room as a whole: every way in, and what happens to what was issued.

pub(super) mod forge;
pub(super) mod rig;
mod signer;

mod bearer;
mod children;
mod kept;
mod scoped;
mod session_keys;
mod signed;
mod tampered;
mod tokens;
mod ways_in;

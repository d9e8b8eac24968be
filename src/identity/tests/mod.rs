//! The room as a whole: every way in, and what happens to what was issued.

pub(super) mod forge;
pub(super) mod rig;

mod bearer;
mod children;
mod tokens;
mod ways_in;

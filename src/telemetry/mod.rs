//! What the process says about itself: logs to standard error, metrics for Prometheus. Neither ever holds a value, a
//! credential, a path or a principal; metric labels come from closed sets.

mod log;
mod meter;

pub use log::{LogFormat, init};
pub use meter::{Meter, Metrics};

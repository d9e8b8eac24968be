//! A progress bar on standard error, if that is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

const WIDTH: u64 = 30;

/// A bar that redraws itself on its line.
pub(super) struct Bar {
    started: Instant,
    is_shown: bool,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), is_shown: std::io::stderr().is_terminal() }
    }

    /// Draws how far things are; without a total only how much is done.
    pub(super) fn draw(&self, done: u64, total: Option<u64>) {
        if self.is_shown {
            eprint!("\r{}", line(done, total, self.started.elapsed().as_secs()));
            let _unseen = std::io::stderr().flush();
        }
    }

    /// Clears the line.
    pub(super) fn finish(&self) {
        if self.is_shown {
            eprint!("\r{:78}\r", "");
            let _unseen = std::io::stderr().flush();
        }
    }
}

fn line(done: u64, total: Option<u64>, seconds: u64) -> String {
    match total.filter(|total| *total > 0) {
        Some(total) => {
            let done = done.min(total);
            let filled = done.saturating_mul(WIDTH) / total;
            let bar: String = (0..WIDTH).map(|at| if at < filled { '#' } else { '-' }).collect();
            format!("[{bar}] {:>3}%  {done}/{total}  {seconds}s ", done.saturating_mul(100) / total)
        }
        None => format!("{done} secrets looked at  {seconds}s "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up_and_never_overflows() {
        assert_eq!(line(0, Some(10), 1), format!("[{}]   0%  0/10  1s ", "-".repeat(30)));
        assert_eq!(line(5, Some(10), 2), format!("[{}{}]  50%  5/10  2s ", "#".repeat(15), "-".repeat(15)));
        assert_eq!(line(12, Some(10), 3), format!("[{}] 100%  10/10  3s ", "#".repeat(30)));
        assert_eq!(line(7, None, 4), "7 secrets looked at  4s ");
        assert_eq!(line(7, Some(0), 4), line(7, None, 4));
        assert!(line(u64::MAX, Some(u64::MAX), 0).contains('%'));
    }
}

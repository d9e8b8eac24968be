//! What people ask of a backend's engine, from any thread: run now, look at these paths, stop. Orders of the same kind are
//! one order.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::report::RunId;
use crate::clock::Clock;
use crate::secret::SecretPath;

/// More paths than this in one order are a whole run.
const MAX_PATHS: usize = 10_000;

/// The orders of one backend that were not carried out yet.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    orders: Mutex<Orders>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Orders {
    running: Option<RunId>,
    /// Runs somebody was told of that have no report yet, and the one that began last.
    promised: Vec<RunId>,
    current: Option<RunId>,
    paths: Vec<SecretPath>,
    /// The run that was promised for the paths.
    paths_run: Option<RunId>,
    full: Option<RunId>,
    is_cancelled: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Look at these paths.
    Paths(RunId, Vec<SecretPath>),
    /// Run over everything.
    Full(RunId),
}

impl Mailbox {
    /// Orders a run; yields which one it will be. Paths join the run under way; a whole run comes after it.
    pub(super) fn order(&self, clock: &dyn Clock, paths: Option<Vec<SecretPath>>) -> RunId {
        let mut orders = self.lock();
        let id = match paths {
            Some(paths) if orders.paths.len() + paths.len() <= MAX_PATHS => {
                orders.paths.extend(paths);
                match &orders.running {
                    Some(running) => running.clone(),
                    None => orders.paths_run.get_or_insert_with(|| RunId::fresh(clock)).clone(),
                }
            }
            _ => orders.full.get_or_insert_with(|| RunId::fresh(clock)).clone(),
        };
        if !orders.promised.contains(&id) {
            orders.promised.push(id.clone());
        }
        drop(orders);
        self.bell.notify_one();
        id
    }

    /// Cancels the run under way; false if there is none.
    pub(super) fn cancel(&self) -> bool {
        let mut orders = self.lock();
        orders.is_cancelled = orders.running.is_some();
        let is_running = orders.is_cancelled;
        drop(orders);
        self.bell.notify_one();
        is_running
    }

    /// Waits for the next change. Meant for one caller.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Takes the next order.
    pub(super) fn next(&self, clock: &dyn Clock) -> Option<Order> {
        let mut orders = self.lock();
        if !orders.paths.is_empty() {
            let id = orders.paths_run.take().unwrap_or_else(|| RunId::fresh(clock));
            return Some(Order::Paths(id, std::mem::take(&mut orders.paths)));
        }
        orders.full.take().map(Order::Full)
    }

    /// A run begins.
    pub(super) fn begin(&self, id: &RunId) {
        let mut orders = self.lock();
        orders.running = Some(id.clone());
        orders.current = Some(id.clone());
        orders.is_cancelled = false;
    }

    /// Whether somebody was told of a run that has no report yet.
    pub(super) fn is_promised(&self, id: &RunId) -> bool {
        self.lock().promised.contains(id)
    }

    /// Whether a run was ordered or began, and its report is not kept yet.
    pub(super) fn is_open(&self, run: &str) -> bool {
        let orders = self.lock();
        orders.promised.iter().chain(&orders.current).any(|id| id.as_str() == run)
    }

    /// Everything there is to say of a run is kept.
    pub(super) fn told(&self, id: &RunId) {
        let mut orders = self.lock();
        orders.promised.retain(|promised| promised != id);
        orders.current = orders.current.take().filter(|current| current != id);
    }

    /// Paths the run under way is to look at, too.
    pub(super) fn take_paths(&self) -> Vec<SecretPath> {
        std::mem::take(&mut self.lock().paths)
    }

    /// Whether the run under way was cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    /// The run under way ends, unless there are paths it has not looked at yet: those are yielded and it goes on.
    /// With `anyway` they are left for the next one.
    pub(super) fn end(&self, anyway: bool) -> Vec<SecretPath> {
        let mut orders = self.lock();
        if !anyway && !orders.paths.is_empty() {
            return std::mem::take(&mut orders.paths);
        }
        orders.running = None;
        orders.is_cancelled = false;
        Vec::new()
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn path(text: &str) -> SecretPath {
        SecretPath::parse(text).unwrap()
    }

    #[test]
    fn orders_of_a_kind_are_one() {
        let mailbox = Mailbox::default();
        let full = mailbox.order(&SystemClock, None);
        assert_eq!(mailbox.order(&SystemClock, None), full);
        let paths = mailbox.order(&SystemClock, Some(vec![path("a")]));
        assert_eq!(mailbox.order(&SystemClock, Some(vec![path("b")])), paths);
        assert_eq!(mailbox.next(&SystemClock), Some(Order::Paths(paths, vec![path("a"), path("b")])));
        assert_eq!(mailbox.next(&SystemClock), Some(Order::Full(full)));
        assert_eq!(mailbox.next(&SystemClock), None);
    }

    #[test]
    fn a_run_is_open_from_its_order_until_its_report_is_kept() {
        let mailbox = Mailbox::default();
        let run = mailbox.order(&SystemClock, None);
        assert!(mailbox.is_open(run.as_str()) && mailbox.is_promised(&run) && !mailbox.is_open("run_x"));
        assert_eq!(mailbox.next(&SystemClock), Some(Order::Full(run.clone())));
        mailbox.begin(&run);
        mailbox.end(true);
        assert!(mailbox.is_open(run.as_str()));
        mailbox.told(&run);
        assert!(!mailbox.is_open(run.as_str()));
    }

    #[test]
    fn paths_join_the_run_under_way_and_are_never_lost() {
        let mailbox = Mailbox::default();
        assert!(!mailbox.cancel());
        let run = RunId::fresh(&SystemClock);
        mailbox.begin(&run);
        assert_eq!(mailbox.order(&SystemClock, Some(vec![path("a")])), run);
        assert_ne!(mailbox.order(&SystemClock, None), run, "what came before the order may have been missed");
        assert_eq!(mailbox.end(false), [path("a")], "it goes on");
        assert_eq!(mailbox.order(&SystemClock, Some(vec![path("b")])), run);
        assert!(mailbox.cancel() && mailbox.is_cancelled());
        assert!(mailbox.end(true).is_empty());
        assert!(matches!(mailbox.next(&SystemClock), Some(Order::Paths(_, paths)) if paths == [path("b")]));
    }
}

//! What runs, single looks and denials say of copies, and who waits for whom.

use super::*;

fn path(text: &str) -> SecretPath {
    SecretPath::parse(text).unwrap()
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

#[test]
fn a_whole_run_speaks_for_every_path_but_those_that_failed_in_it() {
    let copies = Copies::new(2);
    assert!(!copies.whole(0));
    copies.run_ended(0, at(10));
    assert!(copies.whole(0) && !copies.whole(1) && !copies.whole(7));
    assert_eq!(copies.checked_at(0, &path("a"), 0), at(10));
    copies.path_failed(&path("a"));
    copies.run_ended(0, at(20));
    assert_eq!(copies.checked_at(0, &path("a"), 0), at(10), "what the run before vouched for");
    assert_eq!(copies.checked_at(0, &path("a"), at(15).micros()), at(15), "the record's own memory counts");
    assert_eq!(copies.checked_at(0, &path("b"), 0), at(20));
    copies.path_failed(&path("a"));
    copies.run_ended(0, at(30));
    assert_eq!(copies.checked_at(0, &path("a"), 0), at(10), "it failed again");
    assert!(copies.is_failing(0, &path("a")) && !copies.is_failing(0, &path("b")));
    copies.run_ended(1, at(35));
    assert!(copies.is_failing(0, &path("a")), "another rule's run says nothing");
    copies.run_ended(0, at(40));
    assert_eq!(copies.checked_at(0, &path("a"), 0), at(40), "a run without the failure makes up for it");
    assert!(copies.failing().is_empty());
}

#[test]
fn a_check_of_one_path_counts_for_that_path() {
    let copies = Copies::new(1);
    copies.run_ended(0, at(10));
    copies.path_failed(&path("a"));
    copies.path_checked(&path("a"), at(12));
    assert_eq!(copies.checked_at(0, &path("a"), 0), at(12));
    assert_eq!(copies.checked_at(0, &path("b"), 0), at(10));
    copies.run_ended(0, at(20));
    assert_eq!(copies.exceptional.load(Ordering::Relaxed), 0, "older than the run: no exception any more");
}

#[test]
fn the_first_denial_counts_until_we_are_let_in() {
    let copies = Copies::new(1);
    copies.denied(at(5));
    copies.denied(at(9));
    assert_eq!(copies.denied_since(), Some(at(5)));
    copies.not_denied();
    assert_eq!(copies.denied_since(), None);
}

#[test]
fn paths_that_are_demanded_no_longer_are_not_remembered() {
    let copies = Copies::new(1);
    copies.path_checked(&path("gone"), at(10));
    copies.path_failed(&path("lost"));
    for started in [20, 30] {
        copies.path_checked(&path("kept"), at(started));
        copies.refreshed(0, at(started));
    }
    assert!(!copies.whole(0), "it speaks for no other path");
    assert_eq!(copies.exceptional.load(Ordering::Relaxed), 1);
    assert_eq!(copies.checked_at(0, &path("kept"), 0), at(30));
}

#[tokio::test]
async fn what_does_not_depend_on_routes_is_one_for_all_copies_of_a_backend() {
    let (before, after) = (Arc::new(Copies::new(1)), Arc::new(Copies::new(2)));
    assert!(before.is_live(7) && !before.is_kept(7), "nobody said anything yet");
    before.denied(at(5));
    let claim = before.claim(&path("a")).await;
    after.follow(&before);
    assert_eq!(after.denied_since(), Some(at(5)));
    after.keep_routes(HashSet::from([7]));
    assert!(before.is_live(7) && !before.is_live(8));
    let second = tokio::spawn(async move { drop(after.claim(&path("a")).await) });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(claim);
    second.await.unwrap();
}

#[test]
fn what_a_rule_forgets_is_unknown_until_it_runs_again() {
    let copies = Copies::new(1);
    copies.run_ended(0, at(10));
    copies.forget(0);
    assert!(!copies.whole(0));
    assert_eq!(copies.checked_at(0, &path("a"), 0), at(0));
    copies.run_ended(0, at(20));
    assert!(copies.whole(0));
}

#[tokio::test]
async fn wanted_paths_are_given_out_once_and_stay_demanded() {
    let copies = Arc::new(Copies::new(1));
    let waiting = tokio::spawn({
        let copies = copies.clone();
        async move { copies.wanted().await }
    });
    tokio::task::yield_now().await;
    copies.want(0, &path("a"));
    assert_eq!(waiting.await.unwrap(), [(0, path("a"))]);
    copies.want(0, &path("a"));
    copies.want(0, &path("b"));
    assert_eq!(copies.wanted().await, [(0, path("b"))], "a known path is not looked at again");
    copies.refresh(0, &path("a"));
    assert_eq!(copies.wanted().await, [(0, path("a"))]);
    assert_eq!(copies.demanded(0).len(), 2);
    copies.unwant(0, &path("a"));
    assert_eq!(copies.demanded(0), [path("b")]);
}

#[tokio::test]
async fn hints_of_a_path_are_one_and_no_more_wait_than_there_is_room_for() {
    let copies = Copies::new(1);
    assert!(!copies.hinted(0, &path("a"), || false), "it is not admitted");
    assert!(copies.hinted(0, &path("a"), || true));
    assert!(copies.hinted(0, &path("a"), || panic!("it waits already")));
    assert_eq!(copies.wanted().await, [(0, path("a"))]);
    assert!(copies.hinted(0, &path("a"), || true), "what came after the look is looked at again");
    for n in 1..1_000 {
        assert!(copies.hinted(0, &path(&format!("many/{n}")), || true), "{n}");
    }
    assert!(!copies.hinted(0, &path("one/more"), || true));
    assert!(copies.hinted(0, &path("many/7"), || false), "it waits already");
    assert_eq!(copies.wanted().await.len(), 1_000);
    assert!(copies.demanded(0).is_empty() && !copies.is_demanded(0, &path("a")), "nobody reads them");
    copies.want(0, &path("a"));
    assert!(copies.is_demanded(0, &path("a")));
}

#[tokio::test]
async fn w01_one_path_is_written_by_one_at_a_time() {
    let copies = Arc::new(Copies::new(1));
    let first = copies.claim(&path("a")).await;
    let _other = copies.claim(&path("b")).await;
    let second = tokio::spawn({
        let copies = copies.clone();
        async move { drop(copies.claim(&path("a")).await) }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(first);
    second.await.unwrap();
}

//! What THREATS.md says to try, tried: tables of bad inputs with what must become of each, counted by group.
//!
//! Behind the proxy stands a stand-in that keeps every byte it is sent. A row that is refused must not reach it; a row that
//! is served reaches it once, with the headers of a list of nine and our own credential. A failing run names every row that
//! was not handled as specified, not the first one only.

mod case;
mod exhaustion;
mod fake;
mod framing;
mod h2;
mod leakage;
mod methods;
mod paths;
mod policy;
mod runner;
mod socket;
mod trail;
mod vaults;
mod world;

use runner::{Runner, Score};
use world::World;

/// P, G, M, V, H, R, L, X and J by one table, on one process, with a log as talkative as it gets.
#[test]
fn bad_inputs_are_handled_as_specified() {
    let mut score = Score::default();
    let world = World::start_with(|builder| builder.env("RUST_LOG", "trace"), |config| config);
    let mut runner = Runner::new(&world, &mut score);
    runner.run(paths::cases());
    runner.run(policy::cases());
    runner.run(methods::cases());
    runner.run(vaults::cases());
    runner.run(framing::cases());
    runner.run(exhaustion::cases());
    runner.run(leakage::cases());
    leakage::answers(&world, &mut score);
    leakage::traces(&world, &mut score);
    score.conclude();
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_served() {
    let mut score = Score::default();
    policy::at_compile_time(&mut score);
    policy::without_policies(&mut score);
    score.conclude();
}

#[test]
fn what_takes_too_long_or_too_much_is_ended() {
    let mut score = Score::default();
    let world = World::start();
    exhaustion::slow(&world, &mut score);
    exhaustion::floods(&world, &mut score);
    exhaustion::caps(&mut score);
    exhaustion::handshakes(&mut score);
    exhaustion::descriptors(&mut score);
    score.conclude();
}

#[test]
fn hostile_http2_ends_its_own_connection_and_nothing_else() {
    let mut score = Score::default();
    h2::attack(&mut score);
    score.conclude();
}

#[test]
fn everything_leaves_one_line_and_no_value_leaves_without_one() {
    let mut score = Score::default();
    trail::lines(&World::start(), &mut score);
    trail::killed(&mut score);
    trail::collectors(&mut score);
    trail::rotated(&mut score);
    score.conclude();
}

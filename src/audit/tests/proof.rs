//! What verification finds, and what it does not mind.

use proptest::prelude::*;

use super::*;
use crate::audit::chain::{Chain, Position};

fn chain() -> Chain {
    Chain::new(AuditKey::from_bytes(KEY).chain_key(), "node-1")
}

fn append(chain: &mut Chain, body: &str) -> String {
    let mut out = Vec::new();
    chain.append(&mut out, Timestamp::from_secs(1_795_428_417), &[body.as_bytes()]);
    String::from_utf8(out).unwrap()
}

const START: &str = r#""id":"s","kind":"start","run":"R","sink":"file""#;

fn read_body(index: usize) -> String {
    format!(r#""id":"{index}","request_id":"r{index}","path":"apps/db","outcome":"ok","kind":"read""#)
}

/// A start line and `reads` more, each with its newline.
fn trail(reads: usize) -> Vec<String> {
    let mut chain = chain();
    let mut lines = vec![append(&mut chain, START)];
    lines.extend((0..reads).map(|index| append(&mut chain, &read_body(index))));
    lines
}

/// The kinds of findings in one file, with their lines.
fn found(lines: &[String]) -> Vec<(FindingKind, u64)> {
    verify_texts(&[&lines.concat()]).findings.into_iter().map(|finding| (finding.kind, finding.line)).collect()
}

#[test]
fn files_may_come_shuffled_overlapping_and_twice() {
    let lines = trail(30);
    let (one, two, three) = (lines[..12].concat(), lines[8..20].concat(), lines[20..].concat());
    let report = verify_texts(&[&three, &one, &two, &three]);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.lines, report.duplicates), (31, 4 + 11));
    let [chain] = &report.chains[..] else { panic!("{:?}", report.chains) };
    assert_eq!((chain.first_seq, chain.last_seq, chain.is_stopped), (1, 31, false));
    assert_eq!((chain.sink.as_deref(), chain.run.as_deref()), (Some("file"), Some("R")));
}

#[test]
fn a14_edits_drops_and_reorders_are_found_where_they_are() {
    let lines = trail(9);
    assert!(found(&lines).is_empty());
    let mut edited = lines.clone();
    edited[4] = edited[4].replace("apps/db", "apps/dc");
    assert_eq!(found(&edited), [(FindingKind::Edited, 5)]);
    let mut dropped = lines.clone();
    dropped.drain(3..5);
    assert_eq!(found(&dropped), [(FindingKind::Missing, 4)]);
    let mut beheaded = lines.clone();
    beheaded.remove(0);
    assert_eq!(found(&beheaded), [(FindingKind::Missing, 1)]);
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    assert_eq!(found(&swapped), [(FindingKind::Reordered, 5)]);
    let mut odd = lines.clone();
    odd.insert(2, "INSERT\n".into());
    odd.insert(3, "{\"time\":\"2026\n".into());
    odd.insert(4, "\n".into());
    assert_eq!(found(&odd), [(FindingKind::Foreign, 3), (FindingKind::Torn, 4)]);
    let report = verify(vec![("a".to_owned(), lines.concat().as_bytes())], &[8; 32], None);
    assert_eq!((report.count(FindingKind::Edited), report.lines), (10, 0));
}

#[test]
fn two_lines_for_one_place_are_a_fork() {
    let mut chain = chain();
    let mut lines = vec![append(&mut chain, START), append(&mut chain, &read_body(0))];
    let before = chain.position();
    lines.push(append(&mut chain, &read_body(1)));
    chain.stand_at(before);
    lines.push(append(&mut chain, &read_body(2)));
    lines.push(append(&mut chain, &read_body(3)));
    let kinds: Vec<_> = found(&lines).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [FindingKind::Forked]);
}

#[test]
fn a_cut_tail_is_found_by_the_expected_number_only() {
    let lines = trail(9);
    let cut = lines[..8].concat();
    assert!(verify_texts(&[&cut]).is_sound());
    let expect = |instance: Option<&str>, seq| {
        let expected = Expected { instance: instance.map(str::to_owned), seq };
        verify(vec![("a".to_owned(), cut.as_bytes())], &KEY, Some(&expected)).count(FindingKind::CutTail)
    };
    assert_eq!((expect(None, 8), expect(None, 9)), (0, 1));
    assert_eq!((expect(Some("node-1"), 8), expect(Some("node-2"), 1)), (0, 1));
}

#[test]
fn files_rotated_away_are_no_finding_and_a_missing_one_between_is() {
    let mut chain = chain();
    let mut file = |reads: usize| {
        let mut text = append(&mut chain, START);
        for index in 0..reads {
            text.push_str(&append(&mut chain, &read_body(index)));
        }
        text
    };
    let (one, two, three) = (file(3), file(3), file(3));
    assert_clean(&[&three, &two]);
    let report = verify_texts(&[&three, &one]);
    assert_eq!(report.count(FindingKind::Missing), 1);
    assert!(report.findings[0].message.contains("5 to 8"), "{}", report.findings[0]);
    // A tail cut off before the next file began is a gap, not a rotation.
    let cut: String = one.split_inclusive('\n').take(3).collect();
    assert_eq!(verify_texts(&[&cut, &two]).count(FindingKind::Missing), 1);
}

#[test]
fn runs_of_other_sinks_are_chains_of_their_own() {
    let (mut one, mut two) = (chain(), chain());
    let start = START.replace("file", "stdout");
    let text = [
        append(&mut one, &start),
        append(&mut two, &start.replace("\"R\"", "\"Q\"")),
        append(&mut one, &read_body(1)),
        append(&mut two, &read_body(2)),
    ];
    let report = verify_texts(&[&text.concat()]);
    assert_eq!((report.findings, report.chains.len()), (vec![], 2));
}

#[test]
fn writes_without_an_outcome_are_told() {
    let mut chain = chain();
    let half = |kind: &str, request: &str| format!(r#""id":"x","request_id":"{request}","kind":"{kind}""#);
    let bodies = [half("intent", "w1"), half("outcome", "w1"), half("intent", "w2")];
    let text: String = std::iter::once(START.to_owned()).chain(bodies).map(|body| append(&mut chain, &body)).collect();
    let report = verify_texts(&[&text, &text]);
    assert_eq!(report.unresolved, ["w2"]);
    assert!(report.is_sound());
}

#[test]
fn a_number_that_does_not_follow_is_found() {
    let mut chain = chain();
    let first = append(&mut chain, START);
    let position = chain.position();
    chain.stand_at(Position { seq: 7, ..position });
    let text = first + &append(&mut chain, &read_body(0));
    assert_eq!(verify_texts(&[&text]).count(FindingKind::Misnumbered), 1);
}

proptest! {
    #[test]
    fn any_line_taken_from_the_middle_is_missed(at in 0..19_usize, count in 1..5_usize) {
        let mut lines = trail(20);
        let end = (at + count).min(20);
        lines.drain(at..end);
        prop_assert!(!verify_texts(&[&lines.concat()]).is_sound());
    }

    #[test]
    fn any_byte_changed_is_found(line in 0..6_usize, byte in 0..150_usize, with in 1..255_u8) {
        let mut lines: Vec<Vec<u8>> = trail(5).into_iter().map(String::into_bytes).collect();
        // the last line without its newline is a cut tail, which only an expected number can show
        prop_assume!(line < 5 || lines[line][byte] != b'\n');
        lines[line][byte] ^= with;
        let text = lines.concat();
        let report = verify(vec![("a".to_owned(), &text[..])], &KEY, None);
        // a last line that no longer reads as one is a cut tail: reported, and proof only against an expected number
        prop_assert!(!report.findings.is_empty());
    }
}

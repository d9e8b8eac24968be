use proptest::prelude::*;

use super::*;

fn spec(from: &str, to: &str) -> RuleSpec {
    RuleSpec { from: from.into(), to: to.into(), separator: None, escape: false }
}

fn table(rules: &[(&str, &str)]) -> Table {
    let specs: Vec<_> = rules.iter().map(|(from, to)| spec(from, to)).collect();
    Table::compile(&specs, Side::To).unwrap()
}

fn forward(table: &Table, name: &str) -> Option<(usize, String)> {
    table.forward(name).map(|mapped| (mapped.rule, mapped.name))
}

fn backward(table: &Table, name: &str) -> Result<(usize, String), Unmapped> {
    table.backward(name).map(|mapped| (mapped.rule, mapped.name))
}

fn to(rule: usize, name: &str) -> (usize, String) {
    (rule, name.to_owned())
}

#[test]
fn the_identity_takes_secret_paths_only() {
    let identity = Table::identity();
    assert_eq!(forward(&identity, "a/b.c"), Some(to(0, "a/b.c")));
    for name in ["", "/a", "a/", "a//b", "a/../b", "a b", "é", "a\0", "a%2fb"] {
        assert_eq!(forward(&identity, name), None, "{name:?}");
    }
    assert_eq!(identity.rules().collect::<Vec<_>>(), [("**", "**")]);
}

#[test]
fn names_are_mapped_both_ways() {
    let table = table(&[("apps/*/db/**", "kv/data/*/x/**"), ("shared/**", "**"), ("one", "prod/One!")]);
    for (path, rule, remote) in [
        ("apps/a/db/c/d", 0, "kv/data/a/x/c/d"),
        ("apps/a/db", 0, "kv/data/a/x"),
        ("shared/k", 1, "k"),
        ("one", 2, "prod/One!"),
    ] {
        assert_eq!(forward(&table, path), Some(to(rule, remote)));
        assert_eq!(backward(&table, remote), Ok(to(rule, path)));
    }
    // An output that would be empty is no match.
    assert_eq!(forward(&table, "shared"), None);
    assert_eq!(forward(&table, "apps/a"), None);
    assert_eq!(backward(&table, "a b"), Err(Unmapped::NotAName));
    assert_eq!(backward(&table, "kv/data/a/x/a//b"), Err(Unmapped::NotAName));
}

#[test]
fn a_name_is_not_served_by_a_rule_that_comes_second_for_its_path() {
    let table = table(&[("a/b", "special"), ("a/*", "r/*"), ("z/**", "y/**")]);
    assert_eq!(backward(&table, "r/b"), Err(Unmapped::Shadowed { rule: 1, by: 0 }));
    assert_eq!(backward(&table, "special"), Ok(to(0, "a/b")));
    assert_eq!(backward(&table, "r/c"), Ok(to(1, "a/c")));
    assert_eq!(backward(&table, "other"), Err(Unmapped::NoRule));
}

#[test]
fn problems_say_where() {
    let problems = |spec: RuleSpec, side| {
        let found = Table::compile(&[self::spec("a", "a"), spec], side).unwrap_err();
        found.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(problems(spec("a*", "**/**"), Side::To), ["[1].from", "[1].to"]);
    assert_eq!(problems(spec("a/*", "b/**"), Side::To), ["[1].to"]);
    assert_eq!(problems(spec("*/**", "**/*"), Side::To), ["[1].to"]);
    assert_eq!(problems(spec("a b", "a b"), Side::To), ["[1].from"]);
    assert_eq!(problems(spec("a b", "a b"), Side::From), ["[1].to"]);
    for separator in ["", "/", "*", "-/", "\n"] {
        let spec = RuleSpec { separator: Some(separator.into()), ..spec("**", "**") };
        assert_eq!(problems(spec, Side::To), ["[1].separator"]);
    }
}

#[test]
fn g06_metacharacters_of_a_name_match_nothing_else() {
    let table = Table::compile(&[spec("secret/a", "a"), spec("wild/*", "b/*")], Side::From).unwrap();
    for name in ["secret/*", "secret/**", "secret/?", "secret/[a]", "secret/{a}", "secret/a+", "wild/*", "wild/?"] {
        assert_eq!(forward(&table, name), None, "{name}");
    }
}

#[test]
fn g09_the_first_rule_that_matches_wins() {
    let rules = [("a/x", "first"), ("a/*", "second/*"), ("a/x", "third"), ("**", "rest/**")];
    assert_eq!(forward(&table(&rules), "a/x"), Some(to(0, "first")));
    assert_eq!(forward(&table(&rules), "a/y"), Some(to(1, "second/y")));
    assert_eq!(forward(&table(&rules), "a/y/z"), Some(to(3, "rest/a/y/z")));
    let reversed: Vec<_> = rules.into_iter().rev().collect();
    assert_eq!(forward(&table(&reversed), "a/x"), Some(to(0, "rest/a/x")));
    assert_eq!(table(&rules).overlaps(), [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]);
}

#[test]
fn explain_shows_each_rule_that_was_tried() {
    let trials = table(&[("a", "b"), ("x/**", "**"), ("**", "r/**"), ("x", "y")]).trial("x");
    let outcomes: Vec<_> = trials.iter().map(|trial| trial.outcome.clone()).collect();
    assert_eq!(outcomes, [Err(Miss::Pattern.as_str()), Err(Miss::Empty.as_str()), Ok("r/x".to_owned())]);
    assert_eq!((trials[2].rule, &*trials[2].from, &*trials[2].to), (2, "**", "r/**"));
}

#[test]
fn collisions_are_two_names_that_meet_on_the_other_side() {
    assert_eq!(table(&[("a/*", "r/*"), ("b/*", "s/*")]).collisions(), [""; 0]);
    // the third rule never applies: the first takes its names
    let found = table(&[("a/*", "r/*"), ("b/**", "r/**"), ("a/*", "r/*")]).collisions();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`a/*`") && found[0].contains("`b/**`"), "{found:?}");
    assert!(found[0].ends_with("such as `a/x` and `b/x` to `r/x`"), "{found:?}");
    let found = table(&[("one", "r/b"), ("a/*", "r/*")]).collisions();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("such as `one` and `a/b` to `r/b`"), "{found:?}");
}

#[test]
fn exceptions_before_a_wider_rule_are_no_collisions() {
    let exceptions = [
        ("apps/ledger/signing/**", "kv/data/payments/ledger/signing/**"),
        ("apps/shared/**", "kv/data/payments/shared/**"),
        ("apps/**", "kv/data/payments/**"),
    ];
    assert_eq!(table(&exceptions).collisions(), [""; 0]);
    let renamed = [("apps/pay/**", "kv/data/payments/**"), ("apps/**", "kv/data/**")];
    let found = table(&renamed).collisions();
    assert_eq!(found.len(), 1, "`apps/payments/x` goes there too: {found:?}");
}

#[test]
fn collisions_are_found_between_separators() {
    let spec = |from: &str, to: &str, separator: Option<&str>| RuleSpec {
        separator: separator.map(String::from),
        ..self::spec(from, to)
    };
    let collisions = |specs: &[RuleSpec]| Table::compile(specs, Side::To).unwrap().collisions().len();
    assert_eq!(collisions(&[spec("a/**", "prod/**", Some("--")), spec("b/*", "*", None)]), 1);
    assert_eq!(collisions(&[spec("a/**", "prod/**", Some("--")), spec("b/*", "prod/*", None)]), 0);
}

#[test]
fn a_rule_could_yield_what_is_prefix_compatible() {
    let table = table(&[("a/*/c", "*"), ("a/**/c", "**"), ("a", "b")]);
    for (folder, expected) in [
        ("", [true, true, true]),
        ("a", [true, true, false]),
        ("a/b", [true, true, false]),
        ("a/b/c", [false, true, false]),
        ("b", [false; 3]),
    ] {
        assert_eq!([0, 1, 2].map(|rule| table.could_yield(rule, folder)), expected, "{folder}");
    }
    assert!(!table.could_yield(3, ""));
}

#[test]
fn a_separator_joins_what_it_can_split_again() {
    let spec = RuleSpec { separator: Some("--".into()), ..spec("apps/**", "prod/**") };
    let table = Table::compile(&[spec], Side::To).unwrap();
    assert_eq!(forward(&table, "apps/a/b-c"), Some(to(0, "prod--a--b-c")));
    assert_eq!(backward(&table, "prod--a--b-c"), Ok(to(0, "apps/a/b-c")));
    for refused in ["apps/a--b", "apps/-a", "apps/a-/b", "apps/-"] {
        assert_eq!(forward(&table, refused), None, "{refused}");
    }
    for refused in ["prod---a", "prod--a---b", "prod--a-", "prod--", "prod--a----b", "prod--a/b"] {
        assert_eq!(backward(&table, refused), Err(Unmapped::NotAName), "{refused}");
    }
}

#[test]
fn a_separator_on_a_wire_joins_the_name_after_its_project() {
    let spec = RuleSpec { separator: Some("_".into()), ..spec("my-project/**", "gcp/**") };
    let table = Table::compile(&[spec], Side::From).unwrap();
    assert_eq!(forward(&table, "my-project/db_pw"), Some(to(0, "gcp/db/pw")));
    assert_eq!(backward(&table, "gcp/db/pw"), Ok(to(0, "my-project/db_pw")));
    assert_eq!(forward(&table, "my-project/db/pw"), None);
    assert_eq!(forward(&table, "my-project_db"), None);
}

#[test]
fn escapes_make_foreign_characters_names() {
    let spec = RuleSpec { escape: true, ..spec("aws/**", "**") };
    let table = Table::compile(&[spec], Side::To).unwrap();
    assert_eq!(backward(&table, "rds!db/a@b"), Ok(to(0, "aws/rds_x21_db/a_x40_b")));
    assert_eq!(forward(&table, "aws/rds_x21_db/a_x40_b"), Some(to(0, "rds!db/a@b")));
    for refused in ["aws/_x61_", "aws/_x2F_", "aws/_x2f_", "aws/_x0_", "aws/_x", "aws/_x2e_"] {
        assert_eq!(forward(&table, refused), None, "{refused}");
    }
}

fn segment() -> impl Strategy<Value = String> {
    "[ab]|[-_x!a]{1,5}"
}

fn template() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(proptest::sample::select(vec!["a", "b", "*", "**"]), 1..4)
        .prop_filter("one `**`", |pieces| pieces.iter().filter(|piece| **piece == "**").count() < 2)
}

/// Rules whose sides hold the same wildcards between different literals.
fn rules() -> impl Strategy<Value = Vec<RuleSpec>> {
    let rule = (template(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(from, is_moved, joins, escape)| {
        let mut to: Vec<_> = from.iter().copied().filter(|piece| piece.contains('*') || !is_moved).collect();
        to.insert(0, "r");
        let separator = joins.then(|| "--".to_owned());
        RuleSpec { from: from.join("/"), to: to.join("/"), separator, escape }
    });
    proptest::collection::vec(rule, 1..4)
}

/// Every name of up to five segments `a` and `b`.
fn short_names() -> Vec<String> {
    let mut all: Vec<String> = vec!["a".into(), "b".into()];
    let mut last = all.clone();
    for _ in 1..5 {
        last = last.iter().flat_map(|name| [format!("{name}/a"), format!("{name}/b")]).collect();
        all.extend(last.clone());
    }
    all
}

proptest! {
    #[test]
    fn every_collision_of_short_names_is_told(rules in rules()) {
        let plain = |rule: RuleSpec| RuleSpec { separator: None, escape: false, ..rule };
        let rules: Vec<RuleSpec> = rules.into_iter().map(plain).collect();
        let table = Table::compile(&rules, Side::To).unwrap();
        let mut led = std::collections::HashSet::new();
        let meet = short_names()
            .into_iter()
            .find(|name| table.forward(name).is_some_and(|mapped| !led.insert(mapped.name)));
        if let Some(name) = meet {
            prop_assert!(!table.collisions().is_empty(), "another name leads where `{}` leads: {:?}", name, rules);
        }
    }

    #[test]
    fn forward_after_backward_is_the_identity(
        rules in rules(),
        joint in proptest::sample::select(vec!["/", "--"]),
        segments in proptest::collection::vec(segment(), 1..4),
    ) {
        let table = Table::compile(&rules, Side::To).unwrap();
        let remote = format!("r{joint}{}", segments.join(joint));
        if let Ok(found) = table.backward(&remote) {
            prop_assert_eq!(table.forward(&found.name), Some(Mapped { rule: found.rule, name: remote }));
        }
    }

    #[test]
    fn every_path_comes_back_through_its_own_rule(
        rules in rules(),
        segments in proptest::collection::vec("[ab]|[-_x21a]{1,6}", 1..4),
    ) {
        let table = Table::compile(&rules, Side::To).unwrap();
        let path = segments.join("/");
        if let Some(mapped) = table.forward(&path) {
            let rule = &table.rules[mapped.rule];
            // A template with more literals on one side may be entered from another place, never left to another name.
            let back = rule.map(&mapped.name, Side::From).unwrap();
            prop_assert_eq!(back, path);
        }
    }

    #[test]
    fn a_separator_with_escapes_is_injective(
        separator in proptest::sample::select(vec!["-", "--", "_", "aba", "!", "-_"]),
        one in proptest::collection::vec("[-_!ab]{1,4}", 1..4),
        two in proptest::collection::vec("[-_!ab]{1,4}", 1..4),
    ) {
        let spec = RuleSpec { separator: Some(separator.into()), escape: true, ..spec("**", "**") };
        let table = Table::compile(&[spec], Side::To).unwrap();
        let path = |segments: &[String]| {
            let segments = segments.iter().map(|segment| crate::mapping::escape::encode(segment));
            segments.collect::<Vec<_>>().join("/")
        };
        let (one, two) = (path(&one), path(&two));
        if let (Some(a), Some(b)) = (table.forward(&one), table.forward(&two)) {
            prop_assert_eq!(a == b, one == two);
            prop_assert_eq!(table.backward(&a.name).unwrap().name, one);
        }
    }

    #[test]
    fn g09_reordering_rules_that_do_not_overlap_changes_nothing(
        rules in rules(),
        segments in proptest::collection::vec("[ab]", 1..5),
    ) {
        let table = Table::compile(&rules, Side::To).unwrap();
        let path = segments.join("/");
        if table.overlaps().is_empty() {
            let reversed: Vec<_> = rules.iter().rev().cloned().collect();
            let other = Table::compile(&reversed, Side::To).unwrap();
            let name = |table: &Table| table.forward(&path).map(|mapped| mapped.name);
            prop_assert_eq!(name(&table), name(&other));
        }
    }
}

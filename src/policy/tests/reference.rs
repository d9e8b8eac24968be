//! Decisions held against a matcher that is too simple to be wrong.

use proptest::prelude::*;

use super::{compiled, secret, someone};
use crate::secret::Action;

const FOLDERS: [&str; 6] = ["", "a", "a/b", "a/b/c", "ab", "b"];
const GROUPS: [&str; 3] = ["x", "y", "z"];
const SECRETS: [&str; 6] = ["k", "a/k", "a/b/k", "a/b/c/k", "ab/k", "b/k"];
const ACTIONS: [Action; 3] = [Action::Read, Action::Write, Action::Delete];

/// A policy in words a slow matcher understands: applies to the group (or all), the action (or all), the folder.
#[derive(Clone, Debug)]
struct Rule {
    forbids: bool,
    group: Option<&'static str>,
    action: Option<Action>,
    folder: &'static str,
}

impl Rule {
    fn text(&self, index: usize) -> String {
        let effect = if self.forbids { "forbid" } else { "permit" };
        let group = self.group.map_or("principal".to_owned(), |group| format!("principal in Group::\"{group}\""));
        let action =
            self.action.map_or("action".to_owned(), |action| format!("action == Action::\"{}\"", action.as_str()));
        format!("@id(\"p{index}\") {effect} ({group}, {action}, resource in Folder::\"{}\");\n", self.folder)
    }

    fn applies(&self, groups: &[&str], action: Action, secret: &str) -> bool {
        self.group.is_none_or(|group| groups.contains(&group))
            && self.action.is_none_or(|wanted| wanted == action)
            && (self.folder.is_empty() || secret.starts_with(&format!("{}/", self.folder)))
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let group = proptest::option::of(proptest::sample::select(GROUPS.to_vec()));
    let action = proptest::option::of(proptest::sample::select(ACTIONS.to_vec()));
    let folder = proptest::sample::select(FOLDERS.to_vec());
    (any::<bool>(), group, action, folder).prop_map(|(forbids, group, action, folder)| Rule {
        forbids,
        group,
        action,
        folder,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forbid_wins_and_default_is_deny_as_a_slow_matcher_says(
        rules in proptest::collection::vec(rule(), 0..6),
        groups in proptest::sample::subsequence(GROUPS.to_vec(), 0..=3),
    ) {
        let text: String = rules.iter().enumerate().map(|(index, rule)| rule.text(index)).collect();
        let policies = compiled(&text);
        let principal = someone("p", &groups, &[]);
        for name in SECRETS {
            for action in ACTIONS {
                let deciding = |forbids: bool| -> Vec<String> {
                    let found = rules.iter().enumerate();
                    found
                        .filter(|(_, rule)| rule.forbids == forbids && rule.applies(&groups, action, name))
                        .map(|(index, _)| format!("p{index}"))
                        .collect()
                };
                let (forbids, permits) = (deciding(true), deciding(false));
                let expected = if !forbids.is_empty() {
                    Err(forbids)
                } else if permits.is_empty() {
                    Err(vec![])
                } else {
                    Ok(permits)
                };
                prop_assert_eq!(secret(&policies, &principal, action, name), expected, "{} {:?}", name, action);
            }
        }
    }
}

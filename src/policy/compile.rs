//! Policy texts to one Cedar policy set, or every problem in them at once.
//!
//! Stricter than Cedar: a policy without an `@id` is refused (audit lines name it), so is a template, and so is a name
//! that no secret or folder can have, because a forbid that can never match protects nothing.

use std::collections::{BTreeSet, HashMap};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, ValidationMode};

use crate::secret::{Folder, SecretPath};

use super::mention::Mentions;
use super::question::SystemArea;
use super::vocabulary::Vocabulary;

const MAX_ID_BYTES: usize = 128;

/// A set whose policies are named by their `@id`. The default denies everything.
#[derive(Default)]
pub(super) struct Compiled {
    pub(super) set: PolicySet,
    pub(super) mentions: Mentions,
    /// What validation found odd but not wrong.
    pub(super) warnings: Vec<String>,
}

/// Compiles files, each given as its name and its text. The errors are all problems of all files, in file order.
pub(super) fn compile(sources: &[(String, String)]) -> Result<Compiled, Vec<String>> {
    let words = Vocabulary::shipped().map_err(|problem| vec![problem.to_owned()])?;
    let mut draft = Draft::default();
    for (name, text) in sources {
        draft.add(words, &File { name, text });
    }
    draft.finish()
}

/// The policies and problems found so far.
#[derive(Default)]
struct Draft {
    policies: Vec<Policy>,
    /// Where each `@id` was first used.
    places: HashMap<String, String>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Draft {
    fn add(&mut self, words: &Vocabulary, file: &File<'_>) {
        let parsed = match file.text.parse::<PolicySet>() {
            Ok(parsed) => parsed,
            Err(errors) => {
                self.problems.extend(errors.iter().map(|error| file.found(&DetailedError::from(error))));
                return;
            }
        };
        let mut named = PolicySet::new();
        for (offset, statement) in statements(&parsed, file.text) {
            let place = file.place(offset);
            let Statement::Policy(policy) = statement else {
                self.problems.push(format!("{place}: a template (`?principal`, `?resource`); name the entity instead"));
                continue;
            };
            for literal in policy.entity_literals().into_iter().collect::<BTreeSet<_>>() {
                if let Some(why) = unmatchable(&literal) {
                    self.problems.push(format!("{place}: {literal} can never match: {why}"));
                }
            }
            let policy = self.name(policy, &place);
            if let Err(error) = named.add(policy.clone()) {
                self.problems.push(format!("{place}: {error}"));
            }
            self.policies.push(policy);
        }
        self.validate(words, file, &named);
    }

    /// The policy under its `@id`; under its place, and with a problem noted, if it has none of its own.
    fn name(&mut self, policy: &Policy, place: &str) -> Policy {
        let problem = match policy.annotation("id") {
            None | Some("") => "the policy has no @id; it needs one, audit lines name it".to_owned(),
            Some(id) if id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) => {
                format!("the @id is longer than {MAX_ID_BYTES} bytes or holds a control character")
            }
            Some(id) => match self.places.get(id) {
                Some(first) => format!("the @id `{id}` is already used at {first}"),
                None => {
                    self.places.insert(id.to_owned(), place.to_owned());
                    return policy.new_id(PolicyId::new(id));
                }
            },
        };
        self.problems.push(format!("{place}: {problem}"));
        policy.new_id(PolicyId::new(place))
    }

    fn validate(&mut self, words: &Vocabulary, file: &File<'_>, named: &PolicySet) {
        let outcome = words.validator.validate(named, ValidationMode::Strict);
        self.problems.extend(file.all_found(outcome.validation_errors().map(DetailedError::from)));
        self.warnings.extend(file.all_found(outcome.validation_warnings().map(DetailedError::from)));
    }

    fn finish(self) -> Result<Compiled, Vec<String>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut mentions = Mentions::default();
        for policy in &self.policies {
            mentions.add(policy);
        }
        let set = PolicySet::from_policies(self.policies).map_err(|error| vec![error.to_string()])?;
        Ok(Compiled { set, mentions, warnings: self.warnings })
    }
}

/// One policy file.
struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    /// All that Cedar found, in the order of the text; the validator gives them in none, and some of them twice.
    fn all_found(&self, errors: impl Iterator<Item = DetailedError>) -> impl Iterator<Item = String> {
        let ordered: BTreeSet<_> = errors.map(|error| (start(&error), self.found(&error))).collect();
        ordered.into_iter().map(|(_, found)| found)
    }

    /// What Cedar found, where it found it, and its advice.
    fn found(&self, error: &DetailedError) -> String {
        let place = self.place(start(error));
        match &error.help {
            Some(help) => format!("{place}: {} ({help})", error.message),
            None => format!("{place}: {}", error.message),
        }
    }

    /// `file:line:column`, both from 1, the column in characters.
    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        format!("{}:{line}:{column}", self.name)
    }
}

fn start(error: &DetailedError) -> usize {
    error.source_locations.first().map_or(0, |label| label.loc.start)
}

enum Statement<'a> {
    Policy(&'a Policy),
    Template,
}

/// The statements of a file in the order of the text, each with where it starts. Cedar keeps each one's own text and
/// numbers them (`policy0`, `policy1`, …); where they start is found by looking for the texts one after the other.
fn statements<'a>(parsed: &'a PolicySet, text: &str) -> Vec<(usize, Statement<'a>)> {
    let policies = parsed
        .policies()
        .map(|policy| (number(policy.id()), policy.to_cedar().unwrap_or_default(), Statement::Policy(policy)));
    let templates =
        parsed.templates().map(|template| (number(template.id()), template.to_cedar(), Statement::Template));
    let mut found: Vec<(usize, String, Statement<'a>)> = policies.chain(templates).collect();
    found.sort_by_key(|(number, ..)| *number);
    let mut from = 0;
    let mut placed = Vec::with_capacity(found.len());
    for (_, source, statement) in found {
        let offset = text.get(from..).and_then(|rest| rest.find(source.as_str())).map_or(from, |at| from + at);
        from = offset + source.len();
        placed.push((offset, statement));
    }
    placed
}

fn number(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.strip_prefix("policy").and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX)
}

/// Every folder that a policy of the set names, once.
pub(super) fn folders(set: &PolicySet) -> Vec<Folder> {
    let literals = set.policies().flat_map(Policy::entity_literals);
    let folders = literals.filter(|literal| literal.type_name().basename() == "Folder");
    let folders: BTreeSet<Folder> = folders.filter_map(|it| Folder::parse(it.id().unescaped()).ok()).collect();
    folders.into_iter().collect()
}

/// Why nothing can ever have this name, if nothing can.
fn unmatchable(literal: &EntityUid) -> Option<String> {
    let id = literal.id().unescaped();
    match literal.type_name().basename() {
        "Folder" => Folder::parse(id).err().map(|error| error.to_string()),
        "Secret" => SecretPath::parse(id).err().map(|error| error.to_string()),
        "System" if SystemArea::parse(id).is_none() => {
            Some(format!("the areas are {}", SystemArea::ALL.map(SystemArea::as_str).join(", ")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        compile(&sources).err().unwrap_or_default()
    }

    fn problem(text: &str) -> String {
        let found = problems(&[("p.cedar", text)]);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn every_policy_needs_an_id_of_its_own() {
        let missing = problem("// a comment\n\n  permit (principal, action, resource);");
        assert!(missing.starts_with("p.cedar:3:3: the policy has no @id"), "{missing}");
        let empty = problem("@id permit (principal, action, resource);");
        assert!(empty.contains("no @id"), "{empty}");
        let long = problem(&format!("@id(\"{}\") permit (principal, action, resource);", "x".repeat(129)));
        assert!(long.contains("longer than 128"), "{long}");
        let twice = problems(&[
            ("a.cedar", r#"@id("x") permit (principal, action, resource);"#),
            ("b.cedar", "\n@id(\"x\")\nforbid (principal, action, resource);"),
        ]);
        assert_eq!(twice, ["b.cedar:2:1: the @id `x` is already used at a.cedar:1:1"]);
        let inside = problem(concat!(
            "@id(\"x\") permit (principal, action, resource);\n",
            "@id(\"X\") permit (principal, action, resource);\n",
            "@id(\"x\") permit (principal, action, resource);\n",
        ));
        assert_eq!(inside, "p.cedar:3:1: the @id `x` is already used at p.cedar:1:1");
    }

    #[test]
    fn unknown_words_are_refused_where_they_stand() {
        let text = "@id(\"x\")\npermit (principal, action, resource)\nwhen { principal.team == \"a\" };";
        let found = problems(&[("p.cedar", text)]);
        let team = found.iter().find(|problem| problem.contains("team")).unwrap();
        assert!(team.starts_with("p.cedar:3:") && team.contains("policy `x`"), "{found:?}");
        for (text, word) in [
            (r#"@id("x") permit (principal, action == Action::"fetch", resource);"#, "fetch"),
            (r#"@id("x") permit (principal in Team::"a", action, resource);"#, "Team"),
            (r#"@id("x") permit (principal, action, resource) when { context.tenant == "a" };"#, "tenant"),
        ] {
            let found = problems(&[("p.cedar", text)]);
            assert!(found.iter().any(|problem| problem.contains(word)), "{found:?}");
        }
    }

    #[test]
    fn an_optional_attribute_has_to_be_tested_for_first() {
        let text = r#"@id("x") forbid (principal, action, resource) when { context.source_ip.isLoopback() };"#;
        let unguarded = problems(&[("p.cedar", text)]);
        assert!(unguarded.iter().any(|problem| problem.contains("source_ip")), "{unguarded:?}");
    }

    #[test]
    fn templates_are_refused() {
        let found = problem(concat!(
            "@id(\"a\") permit (principal, action, resource);\n",
            "@id(\"x\") permit (principal == ?principal, action, resource);",
        ));
        assert!(found.starts_with("p.cedar:2:1: a template"), "{found}");
    }

    #[test]
    fn names_that_nothing_can_have_are_refused() {
        for name in [
            r#"Folder::"apps/""#,
            r#"Folder::"/apps""#,
            r#"Folder::"apps/*""#,
            r#"Folder::"apps/../infra""#,
            r#"Secret::"""#,
            r#"Secret::"apps/%2e""#,
        ] {
            let text = format!("@id(\"x\") forbid (principal, action, resource) when {{ resource in [{name}] }};");
            let found = problems(&[("p.cedar", &text)]);
            assert!(found.iter().any(|problem| problem.contains("can never match")), "{name}: {found:?}");
        }
        let area = r#"@id("x") permit (principal, action == Action::"administer", resource == System::"all");"#;
        let area = problem(area);
        assert!(area.contains("federation, tokens, events, seal, audit"), "{area}");
        let fine = r#"@id("x") permit (principal, action == Action::"list", resource in Folder::"");"#;
        assert_eq!(problems(&[("p.cedar", fine)]), [""; 0]);
    }

    #[test]
    fn all_problems_of_all_files_are_told_at_once() {
        let found = problems(&[
            ("a.cedar", "permit (principal, action, resource) when { principal.team == 1 };"),
            ("b.cedar", "permit (principal, action"),
            ("c.cedar", r#"@id("fine") permit (principal, action, resource);"#),
            ("d.cedar", "@id(\"y\") permit (principal, action, resource);\n\npermit (principal, action, resource);"),
        ]);
        for start in ["a.cedar:1:1: the policy has no @id", "a.cedar:1:", "b.cedar:1:", "d.cedar:3:1: "] {
            assert!(found.iter().any(|problem| problem.starts_with(start)), "{start} in {found:?}");
        }
        assert!(!found.iter().any(|problem| problem.starts_with("c.cedar")), "{found:?}");
    }

    #[test]
    fn a_policy_that_never_applies_is_a_warning() {
        let text = r#"@id("x") permit (principal, action == Action::"list", resource is Secret);"#;
        let compiled = compile(&[("p.cedar".to_owned(), text.to_owned())]).unwrap_or_default();
        assert!(compiled.warnings.iter().any(|warning| warning.starts_with("p.cedar:1:")), "{:?}", compiled.warnings);
    }
}

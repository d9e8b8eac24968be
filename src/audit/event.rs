//! One line of the trail about a request: which fields it has and in which order.
//!
//! Nothing here can hold a value: every field is a name, a number, a word of a closed set or an identifier.

use std::time::Duration;

use super::draft::Fields;
use super::{Grant, Subject};
use crate::error::ErrorKind;
use crate::mapping::RuleId;
use crate::secret::{Mode, Operation};

/// What kind of line it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// The one line of a call that reads.
    #[default]
    Read,
    /// The one line of a list.
    List,
    /// Before a write.
    Intent,
    /// After a write.
    Outcome,
    /// A call that was not admitted.
    Refusal,
    /// A call that is not about secrets.
    Note,
}

impl Kind {
    /// The last line of an admitted call.
    pub(super) const fn last(operation: Operation) -> Self {
        match operation {
            Operation::List | Operation::Scan | Operation::PassList => Self::List,
            _ if operation.is_write() => Self::Outcome,
            _ => Self::Read,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Refusal => "refusal",
            Self::Note => "note",
        }
    }
}

/// What is known of the rule that mapped the path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Rule {
    /// The line is not about a mapped path: no field.
    #[default]
    Untold,
    /// No rule maps it.
    Unmapped,
    /// This one did.
    Id(RuleId),
}

/// The fields of a line besides those of its subject. Absent ones are left out.
#[derive(Default)]
pub(super) struct Event<'a> {
    pub(super) kind: Kind,
    pub(super) path: Option<&'a str>,
    /// A folder instead of a path; written with a slash at its end.
    pub(super) folder: Option<&'a str>,
    pub(super) version: Option<u64>,
    pub(super) backend: Option<&'a str>,
    pub(super) remote: Option<&'a str>,
    pub(super) upstream_request_id: Option<&'a str>,
    pub(super) rule: Rule,
    pub(super) mode: Option<Mode>,
    /// The policies that decided; `None` if none was asked.
    pub(super) policies: Option<&'a [Box<str>]>,
    /// `None` on an intent.
    pub(super) outcome: Option<Result<(), ErrorKind>>,
    pub(super) cache: Option<&'static str>,
    pub(super) age: Option<u64>,
    pub(super) count: Option<u64>,
    pub(super) detail: Option<&'static str>,
    pub(super) target: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// What a granted route says.
    pub(super) fn about(grant: &'a Grant) -> Self {
        let route = &grant.route;
        Self {
            path: Some(route.path.as_str()),
            remote: route.targets.first().map(|target| target.remote.as_str()),
            rule: route.rule.map_or(Rule::Untold, Rule::Id),
            mode: Some(route.mode),
            policies: Some(grant.permit.policies()),
            ..Self::default()
        }
    }

    /// Writes the fields; says where the outcome's `ok` begins, if that is the outcome.
    pub(super) fn write(&self, subject: &Subject, latency: Duration, fields: &mut Fields<'_>) -> Option<usize> {
        self.write_request(subject, fields);
        self.write_secret(fields);
        let ok_at = self.write_outcome(fields);
        if let Some(source) = subject.source {
            fields.address("source", source);
        }
        fields.number("latency_us", u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        fields.word("kind", self.kind.as_str());
        if let Some(count) = self.count {
            fields.number("count", count);
        }
        if let Some(detail) = self.detail {
            fields.text("detail", detail);
        }
        text(fields, "target", self.target);
        ok_at
    }

    fn write_request(&self, subject: &Subject, fields: &mut Fields<'_>) {
        fields.id("request_id", subject.request_id);
        text(fields, "upstream_request_id", self.upstream_request_id);
        fields.number("config_generation", subject.config_generation);
        fields.word("tenant", subject.tenant.as_str());
        text(fields, "principal", subject.principal.as_ref().map(|principal| principal.id()));
        if let Some(credential) = &subject.credential {
            fields.hex("credential", credential);
        }
        fields.word("wire", subject.wire.as_str());
        fields.word("operation", subject.operation.label());
    }

    fn write_secret(&self, fields: &mut Fields<'_>) {
        text(fields, "path", self.path);
        if let Some(folder) = self.folder {
            fields.folder("path", folder);
        }
        if let Some(version) = self.version {
            fields.number("version", version);
        }
        text(fields, "backend", self.backend);
        text(fields, "remote", self.remote);
        match self.rule {
            Rule::Untold => {}
            Rule::Unmapped => {
                fields.word("rule", "none");
            }
            Rule::Id(id) => fields.pair("rule", id.backend, id.rule),
        }
        if let Some(mode) = self.mode {
            fields.word("mode", mode.as_str());
        }
        if let Some(policies) = self.policies {
            fields.texts("policies", policies);
        }
    }

    fn write_outcome(&self, fields: &mut Fields<'_>) -> Option<usize> {
        let ok_at = match self.outcome {
            Some(Ok(())) => Some(fields.word("outcome", "ok")),
            Some(Err(kind)) => {
                fields.word("outcome", kind.label());
                None
            }
            None => None,
        };
        if let Some(cache) = self.cache {
            fields.text("cache", cache);
        }
        if let Some(age) = self.age {
            fields.number("age", age);
        }
        ok_at
    }
}

fn text(fields: &mut Fields<'_>, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        fields.text(name, text);
    }
}

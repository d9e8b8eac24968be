//! A row of the table.

/// The credential a request is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    None,
    Unknown,
    Denied,
    Allowed,
}

impl Who {
    const ALL: [Self; 4] = [Self::None, Self::Unknown, Self::Denied, Self::Allowed];

    const fn principal(self) -> &'static str {
        match self {
            Self::None | Self::Unknown => "-",
            Self::Denied => "t/nobody",
            Self::Allowed => "t/admin",
        }
    }
}

/// A line that must be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) kind: &'static str,
    /// `-` on an intent.
    pub(super) outcome: &'static str,
    /// `-` if the line is about no path.
    pub(super) path: &'static str,
    /// Somebody else than the credential says.
    pub(super) principal: Option<&'static str>,
}

impl Told {
    const fn new(kind: &'static str, outcome: &'static str, path: &'static str) -> Self {
        Self { kind, outcome, path, principal: None }
    }

    pub(super) fn summary(&self, case: &Case, who: Who) -> String {
        let principal = self.principal.unwrap_or_else(|| who.principal());
        [self.kind, case.wire, case.operation, self.outcome, principal, self.path].join(" ")
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) status: u16,
    pub(super) lines: Vec<Told>,
}

impl Expected {
    pub(super) fn new(status: u16, lines: &[Told]) -> Self {
        Self { status, lines: lines.to_vec() }
    }

    /// A call that is not about a secret.
    pub(super) fn note(status: u16, outcome: &'static str) -> Self {
        Self::new(status, &[Told::new("note", outcome, "-")])
    }
}

/// A request and what becomes of it for each credential.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) wire: &'static str,
    pub(super) method: &'static str,
    pub(super) target: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: &'static str,
    pub(super) operation: &'static str,
    answers: [Expected; 4],
}

/// What a call to a secret is: a wire, a method, a target and a body.
pub(super) type Call = (&'static str, &'static str, &'static str, &'static str);

impl Case {
    /// A call about a secret or folder: refused without a known credential, denied by policy, else `ending`.
    fn about(call: Call, operation: &'static str, denied_path: &'static str, ending: Expected) -> Self {
        let (wire, method, target, body) = call;
        let unknown = refused(wire);
        let denied = Expected::new(403, &[Told::new("refusal", "denied", denied_path)]);
        let answers = [unknown.clone(), unknown, denied, ending];
        Self { wire, method, target, headers: &[], body, operation, answers }
    }

    /// One line, after which the value leaves (`ok`) or nothing is there (`not_found`).
    pub(super) fn read(call: Call, operation: &'static str, path: &'static str, status: u16) -> Self {
        let outcome = if status == 404 { "not_found" } else { "ok" };
        Self::about(call, operation, path, Expected::new(status, &[Told::new("read", outcome, path)]))
    }

    /// One line; a folder's path ends in a slash once it may be listed.
    pub(super) fn list(call: Call, operation: &'static str, folder: &'static str, listed: &'static str) -> Self {
        Self::about(call, operation, folder, Expected::new(200, &[Told::new("list", "ok", listed)]))
    }

    /// An intent before, an outcome after.
    pub(super) fn write(call: Call, operation: &'static str, path: &'static str, status: u16) -> Self {
        let lines = [Told::new("intent", "-", path), Told::new("outcome", "ok", path)];
        Self::about(call, operation, path, Expected::new(status, &lines))
    }

    /// A call any known credential may make.
    pub(super) fn own(call: Call, operation: &'static str, status: u16, outcome: &'static str) -> Self {
        let (wire, method, target, body) = call;
        let known = Expected::note(status, outcome);
        let answers = [refused(wire), refused(wire), known.clone(), known];
        Self { wire, method, target, headers: &[], body, operation, answers }
    }

    /// A call about no path that policy decides.
    pub(super) fn administration(call: Call, operation: &'static str, status: u16) -> Self {
        Self::about(call, operation, "-", Expected::note(status, "ok"))
    }

    /// The same for one that ends in an error.
    pub(super) fn administration_refused(
        call: Call,
        operation: &'static str,
        status: u16,
        outcome: &'static str,
    ) -> Self {
        Self::about(call, operation, "-", Expected::note(status, outcome))
    }

    /// A change of the process itself that policy decides: a line before it, and one that says how it ended.
    pub(super) fn change(call: Call, operation: &'static str, status: u16, outcome: &'static str) -> Self {
        let lines = [Told::new("note", "ok", "-"), Told::new("note", outcome, "-")];
        Self::about(call, operation, "-", Expected::new(status, &lines))
    }

    /// A call that needs no credential and looks at none.
    pub(super) fn open(call: Call, operation: &'static str, expected: &Expected) -> Self {
        let (wire, method, target, body) = call;
        let answers = [(); 4].map(|()| expected.clone());
        Self { wire, method, target, headers: &[], body, operation, answers }
    }

    /// The same with headers.
    pub(super) fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = (Who, &Expected)> {
        Who::ALL.into_iter().zip(&self.answers)
    }
}

/// No credential, or one that is not known: which of the two, a client cannot tell.
fn refused(wire: &str) -> Expected {
    let status = if wire == "vault" { 403 } else { 401 };
    Expected::new(status, &[Told::new("refusal", "unauthenticated", "-")])
}

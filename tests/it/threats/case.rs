//! Rows of the tables: what is sent, and what must become of it.

use super::world::{DOOR, READER};

/// Whether the backend may hear of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Not one request.
    Never,
    /// Exactly one, with this target.
    Once(&'static str),
    /// As many as it takes.
    Freely,
}

/// One bad (or just about good) input.
pub(crate) struct Case {
    pub(crate) id: &'static str,
    /// What is special about this variant.
    pub(crate) note: String,
    pub(crate) listener: &'static str,
    pub(crate) send: Vec<u8>,
    /// Half-close after sending.
    pub(crate) ends: bool,
    pub(crate) statuses: &'static [u16],
    /// Whether ending the connection without an answer is as good.
    pub(crate) may_close: bool,
    /// Whether the connection must be ended by the server.
    pub(crate) must_close: bool,
    pub(crate) reach: Reach,
    /// One of these outcomes must stand in the trail; empty: not looked at.
    pub(crate) audit: &'static [&'static str],
    /// What no answer may hold.
    pub(crate) absent: Option<&'static str>,
    /// What the answer must hold.
    pub(crate) present: Option<&'static str>,
    /// How many answers at most.
    pub(crate) answers: usize,
}

/// A row that must be refused with 400 before anything happened, and recorded as malformed.
pub(crate) fn bad(id: &'static str, note: impl Into<String>, send: Vec<u8>) -> Case {
    Case {
        id,
        note: note.into(),
        listener: DOOR,
        send,
        ends: false,
        statuses: &[400],
        may_close: false,
        must_close: false,
        reach: Reach::Never,
        audit: &["malformed"],
        absent: None,
        present: None,
        answers: 1,
    }
}

/// A row that policy or mapping must refuse.
pub(crate) fn denied(id: &'static str, note: impl Into<String>, send: Vec<u8>) -> Case {
    bad(id, note, send).status(&[403]).audit(&["denied"])
}

/// A name that decodes but that no secret can have: refused as malformed or as unmapped.
pub(crate) fn no_name(id: &'static str, note: impl Into<String>, send: Vec<u8>) -> Case {
    bad(id, note, send).status(&[400, 403]).audit(&["malformed", "denied"])
}

/// A row that must be served.
pub(crate) fn good(id: &'static str, note: impl Into<String>, send: Vec<u8>) -> Case {
    bad(id, note, send).status(&[200]).audit(&["ok"])
}

impl Case {
    pub(crate) fn status(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    pub(crate) fn audit(self, audit: &'static [&'static str]) -> Self {
        Self { audit, ..self }
    }

    /// Reaches the backend once, with exactly this target.
    pub(crate) fn reaches(self, target: &'static str) -> Self {
        Self { reach: Reach::Once(target), ..self }
    }

    pub(crate) fn freely(self) -> Self {
        Self { reach: Reach::Freely, ..self }
    }

    pub(crate) fn on(self, listener: &'static str) -> Self {
        Self { listener, ..self }
    }

    /// An end of the connection without an answer is as good, and then there is no line to look for.
    pub(crate) fn or_closed(self) -> Self {
        Self { may_close: true, ..self }
    }

    pub(crate) fn closes(self) -> Self {
        Self { must_close: true, ..self }
    }

    /// Half-closes after sending.
    pub(crate) fn ends(self) -> Self {
        Self { ends: true, ..self }
    }

    pub(crate) fn absent(self, text: &'static str) -> Self {
        Self { absent: Some(text), ..self }
    }

    pub(crate) fn present(self, text: &'static str) -> Self {
        Self { present: Some(text), ..self }
    }

    pub(crate) fn answers(self, answers: usize) -> Self {
        Self { answers, ..self }
    }
}

/// A request of the vault wire with the reader's token; the target is sent as it is.
pub(crate) fn vault(method: &str, target: impl AsRef<[u8]>, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    with_token(READER, method, target, headers, body)
}

/// A read on the vault wire with the reader's token.
pub(crate) fn read(target: impl AsRef<[u8]>) -> Vec<u8> {
    vault("GET", target, &[], b"")
}

/// A request of the vault wire with some token; an empty one sends none.
pub(crate) fn with_token(
    token: &str,
    method: &str,
    target: impl AsRef<[u8]>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut all = Vec::new();
    if !token.is_empty() {
        all.push(("X-Vault-Token", token));
    }
    all.extend_from_slice(headers);
    bytes(method, target.as_ref(), &all, body)
}

/// A request of the scaivault wire with the reader's token.
pub(crate) fn scaivault(method: &str, target: impl AsRef<[u8]>, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let bearer = format!("Bearer {READER}");
    let mut all = vec![("Authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    bytes(method, target.as_ref(), &all, body)
}

/// A whole request. `Host`, `Connection: close` and `Content-Length` are added unless given.
pub(crate) fn bytes(method: &str, target: &[u8], headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let has = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let mut out = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"].concat();
    let mut line = |name: &str, value: &str| out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    if !has("host") {
        line("Host", "127.0.0.1");
    }
    for (name, value) in headers {
        line(name, value);
    }
    if !has("connection") {
        line("Connection", "close");
    }
    let framed = has("content-length") || has("transfer-encoding");
    if !framed && (!body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH")) {
        line("Content-Length", &body.len().to_string());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

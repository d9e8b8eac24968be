//! Lines of a Vault or OpenBao audit device, as far as they say which secret was just changed: what makes a refresh follow
//! a write at once where the server has no other way to tell. A line is believed to be true and trusted with nothing: all
//! it can cause is that a path is looked at. Values in it are never looked at, and nothing of it is kept.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The longest line that is read; a longer one says nothing.
pub const MAX_AUDIT_LINE: usize = 1024 * 1024;

/// What was read is no line of an audit device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAuditLine;

/// A change of a key-value secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The namespace: segments without a slash at either end, empty for the root.
    pub namespace: String,
    /// The mount within the namespace, without a slash at either end.
    pub mount: String,
    /// The API path that was written, within the namespace: `secret/data/app/db`.
    pub path: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(borrow)]
    request: Request<'a>,
}

/// What a request did not get to has no mount, and a device's own test has less still.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    path: Cow<'a, str>,
    #[serde(borrow, default)]
    mount_type: Cow<'a, str>,
    #[serde(borrow, default)]
    mount_point: Cow<'a, str>,
    #[serde(default)]
    namespace: Option<Namespace>,
}

#[derive(Default, Deserialize)]
struct Namespace {
    #[serde(default)]
    path: String,
}

/// What a line says was changed; `None` for reads, failures and other engines.
///
/// # Errors
/// When it is no line of an audit device, or too long for one.
pub fn changed(line: &[u8]) -> Result<Option<Changed>, NoAuditLine> {
    if line.len() > MAX_AUDIT_LINE {
        return Err(NoAuditLine);
    }
    serde_json::from_slice(line).map(write_of).map_err(|_| NoAuditLine)
}

fn write_of(Line { kind, error, request }: Line<'_>) -> Option<Changed> {
    let writes = matches!(&*request.operation, "create" | "update" | "patch" | "delete");
    if kind != "response" || error.is_some() || !writes || request.mount_type != "kv" {
        return None;
    }
    let namespace = request.namespace.unwrap_or_default().path;
    // the mount is told from the root, the path from its namespace
    let mount = request.mount_point.strip_prefix(namespace.as_str())?.trim_end_matches('/');
    let below = request.path.strip_prefix(mount)?.strip_prefix('/')?;
    let is_name = |part: &str| !part.is_empty() && !part.chars().any(char::is_control);
    if mount.is_empty() || !below.split('/').all(is_name) {
        return None;
    }
    Some(Changed {
        mount: mount.to_owned(),
        path: request.path.as_ref().to_owned(),
        namespace: namespace.trim_end_matches('/').to_owned(),
    })
}

impl Changed {
    /// What the changed secret can be called as a remote name: as a name of KV version 1, and, where the path lies in one
    /// of its areas, as one of version 2. A line does not say which version a mount has; rules that name it do.
    pub fn remote_names(&self) -> impl Iterator<Item = String> {
        let below = self.path.strip_prefix(self.mount.as_str()).and_then(|below| below.strip_prefix('/'));
        let in_area = below
            .and_then(|below| below.split_once('/'))
            .filter(|(area, _)| matches!(*area, "data" | "metadata" | "delete" | "undelete" | "destroy"));
        let second = in_area.map(|(_, name)| format!("{}/data/{name}", self.mount));
        let second = second.filter(|second| *second != self.path);
        [self.path.clone()].into_iter().chain(second)
    }

    /// The same for a client whose calls are all made in `namespace`, segments without a slash at either end: what lies in
    /// a namespace within it has that before its name, what lies elsewhere has none.
    #[must_use]
    pub fn remote_names_in(&self, namespace: &str) -> Vec<String> {
        let inner = match self.namespace.strip_prefix(namespace) {
            Some(inner) if namespace.is_empty() || inner.is_empty() => Some(inner),
            Some(inner) => inner.strip_prefix('/'),
            None => None,
        };
        match inner {
            None => Vec::new(),
            Some("") => self.remote_names().collect(),
            Some(inner) => self.remote_names().map(|name| format!("{inner}/{name}")).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As OpenBao 2.7.2 writes it, without what is not read.
    fn line(kind: &str, error: &str, operation: &str, path: &str) -> String {
        let mount_point = path.split_once('/').unwrap().0;
        format!(
            r#"{{"time":"2026-11-23T16:52:14.044918002Z","type":"{kind}",{error}"auth":{{"client_token":"hmac-sha256:e8ca","policies":["root"]}},"request":{{"id":"45ec","operation":"{operation}","mount_point":"{mount_point}/","mount_type":"kv","mount_class":"secret","client_token":"hmac-sha256:e8ca","namespace":{{"id":"root"}},"path":"{path}","data":{{"data":{{"b":"hmac-sha256:59b0"}}}},"remote_address":"127.0.0.1"}},"response":{{"mount_type":"kv","data":{{"created_time":"hmac-sha256:1111"}}}}}}"#
        )
    }

    fn changed(line: &[u8]) -> Option<Changed> {
        super::changed(line).ok().flatten()
    }

    fn names(line: &str) -> Vec<String> {
        changed(line.as_bytes()).map(|changed| changed.remote_names().collect()).unwrap_or_default()
    }

    #[test]
    fn every_kind_of_write_names_its_secret() {
        for (operation, path) in [
            ("create", "secret/data/app/x"),
            ("update", "secret/data/app/x"),
            ("patch", "secret/data/app/x"),
            ("delete", "secret/data/app/x"),
        ] {
            assert_eq!(names(&line("response", "", operation, path)), ["secret/data/app/x"], "{operation}");
        }
        for area in ["metadata", "delete", "undelete", "destroy"] {
            let path = format!("secret/{area}/app/x");
            assert_eq!(names(&line("response", "", "update", &path)), [path.as_str(), "secret/data/app/x"]);
        }
        assert_eq!(names(&line("response", "", "create", "kv1/a/b c")), ["kv1/a/b c"]);
        assert_eq!(names(&line("response", "", "update", "secret/config")), ["secret/config"]);
    }

    #[test]
    fn reads_failures_requests_and_other_engines_change_nothing() {
        let write = line("response", "", "update", "secret/data/app/x");
        for (what, line) in [
            ("a request", line("request", "", "update", "secret/data/app/x")),
            (
                "a failure",
                line("response", r#""error":"1 error occurred:\n\t* invalid request\n\n","#, "update", "secret/x"),
            ),
            ("a read", line("response", "", "read", "secret/data/app/x")),
            ("a list", line("response", "", "list", "secret/metadata/app")),
            ("another engine", write.replacen(r#""mount_type":"kv""#, r#""mount_type":"system""#, 1)),
            ("another mount", write.replacen(r#""mount_point":"secret/""#, r#""mount_point":"secre/""#, 1)),
            ("an empty segment", line("response", "", "update", "secret/data//x")),
            ("half a line", write.split_at(write.len() / 2).0.to_owned()),
            ("nothing", String::new()),
            ("a list of lines", format!("[{write}]")),
            ("two lines", format!("{write}\n{write}")),
            ("too long a line", write.replace("45ec", &"x".repeat(MAX_AUDIT_LINE))),
        ] {
            assert_eq!(changed(line.as_bytes()), None, "{what}");
        }
        assert!(changed(format!("{write}\n").as_bytes()).is_some());
    }

    #[test]
    fn what_says_nothing_is_told_from_what_is_no_line() {
        let test = r#"{"time":"2026-11-23T23:25:55.6Z","type":"request","auth":{"token_type":"default"},"request":{"id":"3286","operation":"update","namespace":{"id":"root"},"path":"sys/audit/test"}}"#;
        let failed = r#"{"time":"2026-11-23T23:25:55.6Z","type":"response","auth":{},"request":{"operation":"update","path":"secret/data/x"},"error":"permission denied"}"#;
        let read = line("response", "", "read", "secret/data/app/x");
        for line in [test, failed, read.as_str()] {
            assert_eq!(super::changed(line.as_bytes()), Ok(None), "{line}");
        }
        let long = " ".repeat(MAX_AUDIT_LINE + 1 - read.len()) + &read;
        for line in ["", "hello", "{}", "[]", "GET / HTTP/1.1\r", "{\"type\":\"response\"}", long.as_str()] {
            assert_eq!(super::changed(line.as_bytes()), Err(NoAuditLine), "{line:.40}");
        }
    }

    #[test]
    fn a_path_belongs_to_its_namespace() {
        let write = line("response", "", "create", "secret/data/q")
            .replace(r#"{"id":"root"}"#, r#"{"id":"k0MyEM","path":"team1/"}"#)
            .replace(r#""mount_point":"secret/""#, r#""mount_point":"team1/secret/""#);
        let found = changed(write.as_bytes()).unwrap();
        assert_eq!((found.namespace.as_str(), found.mount.as_str()), ("team1", "secret"));
        assert_eq!(found.path, "secret/data/q");
        for (namespace, name) in
            [("", Some("team1/secret/data/q")), ("team1", Some("secret/data/q")), ("team", None), ("team1/a", None)]
        {
            assert_eq!(found.remote_names_in(namespace).first().map(String::as_str), name, "{namespace}");
        }
        let below = Changed { namespace: "team1/a".to_owned(), ..found };
        assert_eq!(below.remote_names_in("team1"), ["a/secret/data/q"]);
        let elsewhere = write.replace(r#""path":"team1/""#, r#""path":"team2/""#);
        assert_eq!(changed(elsewhere.as_bytes()), None);
    }
}

//! The `audit` block: how durable the trail is and where it goes.

use std::path::PathBuf;

use super::address::PeerAddress;
use super::raw::{Block, Item};

/// The audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// When a line counts as written.
    pub durability: Durability,
    /// A file with the key of the chain; `None` derives it from the seal.
    pub key: Option<PathBuf>,
    /// This process's name in the lines; `None` is the host name.
    pub instance: Option<String>,
    /// Where lines go; never empty in a compiled file.
    pub sinks: Vec<SinkConfig>,
}

impl Default for AuditConfig {
    /// One required sink on standard output: a process that was told nothing still leaves a trail.
    fn default() -> Self {
        Self { durability: Durability::Write, key: None, instance: None, sinks: vec![SinkConfig::stdout()] }
    }
}

/// When an audit line counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The kernel took it.
    Write,
    /// It is on the disk.
    Fsync,
}

/// A place audit lines go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// Where.
    pub kind: SinkKind,
    /// Whether no value leaves while the sink does not take lines.
    pub required: bool,
    /// The key path of the sink.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

impl SinkConfig {
    /// The sink of a process that was told nothing.
    #[must_use]
    pub fn stdout() -> Self {
        Self { kind: SinkKind::Stdout, required: true, key: "audit.sinks[0]".to_owned(), line: None }
    }
}

/// A kind of audit sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// A file that is appended to.
    File {
        /// The file.
        path: PathBuf,
    },
    /// Standard output.
    Stdout,
    /// A syslog daemon.
    Syslog {
        /// Where it listens.
        address: PeerAddress,
    },
    /// A socket that takes lines.
    Socket {
        /// Where it listens.
        address: PeerAddress,
    },
}

#[derive(Clone, Copy)]
enum Type {
    File,
    Stdout,
    Syslog,
    Socket,
}

const TYPES: [(&str, Type); 4] =
    [("file", Type::File), ("stdout", Type::Stdout), ("syslog", Type::Syslog), ("socket", Type::Socket)];
const DURABILITIES: [(&str, Durability); 2] = [("write", Durability::Write), ("fsync", Durability::Fsync)];

/// Reads `audit`.
pub(super) fn compile(item: &Item<'_>) -> Option<AuditConfig> {
    item.block(|block| {
        let default = AuditConfig::default();
        let durability = block.word("durability", &DURABILITIES).unwrap_or(default.durability);
        let key = block.optional("key").and_then(|item| item.block(|key| key.required("file")?.file()));
        let instance = block.string("instance");
        let given = block.holds("sinks");
        let sinks = block.some("sinks", sink);
        report_repeated(block, &sinks);
        Some(AuditConfig { durability, key, instance, sinks: if given { sinks } else { default.sinks } })
    })
}

fn sink(item: &Item<'_>) -> Option<SinkConfig> {
    const ELSEWHERE: &str = "is not a key of this type of sink";
    item.block(|block| {
        let kind = block.required("type").and_then(|item| item.word(&TYPES));
        let required = block.flag("required", true);
        let kind = match kind {
            None => {
                block.skip(&["path", "address"]);
                None
            }
            Some(Type::File) => {
                block.out_of_place(&["address"], ELSEWHERE);
                block.required("path").and_then(|item| item.file()).map(|path| SinkKind::File { path })
            }
            Some(Type::Stdout) => {
                block.out_of_place(&["path", "address"], ELSEWHERE);
                Some(SinkKind::Stdout)
            }
            Some(Type::Syslog) => peer(block, ELSEWHERE).map(|address| SinkKind::Syslog { address }),
            Some(Type::Socket) => peer(block, ELSEWHERE).map(|address| SinkKind::Socket { address }),
        };
        Some(SinkConfig { kind: kind?, required, key: item.key().to_owned(), line: Some(item.line()) })
    })
}

fn peer(block: &mut Block<'_>, elsewhere: &str) -> Option<PeerAddress> {
    block.out_of_place(&["path"], elsewhere);
    block.required("address")?.parse(PeerAddress::parse)
}

/// Two chains in one place could not be told apart.
fn report_repeated(block: &Block<'_>, sinks: &[SinkConfig]) {
    for (at, sink) in sinks.iter().enumerate() {
        if sinks.iter().take(at).any(|earlier| earlier.kind == sink.kind) {
            block.scope().refuse(&sink.key, sink.line, "repeats an earlier sink");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::harness::{accepted, refuses, with};

    #[test]
    fn every_sink_is_read() {
        let audit = accepted(&with(
            "audit: {durability: fsync, key: {file: k}, instance: a-1, sinks: [{type: file, path: a.jsonl}, \
             {type: stdout, required: false}, {type: syslog, address: 'logs:514'}, {type: socket, address: 'unix:/run/a'}]}",
        ))
        .audit;
        assert_eq!((audit.durability, audit.instance.as_deref()), (Durability::Fsync, Some("a-1")));
        assert_eq!(audit.key, Some(PathBuf::from("/etc/proxy/k")));
        let required: Vec<_> = audit.sinks.iter().map(|sink| sink.required).collect();
        assert_eq!(required, [true, false, true, true]);
        assert!(matches!(&audit.sinks[2].kind, SinkKind::Syslog { address: PeerAddress::Tcp { port: 514, .. } }));
        assert_eq!(audit.sinks[3].key, "audit.sinks[3]");
    }

    #[test]
    fn sinks_are_named_once_and_with_their_own_keys() {
        for (sinks, key, part) in [
            ("[]", "audit.sinks", "is an empty list"),
            ("[{type: kafka}]", "audit.sinks[0].type", "expected one of: file, stdout, syslog, socket"),
            ("[{type: file}]", "audit.sinks[0].path", "is required"),
            ("[{type: socket}]", "audit.sinks[0].address", "is required"),
            ("[{type: stdout, path: x}]", "audit.sinks[0].path", "is not a key of this type"),
            ("[{type: file, path: a}, {type: file, path: a}]", "audit.sinks[1]", "repeats an earlier sink"),
            ("[{type: stdout, required: yes}]", "audit.sinks[0].required", "expected true or false"),
        ] {
            refuses(&with(&format!("audit: {{sinks: {sinks}}}")), key, part);
        }
    }
}

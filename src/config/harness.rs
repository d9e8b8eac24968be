//! What the tests of this room share.

use std::path::Path;

use super::{Config, compile_text};

/// The problems of a configuration that must be refused, as printed.
pub(super) fn refused(text: &str) -> Vec<String> {
    match compile_text(text, Path::new("/etc/proxy")) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// A configuration that must be accepted.
pub(super) fn accepted(text: &str) -> Config {
    match compile_text(text, Path::new("/etc/proxy")) {
        Ok(config) => config,
        Err(problems) => panic!("refused: {problems:#?}\n{text}"),
    }
}

/// Asserts that exactly the named problem comes out: `key` as printed before the line, and a part of the message.
pub(super) fn refuses(text: &str, key: &str, part: &str) {
    let found = refused(text);
    let [line] = found.as_slice() else { panic!("expected one problem, {key}: {part}, in\n{text}\nfound {found:#?}") };
    let is_key = line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" (line ") || rest.starts_with(": "));
    assert!(is_key && line.contains(part), "expected {key}: {part}\nfound {line}\nin\n{text}");
}

/// The smallest configuration, followed by `rest`.
pub(super) fn with(rest: &str) -> String {
    format!("version: 1\nlisteners: [{{wire: vault}}]\npolicies: [p.cedar]\n{rest}\n")
}

/// The smallest configuration with these listeners, followed by `rest`.
pub(super) fn listening(listeners: &str, rest: &str) -> String {
    format!("version: 1\npolicies: [p.cedar]\nlisteners:\n{listeners}\n{rest}\n")
}

/// The smallest configuration with one Vault backend whose `config` holds these keys.
pub(super) fn vault(config: &str) -> String {
    with(&format!(
        "secrets: {{infra/x: {{file: x}}}}\nbackends: [{{name: v, type: hashicorp-vault, config: {{{config}}}, \
         path_mapping: [{{from: 'a/**', to: 'secret/data/**'}}]}}]"
    ))
}

/// The smallest configuration with one Vault backend that has these keys beside name, type and config.
pub(super) fn backend(keys: &str) -> String {
    with(&format!(
        "secrets: {{infra/x: {{file: x}}}}\nbackends:\n- {{name: v, type: hashicorp-vault, \
         config: {{endpoint: 'https://v', auth_method: token, auth_config_path: infra/x}}, {keys}}}"
    ))
}

//! The `events` block of a tenant: who is told of events.

use std::path::PathBuf;

use super::raw::Item;
use super::url::HttpUrl;
use crate::secret::SecretPath;

/// Every type of event a webhook can ask for.
pub const EVENT_TYPES: [&str; 7] = [
    "federation.sync.completed",
    "federation.sync.failed",
    "federation.backend.unreachable",
    "federation.backend.recovered",
    "federation.backend.denied",
    "federation.conflict.detected",
    "config.rejected",
];

/// A receiver of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where events are posted.
    pub url: HttpUrl,
    /// The secret with the key events are signed with.
    pub secret_path: SecretPath,
    /// The types posted, each one of [`EVENT_TYPES`]; never empty.
    pub types: Vec<&'static str>,
    /// Roots that replace the system's, PEM.
    pub ca_path: Option<PathBuf>,
    /// The key path of the entry.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

/// Reads `events`.
pub(super) fn compile(item: &Item<'_>) -> Option<Vec<WebhookConfig>> {
    item.block(|block| Some(block.each("webhooks", webhook)))
}

fn webhook(item: &Item<'_>) -> Option<WebhookConfig> {
    item.block(|block| {
        let url = block.required("url").and_then(|item| item.parse(HttpUrl::parse));
        let secret_path = block.required("secret_path").and_then(|item| item.reference());
        let given = block.holds("types");
        let words = EVENT_TYPES.map(|name| (name, name));
        let types = block.some("types", |item| item.word(&words));
        let ca_path = block.file("ca_path");
        Some(WebhookConfig {
            url: url?,
            secret_path: secret_path?,
            types: if given { types } else { EVENT_TYPES.to_vec() },
            ca_path,
            key: item.key().to_owned(),
            line: Some(item.line()),
        })
    })
}

//! `identity.jwt`: the issuers whose tokens are believed. Templates stay text; what a claim may be is the identity room's
//! business.

use std::path::PathBuf;

use super::raw::{Block, Item};
use super::url::HttpUrl;

/// An issuer of JWTs. Principal, groups and folders are templates over claims (`{namespace}`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// The `iss` claim, exactly.
    pub issuer: HttpUrl,
    /// The `aud` values accepted; never empty.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: JwtKeys,
    /// Roots that replace the system's for fetching them, PEM.
    pub ca_path: Option<PathBuf>,
    /// Claims a token must have, each with the values accepted; no list is empty.
    pub allow: Vec<(String, Vec<String>)>,
    /// The template of the principal.
    pub principal: String,
    /// The templates of its groups.
    pub groups: Vec<String>,
    /// The templates of its folders.
    pub folders: Vec<String>,
    /// The key path of the entry.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

/// Where an issuer's keys are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// By OpenID discovery under the issuer.
    Discovery,
    /// At a URL.
    Url(HttpUrl),
    /// In a file.
    File(PathBuf),
}

/// Reads one of `identity.jwt`.
pub(super) fn compile(item: &Item<'_>) -> Option<JwtConfig> {
    item.block(|block| {
        let issuer = block.required("issuer").and_then(|item| item.parse(HttpUrl::parse));
        let audiences = match block.required("audiences") {
            Some(_) => block.some("audiences", Item::string),
            None => Vec::new(),
        };
        let keys = keys(block);
        let ca_path = block.file("ca_path");
        let allow = block.optional("allow").map(|item| allow(&item)).unwrap_or_default();
        let principal = block.required("principal").and_then(|item| item.parse(template));
        let groups = block.each("groups", |item| item.parse(template));
        let folders = block.each("folders", |item| item.parse(template));
        let (key, line) = (item.key().to_owned(), Some(item.line()));
        Some(JwtConfig {
            issuer: issuer?,
            audiences,
            keys,
            ca_path,
            allow,
            principal: principal?,
            groups,
            folders,
            key,
            line,
        })
    })
}

fn keys(block: &mut Block<'_>) -> JwtKeys {
    if block.holds("jwks_file") {
        block.out_of_place(&["jwks_url"], "excludes jwks_file: keys come from one place");
    }
    let url = block.optional("jwks_url").and_then(|item| item.parse(HttpUrl::parse));
    match (block.file("jwks_file"), url) {
        (Some(file), _) => JwtKeys::File(file),
        (None, Some(url)) => JwtKeys::Url(url),
        (None, None) => JwtKeys::Discovery,
    }
}

fn allow(item: &Item<'_>) -> Vec<(String, Vec<String>)> {
    let Some(entries) = item.entries() else { return Vec::new() };
    if entries.is_empty() {
        item.refuse("names no claim; remove the key to accept every token of the issuer");
    }
    let claim = |(name, item): &(&str, Item<'_>)| {
        let values = item.items()?;
        if values.is_empty() {
            item.refuse("is an empty list: no token could be accepted");
        }
        let values: Vec<String> = values.iter().filter_map(Item::string).collect();
        Some(((*name).to_owned(), values))
    };
    entries.iter().filter_map(claim).collect()
}

/// Text with claims in braces. What a claim may be is the identity room's business.
fn template(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "expected visible ASCII characters with claims in braces, such as apps/{service_account}";
    let mut open = false;
    for byte in text.bytes() {
        open = match (byte, open) {
            (b'{', false) => true,
            (b'}', true) => false,
            (b'{' | b'}', _) => return Err(EXPECTED),
            _ => open,
        };
    }
    let fits = !open && !text.contains("{}") && text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err(EXPECTED) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::harness::{accepted, refuses, with};

    fn issuer(keys: &str) -> String {
        with(&format!("identity: {{jwt: [{{issuer: 'https://i.example/', principal: '{{ns}}/{{sa}}', {keys}}}]}}"))
    }

    #[test]
    fn an_issuer_is_read_with_its_text_unchanged() {
        let text = issuer("audiences: [a], jwks_file: j, ca_path: c, allow: {ns: [x, y]}, folders: ['a/{sa}']");
        let jwt = accepted(&text).tenants.remove(0).identity.jwt.remove(0);
        assert_eq!((jwt.issuer.as_str(), &jwt.keys), ("https://i.example/", &JwtKeys::File("/etc/proxy/j".into())));
        assert_eq!(jwt.allow, [("ns".to_owned(), vec!["x".to_owned(), "y".to_owned()])]);
        assert_eq!((jwt.principal.as_str(), jwt.folders.len(), jwt.groups.len()), ("{ns}/{sa}", 1, 0));
        assert_eq!(jwt.key, "identity.jwt[0]");
        let jwt = accepted(&issuer("audiences: [a]")).tenants.remove(0).identity.jwt.remove(0);
        assert_eq!(jwt.keys, JwtKeys::Discovery);
    }

    #[test]
    fn o05_an_issuer_is_checked() {
        for (keys, key, part) in [
            ("groups: [g]", "audiences", "is required"),
            ("audiences: []", "audiences", "is an empty list"),
            ("audiences: [a], allow: {}", "allow", "names no claim"),
            ("audiences: [a], allow: {ns: []}", "allow.ns", "no token could be accepted"),
            ("audiences: [a], jwks_file: f, jwks_url: 'https://k'", "jwks_url", "excludes jwks_file"),
            ("audiences: [a], jwks_url: 'http://k.example'", "jwks_url", "loopback only"),
            ("audiences: [a], groups: ['{x']", "groups[0]", "claims in braces"),
            ("audiences: [a], groups: ['{}']", "groups[0]", "claims in braces"),
            ("audiences: [a], folders: ['a b']", "folders[0]", "claims in braces"),
        ] {
            refuses(&issuer(keys), &format!("identity.jwt[0].{key}"), part);
        }
    }
}

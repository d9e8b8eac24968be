//! What every suite stands on: a builder that starts the real binary on free loopback ports in a directory of its own, an
//! HTTP client that sends exactly the bytes it is told to, listeners for servers of a test's own, and polling with a deadline
//! in place of sleeps.
//!
//! A [`Proxy`] ends with its value; its directory is removed unless the test failed, then its place and the end of its log
//! are printed.

#![allow(dead_code, reason = "a tool box: what one suite does not need the next one does")]

mod client;
mod fill;
mod listening;
mod place;
mod proxy;
mod wait;

pub(crate) use client::{Connection, Response, raw, request, try_request};
pub(crate) use listening::{Listening, read_headers};
pub(crate) use place::Place;
pub(crate) use proxy::{Proxy, ProxyBuilder, send_signal};
pub(crate) use wait::wait_until;

/// The reader's token under [`BASIC`].
pub(crate) const READER: &str = "reader-token-of-the-harness";
/// The admin's token under [`BASIC`].
pub(crate) const ADMIN: &str = "admin-token-of-the-harness";
/// The key of the audit chain under [`BASIC`]: base64 of 32 bytes.
pub(crate) const AUDIT_KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=\n";

/// What the configurations of several suites begin with: a chained trail in `{dir}/audit`, health at `{admin}`, the
/// scaivault wire, and last the vault wire. The text given goes on inside the vault listener (its `mounts`, its `paths`),
/// then with the rest of the file.
macro_rules! config {
    ($rest:literal) => {
        concat!(
            r#"
version: 1
audit:
  key:
    file: {dir}/audit.key
  instance: it
  sinks:
    - type: file
      path: {dir}/audit/audit.jsonl
admin:
  address: {admin}
listeners:
  - wire: scaivault
    address: {scaivault}
  - wire: vault
    address: {vault}
"#,
            $rest
        )
    };
}
pub(crate) use config;

/// A configuration without a backend, the default of [`Proxy::builder`].
///
/// The scaivault wire serves the local folders `apps` and `scratch` by their own names, the vault wire as
/// `secret/apps/…` and `secret/scratch/…` (KV version 2). `t/reader` ([`READER`]) is in `readers` with the folder
/// `apps/db`, `t/admin` ([`ADMIN`]) in `admins`; what they may do is [`POLICIES`].
pub(crate) const BASIC: &str = config!(
    r#"    mounts:
      secret: {kv: 2}
    paths:
      - {from: "secret/**", to: "**"}
store:
  local: [apps, scratch]
identity:
  tokens:
    - principal: t/reader
      groups: [readers]
      folders: [apps/db]
      file: {dir}/reader.token
    - principal: t/admin
      groups: [admins]
      file: {dir}/admin.token
policies:
  - {dir}/policies.cedar
"#
);

/// The policies of [`BASIC`]: readers read, describe and list their own folders; admins do everything.
pub(crate) const POLICIES: &str = r#"
@id("readers-read-own-folders")
permit (
  principal in Group::"readers",
  action in [Action::"read", Action::"describe", Action::"list"],
  resource
) when { resource in principal.folders };

@id("admins-do-everything")
permit (principal in Group::"admins", action, resource);
"#;

//! The schemas of a backend: as it is made, changed and shown.

use serde_json::{Value, json};
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema};

use super::schema::{
    Field, Named, always, answer, any, backend_id, duration, flag, form, list, map, named, number, path, request, text,
    text_or_null, url, words,
};

const MODES: [&str; 2] = ["proxy", "sync"];
const SCOPES: [&str; 2] = ["all", "demand"];
const WRITE_MODES: [&str; 3] = ["disabled", "write_through", "local"];
const HISTORIES: [&str; 2] = ["none", "all"];
const TEMPLATE: &str = "^[^\\u0000-\\u001f]+$";

pub(super) fn schemas() -> Vec<Named> {
    vec![
        ("BackendCreate", create().into()),
        ("BackendPatch", patch().into()),
        ("Backend", shown().into()),
        ("Backends", answer(vec![("backends", list("In the order they are tried.", named("Backend")).into())]).into()),
        ("Rule", rule().into()),
        ("Nothing", request(Vec::new(), Vec::new()).into()),
    ]
}

/// The settings that may be left out.
fn settings() -> Vec<Field> {
    let rate = request(
        vec![("per_second", number("Calls in the long run.", 1).into()), ("burst", number("Calls at once.", 1).into())],
        Vec::new(),
    );
    vec![
        ("mode", words("How its paths are served; proxy if absent.", &MODES).into()),
        ("sync_interval", duration("How often a sync runs; 15m if absent.").into()),
        ("sync_scope", words("Which paths a sync pulls; all with a durable store, else demand.", &SCOPES).into()),
        ("write_mode", words("Whether and how synced paths are written; disabled if absent.", &WRITE_MODES).into()),
        ("history", words("Which versions a sync keeps; none if absent.", &HISTORIES).into()),
        ("max_versions", number("How many versions are kept; 10 if absent.", 1).into()),
        ("conflict_on", words("What counts as a conflict; both if absent.", &["both", "any"]).into()),
        (
            "conflict_policy",
            words("Who wins a conflict; backend_wins if absent.", &["backend_wins", "local_wins", "manual"]).into(),
        ),
        ("on_backend_delete", words("What becomes of copies of what is gone.", &["delete", "keep"]).into()),
        ("max_stale", duration("The age past which a copy is not served.").into()),
        ("deny_grace", duration("How long copies are served after the backend denied us.").into()),
        ("rate_limit", rate.into()),
    ]
}

fn rule() -> ObjectBuilder {
    let fallback = request(
        vec![("backend", text("Another backend's name.").into()), ("to", form("", TEMPLATE).into())],
        Vec::new(),
    );
    request(
        vec![
            ("from", form("The template of secret paths.", TEMPLATE).into()),
            ("to", form("The template of remote names: the same wildcards in the same order.", TEMPLATE).into()),
        ],
        vec![
            ("mode", words("", &MODES).into()),
            ("sync_interval", duration("").into()),
            ("sync_scope", words("", &SCOPES).into()),
            ("write_mode", words("", &WRITE_MODES).into()),
            ("history", words("", &HISTORIES).into()),
            ("max_versions", number("", 1).into()),
            ("max_stale", duration("").into()),
            ("kv_version", number("Vault only: 1 or 2.", 1).maximum(Some(2)).into()),
            ("separator", text("What joins segments of the remote name instead of `/`.").min_length(Some(1)).into()),
            ("escape", flag("Whether foreign characters are escaped.").into()),
            ("fallback", list("Where to go on, in order.", fallback).min_items(Some(1)).into()),
        ],
    )
}

fn mapping() -> RefOr<Schema> {
    AnyOfBuilder::new()
        .item(list("First match wins.", named("Rule")).min_items(Some(1)))
        .item(map("Template to template, in this order; patterns must not overlap.").min_properties(Some(1)))
        .into()
}

fn of_type(kind: &'static str, config: ObjectBuilder, example: Value) -> RefOr<Schema> {
    let required = vec![
        ("name", form("Unique in the tenant.", "^[A-Za-z0-9._-]{1,64}$").into()),
        ("type", words("", &[kind]).into()),
        ("config", config.into()),
        ("path_mapping", mapping()),
    ];
    request(required, settings()).title(Some(kind)).examples([example]).into()
}

fn create() -> OneOfBuilder {
    OneOfBuilder::new()
        .item(of_type("hashicorp-vault", vault(), vault_example()))
        .item(of_type("aws-secrets-manager", aws(), aws_example()))
        .item(of_type("azure-key-vault", azure(), azure_example()))
        .item(of_type("google-secret-manager", google(), google_example()))
}

/// What every type takes.
fn upstream() -> Vec<Field> {
    vec![
        ("proxy_url", url("A forward proxy.").into()),
        ("timeout", duration("How long a call may take; 5s if absent.").into()),
        ("attempt_timeout", duration("How long one attempt may take; 2s if absent.").into()),
    ]
}

fn config(required: Vec<Field>, optional: Vec<Field>) -> ObjectBuilder {
    request(required, optional.into_iter().chain(upstream()).collect())
}

fn vault() -> ObjectBuilder {
    let methods = ["approle", "token", "kubernetes", "aws", "gcp"];
    config(
        vec![
            ("endpoint", url("The server; https unless it is on loopback.").into()),
            ("auth_method", words("How to log in.", &methods).into()),
        ],
        vec![
            ("auth_config_path", path("The secret, under store.local, that holds the credential.").into()),
            ("namespace", path("The namespace.").into()),
            (
                "tls_verify",
                always("Its certificate is verified; only the configuration file may switch that off.").into(),
            ),
            ("mount", path("Where the auth method is mounted; its name if absent.").into()),
            ("role", text("The role asked for.").min_length(Some(1)).into()),
            ("audience", text("").min_length(Some(1)).into()),
            ("region", text("").min_length(Some(1)).into()),
            ("sts_endpoint", url("").into()),
            ("server_id", text("").min_length(Some(1)).into()),
        ],
    )
}

fn vault_example() -> Value {
    json!({
        "name": "hashicorp-production",
        "type": "hashicorp-vault",
        "config": {
            "endpoint": "https://vault.internal:8200", "auth_method": "approle",
            "auth_config_path": "infra/hashicorp/approle", "tls_verify": true, "namespace": "acme",
        },
        "path_mapping": {"external/hashicorp/**": "secret/data/**"},
        "mode": "proxy",
    })
}

fn aws() -> ObjectBuilder {
    config(
        vec![("region", text("The region.").min_length(Some(1)).into())],
        vec![
            ("credentials_path", path("The secret, under store.local, that holds an access key.").into()),
            ("role_arn", form("A role to assume.", "^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$").into()),
            ("external_id", text("").min_length(Some(1)).into()),
            ("session_name", text("").min_length(Some(1)).into()),
            ("endpoint", url("").into()),
            ("sts_endpoint", url("").into()),
            ("kms_key_id", text("").min_length(Some(1)).into()),
            ("tags", map("Tags of secrets this proxy creates.").into()),
        ],
    )
}

fn aws_example() -> Value {
    json!({
        "name": "aws-prod-sm",
        "type": "aws-secrets-manager",
        "config": {
            "region": "us-east-1", "credentials_path": "infra/aws/sm/reader",
            "role_arn": "arn:aws:iam::123456789012:role/scaivault-sm-reader",
        },
        "path_mapping": {"external/aws/**": "prod/**"},
        "mode": "sync",
        "sync_interval": "15m",
    })
}

fn azure() -> ObjectBuilder {
    let methods = ["managed_identity", "workload_identity", "client_secret", "certificate"];
    config(
        vec![("vault_url", url("The vault.").into()), ("auth_method", words("How to log in.", &methods).into())],
        vec![
            (
                "credentials_path",
                path("The secret, under store.local, that holds a client secret or a certificate.").into(),
            ),
            ("client_id", text("").min_length(Some(1)).into()),
            ("tenant_id", text("").min_length(Some(1)).into()),
            ("authority", url("").into()),
            ("resource", text("").min_length(Some(1)).into()),
            ("tags", map("Tags of secrets this proxy creates.").into()),
        ],
    )
}

fn azure_example() -> Value {
    json!({
        "name": "azure-prod-kv",
        "type": "azure-key-vault",
        "config": {"vault_url": "https://acme-prod.vault.azure.net", "auth_method": "managed_identity"},
        "path_mapping": {"external/azure/**": "**"},
        "mode": "proxy",
    })
}

fn google() -> ObjectBuilder {
    let replication = AnyOfBuilder::new()
        .item(words("Google chooses.", &["automatic"]))
        .item(list("Locations.", text("")).min_items(Some(1)));
    config(
        vec![("project_id", text("The project.").min_length(Some(1)).into())],
        vec![
            ("credentials_path", path("The secret, under store.local, that holds a service account key.").into()),
            ("auth_method", words("How to log in.", &["service_account", "workload_identity"]).into()),
            ("endpoint", url("").into()),
            ("replication", replication.into()),
            ("kms_key_name", text("").min_length(Some(1)).into()),
        ],
    )
}

fn google_example() -> Value {
    json!({
        "name": "gcp-prod-sm",
        "type": "google-secret-manager",
        "config": {"project_id": "acme-prod", "credentials_path": "infra/gcp/sm/reader-sa"},
        "path_mapping": {"external/gcp/**": "**"},
        "mode": "sync",
        "sync_interval": "30m",
    })
}

/// RFC 7396: every key of a backend, or null to remove it.
fn patch() -> ObjectBuilder {
    let keys = settings().into_iter().map(|(key, _)| key).chain(["name", "type", "config", "path_mapping"]);
    let fields = keys.map(|key| (key, any("As when making a backend; null removes it.").into())).collect();
    request(Vec::new(), fields).examples([json!({"mode": "sync", "sync_interval": "5m", "max_stale": null})])
}

fn shown() -> ObjectBuilder {
    let types = ["hashicorp-vault", "aws-secrets-manager", "azure-key-vault", "google-secret-manager"];
    let shown = answer(vec![
        ("id", backend_id().into()),
        ("name", text("Its name.").into()),
        ("type", words("Its type.", &types).into()),
        ("source", words("Where it was made.", &["file", "api"]).into()),
        ("read_only", flag("Whether it can only be changed in the configuration file.").into()),
        ("config_key", text_or_null("Its key in the configuration file.").into()),
        ("unsupported", text_or_null("Why this release cannot serve it; null if it can.").into()),
        (
            "config",
            any("By type, as when making it, with what only the file may say; credentials are references.").into(),
        ),
        ("path_mapping", list("First match wins.", named("Rule")).into()),
    ]);
    settings().into_iter().fold(shown, |shown, (key, schema)| shown.property(key, schema))
}

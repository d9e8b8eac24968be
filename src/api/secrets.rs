//! Secrets: read, list, write, delete, destroy, undelete.

use serde_json::json;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{ObjectBuilder, Type};

use super::operation::{Operation, Route, document};
use super::schema::{
    Field, Named, answer, any, example, flag, form, list, map, named, number, or_null, path_part, request, text,
    text_or_null, time, time_or_null, words,
};

const AT: &str = "/v1/secrets/{path}";
/// Canonical base64: no unused bits.
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

fn on(method: HttpMethod, id: &'static str, about: &'static str) -> Operation {
    Operation::new(method, AT, id, "secrets", about).part("path", "The secret path.", path_part())
}

fn version(about: &'static str) -> (&'static str, &'static str) {
    ("version", about)
}

pub(super) fn routes() -> Vec<Route> {
    const READ: &str = "Needs `read` for a value, `describe` for versions, `list` for names. A name that is not mapped or not \
                        allowed is 403, whether it exists or not.";
    let read = |method, id, about| {
        let (name, text) = version("Another version than the current one; for a value only.");
        on(method, id, about)
            .describe(READ)
            .query(name, text, number("A version.", 1))
            .query("versions", "The versions instead of a value.", flag(""))
            .query("list", "The names directly in the folder instead of a value.", flag(""))
            .query("limit", "At most so many names, and never more than 1,000.", number("", 1))
            .query("cursor", "Where the last page ended: its `next_cursor`.", text_of_cursor())
            .errors(&["404", "502", "503", "504"])
    };
    let (name, text) = version("Which version; the current one if absent.");
    vec![
        read(HttpMethod::Get, "readSecret", "Read a secret, its versions, or a folder").ok(
            "200",
            "The secret; with `versions` its versions, with `list` names.",
            document("SecretAnswer"),
        ),
        read(HttpMethod::Head, "headSecret", "As GET, without the body").ok("200", "It is there.", document("Any")),
        on(HttpMethod::Put, "writeSecret", "Write a new version, or undelete one")
            .describe(
                "Needs `write`. With `undelete=true` a soft-deleted version is restored and there is no body. Proxied paths \
                 are read-only.",
            )
            .query("undelete", "Restore instead of writing.", flag(""))
            .query(name, "Which version is restored; the current one if absent.", number("A version.", 1))
            .body("SecretWrite", false)
            .ok("200", "The version written.", document("SecretWritten"))
            .done("It is restored.")
            .errors(&["404", "409", "413", "502", "503", "504"]),
        on(HttpMethod::Delete, "deleteSecret", "Delete a version, or destroy it")
            .describe("Needs `delete`; with `destroy=true` `destroy`. A deleted version can be restored, a destroyed one is gone.")
            .query("destroy", "Destroy for good.", flag(""))
            .query(name, text, number("A version.", 1))
            .done("It is done, or there was nothing.")
            .errors(&["404", "502", "503", "504"]),
    ]
    .into_iter()
    .chain([root()])
    .map(Operation::route)
    .collect()
}

/// The root folder has no path to be part of.
fn root() -> Operation {
    Operation::new(HttpMethod::Get, "/v1/secrets", "listRoot", "secrets", "The names in the root folder")
        .describe("`list=true` must be given. Needs `list` on the root.")
        .query("list", "Must be true.", flag("").enum_values(Some([true])))
        .query("limit", "At most so many names, and never more than 1,000.", number("", 1))
        .query("cursor", "Where the last page ended: its `next_cursor`.", text_of_cursor())
        .ok("200", "Names.", document("Names"))
        .errors(&["502", "503", "504"])
}

fn text_of_cursor() -> ObjectBuilder {
    text("One of ours; others are refused.")
}

pub(super) fn schemas() -> Vec<Named> {
    vec![
        ("SecretWrite", write().into()),
        ("SecretWritten", written().into()),
        ("Secret", example(secret(), example_secret())),
        ("Versions", versions().into()),
        ("Names", names().into()),
        ("SecretAnswer", AnyOfBuilder::new().item(named("Secret")).item(named("Versions")).item(named("Names")).into()),
    ]
}

fn write() -> AnyOfBuilder {
    let body = |data: Field, kind: Field, is_default: bool| {
        let more = vec![
            ("metadata", map("Replaces the custom metadata.").into()),
            ("cas", number("The version that must be the current one; 0: the secret must not exist.", 0).into()),
        ];
        if is_default {
            request(vec![data], more.into_iter().chain([kind]).collect())
        } else {
            request(vec![data, kind], more)
        }
    };
    let kind =
        |word: &'static str| -> Field { ("secret_type", words("How `data` is to be understood.", &[word]).into()) };
    let json = ("data", any("Any JSON; kept byte for byte.").into());
    let text = ("data", text("UTF-8 text.").into());
    let binary = ("data", form("Bytes in base64.", BASE64).into());
    AnyOfBuilder::new()
        .item(body(json, kind("json"), true))
        .item(body(text, kind("text"), false))
        .item(body(binary, kind("binary"), false))
        .description(Some("Without `secret_type`, a string is text and anything else JSON."))
        .examples([json!({"data": {"role_id": "..", "secret_id": ".."}, "secret_type": "json"})])
}

fn written() -> ObjectBuilder {
    answer(vec![
        ("path", text("The secret path.").into()),
        ("version", number("The version written.", 1).into()),
        ("created_at", time("When.").into()),
    ])
}

fn secret() -> ObjectBuilder {
    let source = answer(vec![
        ("backend", text_or_null("The backend's name; null for local secrets.").into()),
        ("mode", words("How the path is served.", &["proxy", "sync", "local"]).into()),
        ("native_id", text_or_null("The backend's own identifier of the version.").into()),
        ("age_seconds", number("How long ago a copy was known to be what the backend has; 0 if asked live.", 0).into()),
    ]);
    answer(vec![
        ("path", text("The secret path.").into()),
        ("data", any("The value: JSON, text, or base64.").into()),
        ("secret_type", words("How to understand it.", &["json", "text", "binary"]).into()),
        ("version", number("Its version.", 0).into()),
        ("metadata", map("Custom metadata.").into()),
        ("created_at", time("When the version was written.").into()),
        ("updated_at", time_or_null("When the secret last changed, if known.").into()),
        ("source", source.into()),
    ])
}

fn example_secret() -> serde_json::Value {
    json!({
        "path": "external/hashicorp/app/db", "data": {"password": ".."}, "secret_type": "json", "version": 3,
        "metadata": {}, "created_at": "2026-11-23T10:06:57.123456Z", "updated_at": null,
        "source": {"backend": "hashicorp-production", "mode": "proxy", "native_id": null, "age_seconds": 0},
    })
}

fn versions() -> ObjectBuilder {
    let version = answer(vec![
        ("version", number("Its number.", 0).into()),
        ("native_id", text_or_null("The backend's own identifier.").into()),
        ("created_at", time("When it was written.").into()),
        ("state", words("What it is now.", &["current", "deleted", "destroyed", "disabled"]).into()),
        ("deleted_at", time_or_null("Since when it is deleted.").into()),
        ("deletes_at", time_or_null("When it deletes itself.").into()),
    ]);
    answer(vec![
        ("path", text("The secret path.").into()),
        ("current_version", number("The newest one; 0 if none.", 0).into()),
        ("metadata", map("Custom metadata.").into()),
        ("created_at", time("When the secret was made.").into()),
        ("updated_at", time("When it last changed.").into()),
        ("versions", list("Oldest first.", version).into()),
    ])
}

fn names() -> ObjectBuilder {
    answer(vec![
        ("path", text("The folder; empty for the root.").into()),
        ("names", list("Sorted; folders end in `/`.", text("A name.")).into()),
        ("next_cursor", or_null(text("Where the list goes on; null at its end."), Type::String).into()),
    ])
}

//! Tokens and principals.

use utoipa::openapi::OneOfBuilder;
use utoipa::openapi::path::HttpMethod;

use super::operation::{Operation, Route, document};
use super::schema::{Named, answer, flag, form, list, number, path, request, text, time_or_null};

const PRINCIPAL: &str = "^[A-Za-z0-9_@:-][A-Za-z0-9._@:-]*(/[A-Za-z0-9_@:-][A-Za-z0-9._@:-]*)*$";
const PRINCIPAL_PART: &str = "^[A-Za-z0-9_@:-][A-Za-z0-9._@:-]{0,127}$";

pub(super) fn routes() -> Vec<Route> {
    let revocation = |method, id, about, done| {
        let part = form("A segment of the id; further ones follow, joined by slashes.", PRINCIPAL_PART);
        Operation::new(method, "/v1/principals/{principal}/revocation", id, "tokens", about)
            .describe("Takes effect within a second. Needs `administer` on `System::\"tokens\"`.")
            .part("principal", "The principal's id.", part)
            .done(done)
    };
    let tokens = |method, id, about| Operation::new(method, "/v1/tokens", id, "tokens", about);
    vec![
        tokens(HttpMethod::Post, "issueToken", "Make a token for a principal")
            .describe("Needs `administer` on `System::\"tokens\"`. The token is shown once.")
            .body("TokenIssue", true)
            .ok("201", "The token.", document("TokenIssued")),
        tokens(HttpMethod::Delete, "revokeToken", "End a token and its children")
            .describe("Needs `administer` on `System::\"tokens\"`.")
            .body("TokenRevoke", true)
            .done("It has ended.")
            .errors(&["404"]),
        revocation(HttpMethod::Put, "revokePrincipal", "End all credentials of a principal", "They have ended."),
        revocation(
            HttpMethod::Delete,
            "restorePrincipal",
            "Allow a principal's credentials again",
            "They are allowed.",
        ),
    ]
    .into_iter()
    .map(Operation::route)
    .collect()
}

pub(super) fn schemas() -> Vec<Named> {
    let name = |about| form(about, PRINCIPAL).max_length(Some(256));
    let issue = request(
        vec![("principal", name("Who it stands for; nobody in `system/`.").into())],
        vec![
            ("groups", list("Groups the principal is in.", name("A group.")).into()),
            ("folders", list("Folders it calls its own.", path("A folder.")).into()),
            ("ttl_seconds", number("How long it lives; the tenant's `token_ttl` if absent.", 1).into()),
            ("access_key", flag("Make an access key for the aws wire instead; the token is its session token.").into()),
        ],
    );
    let issued = answer(vec![
        ("token", text("The token.").into()),
        ("accessor", text("Names the token without being one.").into()),
        ("principal", text("Who it stands for.").into()),
        ("expires_at", time_or_null("When it ends.").into()),
    ]);
    let key = answer(vec![
        ("access_key_id", text("The access key's id.").into()),
        ("secret_access_key", text("What requests are signed with.").into()),
        ("session_token", text("Goes with every request; ends the key when it is revoked.").into()),
        ("accessor", text("Names the session token without being one.").into()),
        ("principal", text("Who it stands for.").into()),
        ("expires_at", time_or_null("When it ends.").into()),
    ]);
    let issued = OneOfBuilder::new().item(issued).item(key).description(Some("The token, or the access key."));
    let by = |field: &'static str, about| request(vec![(field, text(about).min_length(Some(1)).into())], Vec::new());
    let revoke = OneOfBuilder::new()
        .item(by("token", "The token itself."))
        .item(by("accessor", "Its accessor."))
        .description(Some("Which token, by one of its names."));
    vec![("TokenIssue", issue.into()), ("TokenIssued", issued.into()), ("TokenRevoke", revoke.into())]
}

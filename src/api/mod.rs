//! The description of our own REST API: one OpenAPI 3.1 document, the same for every tenant and every caller.
//!
//! Promises: every path and method the scaivault wire serves is here with its body, its answers and its errors, and nothing
//! that it does not serve. Holds words and shapes only: no configuration, no data of a tenant. Knows nothing of how a call
//! is decided or carried out.

mod backend;
mod federation;
mod operation;
mod report;
mod schema;
mod secrets;
mod tokens;

use std::sync::OnceLock;

use bytes::Bytes;
use utoipa::openapi::path::{HttpMethod, PathItem, PathsBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};

use operation::{BEARER, Route};

const DESCRIPTION: &str = "\
One path space, one policy and one audit trail in front of several secret stores.

Bodies are `application/json`. Names in paths are percent-encoded once and never normalised; a secret path keeps its \
slashes. Every answer carries `X-Request-Id`, by which the audit trail and `GET /v1/federation/explain?request=` know it. \
Errors are problem documents (RFC 9457) whose `kind` is one of a closed list. Requests of web pages are refused, and so is \
a `Host` the listener does not answer for.";

/// The document as JSON. Made once, when first asked for.
#[must_use]
pub fn document() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    DOCUMENT.get_or_init(|| Bytes::from(serde_json::to_vec(&openapi()).unwrap_or_default())).clone()
}

fn openapi() -> OpenApi {
    let info =
        InfoBuilder::new().title("scaivault-proxy").version(env!("CARGO_PKG_VERSION")).description(Some(DESCRIPTION));
    let tags = [
        ("secrets", "Secrets by their secret path, wherever they are kept."),
        ("federation", "Backends, their syncs, their conflicts; why a name is or is not served."),
        ("tokens", "Tokens of this proxy, and the end of all credentials of a principal."),
        ("system", "The process itself."),
    ];
    let tags = tags.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    let paths = routes().into_iter().fold(PathsBuilder::new(), |paths, route| {
        let Route { method, path, operation } = route;
        paths.path(path, PathItem::new(method, operation))
    });
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token of this proxy, or a JWT of a configured issuer. A listener with `auth: workload` needs none.",
    ));
    let components = schema::all()
        .into_iter()
        .fold(ComponentsBuilder::new(), |components, (name, schema)| components.schema(name, schema))
        .response("Problem", operation::problem())
        .security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(tags))
        .paths(paths)
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new(BEARER, Vec::<String>::new())]))
        .build()
}

fn routes() -> Vec<Route> {
    [secrets::routes(), federation::routes(), tokens::routes(), system()].into_iter().flatten().collect()
}

fn system() -> Vec<Route> {
    use operation::{Operation, document as json};
    let open = |path: &'static str, id: &'static str, about: &'static str, answer: &'static str| {
        Operation::new(HttpMethod::Get, path, id, "system", about).open().ok("200", answer, json("Any"))
    };
    vec![
        open("/v1/health", "health", "Whether the process answers", "It does."),
        open("/v1/openapi.json", "openapi", "This document", "An OpenAPI 3.1 document."),
        Operation::new(HttpMethod::Get, "/v1/events", "followEvents", "system", "Follow the tenant's events")
            .describe(
                "Server-sent events, each a CloudEvents 1.0 document of the types `federation.*` and `config.rejected`. The \
                 stream ends with the rights of its caller, and after an hour. `Last-Event-ID` begins it behind an event \
                 that was seen, as far as this process still remembers. Needs `administer` on `System::\"events\"`.",
            )
            .ok("200", "The stream.", operation::stream()),
        Operation::new(HttpMethod::Post, "/v1/seal/rotate", "rotateSeal", "system", "Make a new key for the store")
            .describe(
                "`root` wraps every tenant's keys anew, `tenant` makes a new key for the caller's tenant and re-seals its \
                 records in the background. The old key goes once the new one was proved to open everything. Needs \
                 `administer` on `System::\"seal\"`.",
            )
            .body("RotateSeal", true)
            .ok("200", "The new key is used.", json("Any")),
    ]
    .into_iter()
    .map(Operation::route)
    .collect()
}

#[cfg(test)]
mod tests;

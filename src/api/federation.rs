//! Backends, their syncs, their conflicts and their quarantine, and the explanation of decisions.

use utoipa::openapi::path::HttpMethod::{Delete, Get, Patch, Post};

use super::operation::{Operation, Route, document};
use super::schema::{Named, backend_id, text, words};

const BACKENDS: &str = "/v1/federation/backends";

fn one(method: utoipa::openapi::HttpMethod, path: &'static str, id: &'static str, about: &'static str) -> Operation {
    Operation::new(method, path, id, "federation", about).part("id", "The backend.", backend_id()).errors(&["404"])
}

pub(super) fn routes() -> Vec<Route> {
    [backends(), syncs(), conflicts(), vec![explain()]].into_iter().flatten().map(Operation::route).collect()
}

fn backends() -> Vec<Operation> {
    const CONFIGURED: &str = "A backend of the configuration file is read-only here (409 names its key). Needs `administer` on \
                              the `Backend`, whose parent is the deepest folder that holds all its rules; a change of `name`, \
                              `type`, `config` or `path_mapping` needs it on `System::\"federation\"` too.";
    vec![
        Operation::new(Get, BACKENDS, "listBackends", "federation", "The backends the caller may administer")
            .describe("Of the configuration file and of the API, in the order they are tried.")
            .ok("200", "The backends.", document("Backends")),
        Operation::new(Post, BACKENDS, "createBackend", "federation", "Make a backend")
            .describe(
                "Credentials are references: `credentials_path` and `auth_config_path` are secret paths under `store.local` \
                 or `secrets`. Endpoints must be under `federation.allow_endpoints`. Rules may be an object, whose order is \
                 kept and whose patterns must not overlap; answers have a list. A type this release has no client for is \
                 kept and reported as `unsupported`. Needs `administer` on `System::\"federation\"`.",
            )
            .body("BackendCreate", true)
            .ok("201", "The backend.", document("Backend"))
            .errors(&["409"]),
        one(Get, "/v1/federation/backends/{id}", "showBackend", "A backend's settings").ok(
            "200",
            "Every setting with its effective value.",
            document("Backend"),
        ),
        one(Patch, "/v1/federation/backends/{id}", "updateBackend", "Merge a patch into a backend's settings")
            .describe(CONFIGURED)
            .patch("BackendPatch")
            .ok("200", "The backend.", document("Backend"))
            .errors(&["409"]),
        one(Delete, "/v1/federation/backends/{id}", "deleteBackend", "End a backend")
            .describe("Its copies are quarantined, not removed. A backend of the configuration file is read-only here (409).")
            .done("It has ended.")
            .errors(&["409"]),
        one(Post, "/v1/federation/backends/{id}/check", "checkBackend", "Connect, log in, and ask what we may do")
            .body("Nothing", false)
            .ok("200", "What was found.", document("Check")),
        one(Get, "/v1/federation/backends/{id}/status", "backendStatus", "Everything a dashboard polls").ok(
            "200",
            "How it is doing.",
            document("Status"),
        ),
    ]
}

fn syncs() -> Vec<Operation> {
    let run = |operation: Operation| operation.part("run", "The run.", text("Its id."));
    vec![
        one(Post, "/v1/federation/backends/{id}/sync", "syncBackend", "Sync now")
            .describe("All synced rules, or the named paths only.")
            .body("SyncRequest", false)
            .ok("202", "It runs.", document("SyncStarted"))
            .errors(&["409"]),
        one(Get, "/v1/federation/backends/{id}/syncs", "listSyncs", "The reports of the last syncs").ok(
            "200",
            "The newest first.",
            document("Reports"),
        ),
        run(one(Get, "/v1/federation/backends/{id}/syncs/{run}", "showSync", "The report of one sync")).ok(
            "200",
            "The report.",
            document("Report"),
        ),
        run(one(Delete, "/v1/federation/backends/{id}/syncs/{run}", "cancelSync", "Stop a running sync"))
            .describe("What it has copied stays; its report is kept.")
            .done("It stops.")
            .errors(&["409"]),
    ]
}

fn conflicts() -> Vec<Operation> {
    vec![
        one(Get, "/v1/federation/backends/{id}/conflicts", "listConflicts", "Paths where both sides changed")
            .describe("They are still served, and left out of syncs until they are resolved.")
            .ok("200", "The paths.", document("Conflicts")),
        one(Post, "/v1/federation/backends/{id}/conflicts/resolve", "resolveConflict", "Decide a conflict")
            .body("ConflictResolution", true)
            .done("It is decided.")
            .errors(&["409", "502", "503", "504"]),
        one(Get, "/v1/federation/backends/{id}/quarantine", "listQuarantine", "Copies no rule leads to any more")
            .describe("They are not served. The backend may be gone.")
            .ok("200", "Their paths.", document("Quarantine")),
        one(
            Post,
            "/v1/federation/backends/{id}/quarantine/adopt",
            "adoptQuarantine",
            "Make quarantined copies local secrets",
        )
        .describe("Those under `store.local`; the others stay.")
        .body("Nothing", false)
        .ok("200", "How many.", document("Adopted"))
        .errors(&["409"]),
        one(
            Post,
            "/v1/federation/backends/{id}/quarantine/purge",
            "purgeQuarantine",
            "Remove quarantined copies for good",
        )
        .body("Nothing", false)
        .ok("200", "How many.", document("Purged"))
        .errors(&["409"]),
    ]
}

fn explain() -> Operation {
    let operations = ["read", "describe", "list", "write", "delete", "destroy"];
    Operation::new(Get, "/v1/federation/explain", "explain", "federation", "Why a name is or is not served, or a request failed")
        .describe(
            "Give `name`, or `request`. Callers may explain themselves; other principals need `administer` on \
             `System::\"federation\"`, other callers' requests on `System::\"audit\"`. Whether a secret exists is not told.",
        )
        .query("name", "A name on a wire; the secret path on ours.", text(""))
        .query("wire", "Whose names; this wire's if absent.", words("", &["scaivault", "vault", "aws", "azure", "gcp"]))
        .query("operation", "What is to be done; a read if absent.", words("", &operations))
        .query("as", "Another principal.", text(""))
        .query("request", "The id of a request that failed.", text(""))
        .ok("200", "Each rule tried, where the name leads, and who permits or forbids.", document("Any"))
        .errors(&["404"])
}

pub(super) fn schemas() -> Vec<Named> {
    super::backend::schemas().into_iter().chain(super::report::schemas()).collect()
}

//! The schemas of what backends and syncs say of themselves.

use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, RefOr, Schema, Type};

use super::schema::{
    Named, answer, flag, list, named, number, number_or_null, of, path, request, text, text_or_null, time_or_null,
    words,
};

pub(super) fn schemas() -> Vec<Named> {
    let resolution = request(
        vec![
            ("path", path("The secret path.").into()),
            ("keep", words("The side that wins.", &["local", "backend"]).into()),
        ],
        Vec::new(),
    );
    let sync =
        request(Vec::new(), vec![("paths", paths("These only.").min_items(Some(1)).max_items(Some(1000)).into())]);
    let started =
        answer(vec![("run", text("The run's id.").into()), ("state", words("It runs.", &["started"]).into())]);
    let left = answer(vec![("path", text("The secret path.").into()), ("reason", text("Why it stays.").into())]);
    let adopted =
        answer(vec![("adopted", count("Now local secrets.")), ("left", list("Still in quarantine.", left).into())]);
    let mut all: Vec<Named> = vec![
        ("Check", check().into()),
        ("Status", status().into()),
        ("SyncRequest", sync.into()),
        ("SyncStarted", started.into()),
        ("Report", report().into()),
        ("Reports", answer(vec![("syncs", list("The newest first.", named("Report")).into())]).into()),
        ("Conflicts", answer(vec![("conflicts", list("By path.", conflict()).into())]).into()),
        ("ConflictResolution", resolution.into()),
        ("Quarantine", answer(vec![("count", count("How many.")), ("copies", list("By path.", copy()).into())]).into()),
        ("Adopted", adopted.into()),
        ("Purged", answer(vec![("purged", count("Removed."))]).into()),
    ];
    let rotate = request(vec![("key", words("Which.", &["root", "tenant"]).into())], Vec::new());
    all.push(("RotateSeal", rotate.into()));
    all
}

fn paths(about: &str) -> ArrayBuilder {
    list(about, path("A secret path."))
}

fn count(about: &str) -> RefOr<Schema> {
    number(about, 0).into()
}

/// Something that may be null.
fn maybe(schema: impl Into<RefOr<Schema>>) -> RefOr<Schema> {
    AnyOfBuilder::new().item(schema).item(of(Type::Null, "")).into()
}

fn check() -> ObjectBuilder {
    let error = || {
        answer(vec![
            ("kind", text("The machine's word.").into()),
            ("message", text("What is in the way, in our words.").into()),
        ])
    };
    let permissions = answer(vec![
        ("read", flag("Whether values can be read.").into()),
        ("list", flag("Whether names can be listed.").into()),
        ("write", flag("Whether values can be written.").into()),
    ]);
    let rule = answer(vec![
        ("from", text("The template of secret paths.").into()),
        ("to", text("The template of remote names.").into()),
        ("permissions", maybe(permissions)),
        ("error", maybe(error())),
    ]);
    answer(vec![
        ("ok", flag("Whether it can be reached, lets us in, and lets us read what the rules name.").into()),
        ("reachable", flag("Whether it answered and let us in.").into()),
        ("latency_ms", number_or_null("How long that took.").into()),
        ("unsupported", text_or_null("Why this release cannot ask it; null if it can.").into()),
        ("error", maybe(error())),
        ("rules", list("What the backend lets us do, by rule; null where that cannot be asked.", rule).into()),
    ])
}

fn status() -> ObjectBuilder {
    let states = ["healthy", "degraded", "behind", "unreachable", "denied", "unsupported"];
    let progress = answer(vec![
        ("run", text("The run's id.").into()),
        ("total", number_or_null("How many secrets there are to look at; null until that is known.").into()),
        ("done", count("How many were looked at.")),
    ]);
    answer(vec![
        ("state", words("How it is doing.", &states).into()),
        ("last_sync_at", time_or_null("When the last run that went through ended.").into()),
        ("next_sync_at", time_or_null("When the next run is due.").into()),
        ("last_sync", maybe(summary())),
        ("secrets_synced", count("How many copies there are.")),
        ("connection_latency_ms", number_or_null("How long it takes to answer.").into()),
        ("consecutive_failures", count("Runs in a row that could not go through.")),
        ("conflicts", count("Copies in conflict.")),
        ("skipped", count("Names the last whole run did not copy.")),
        ("staleness_seconds", number_or_null("The age of the oldest whole run; null until each rule had one.").into()),
        ("running", maybe(progress)),
        ("reason", text_or_null("Why it is unsupported, unreachable or denied, if that is known.").into()),
    ])
}

/// What a report and its short form share.
fn run() -> ObjectBuilder {
    answer(vec![
        ("id", text("The run's id.").into()),
        ("started_at", text("RFC 3339.").into()),
        ("ended_at", text("RFC 3339; empty while it runs.").into()),
        ("outcome", words("How it ended.", &["running", "completed", "partial", "failed", "cancelled"]).into()),
        ("read", count("Values read from the backend.")),
        ("created", count("Copies made.")),
        ("updated", count("Copies brought up to date.")),
        ("unchanged", count("Copies that were.")),
        ("deleted", count("Copies removed.")),
        ("pushed", count("Remote secrets brought up to date.")),
        ("conflicts", count("Conflicts found.")),
        ("duration_ms", count("How long it took.")),
    ])
}

fn summary() -> ObjectBuilder {
    run().property("skipped", count("Names not copied.")).property("errors", count("What went wrong."))
}

fn report() -> ObjectBuilder {
    let skipped =
        answer(vec![("remote", text("The remote name.").into()), ("reason", text("Why it is not copied.").into())]);
    let failure = answer(vec![
        ("remote", text("The remote name.").into()),
        ("kind", text("The machine's word.").into()),
        ("error", text("What happened, in our words.").into()),
    ]);
    run()
        .property("scope", text("What it was about: `full` or `paths`; empty while it runs."))
        .property("found", count("Remote names found that a rule maps."))
        .property("skipped", list("Names not copied, the first 1,000.", skipped))
        .property("skipped_count", count("How many there were."))
        .property("outside", count("Names outside all rules."))
        .property("unconfirmed", count("Copies kept until a second run confirms that their secret is gone."))
        .property("errors", list("What went wrong, the first 100.", failure))
        .property("error_count", count("How many there were."))
        .property("notes", list("Said once a run.", text("")))
        .property("calls", count("Calls made to the backend."))
        .property("bytes", count("Bytes of the values read."))
        .property("done", count("How many secrets were looked at; while it runs."))
        .property("total", number_or_null("How many there are to look at; while it runs, null until that is known."))
}

fn conflict() -> ObjectBuilder {
    answer(vec![
        ("path", text("The secret path.").into()),
        ("remote", text("What the backend calls it.").into()),
        ("since", text("When it was found, RFC 3339.").into()),
        ("local_version", count("Our newest version.")),
        ("remote_version", number_or_null("The backend's newest version then; null if it was gone there.").into()),
        ("agreed_version", number_or_null("Our version both sides last agreed on; null if they never did.").into()),
    ])
}

fn copy() -> ObjectBuilder {
    answer(vec![
        ("path", text("Where it stood.").into()),
        ("remote", text("What the backend calls it.").into()),
        ("ahead", flag("Whether it holds changes that are nowhere else.").into()),
        ("conflicted", flag("Whether it is a conflict nobody resolved.").into()),
        ("agreed_at", time_or_null("When both sides last agreed.").into()),
    ])
}

//! The building blocks of schemas, and the list of all that have a name.
//!
//! What a client sends is closed: unknown fields are refused. What it gets is open: later releases may say more.

use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{Array, ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema, Type};

/// A schema with its name.
pub(super) type Named = (&'static str, RefOr<Schema>);
/// A field of an object.
pub(super) type Field = (&'static str, RefOr<Schema>);

/// A secret path as a field of a body.
const PATH: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}){0,31}$";
/// One segment: what a path parameter can say.
const SEGMENT: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$";
const BACKEND_ID: &str = "^fed_[0-7][0-9A-HJKMNP-TV-Z]{25}$";
const DURATION: &str = "^([1-9][0-9]{0,2}h)?([1-9][0-9]{0,3}m)?([1-9][0-9]{0,4}s)?([1-9][0-9]{0,5}ms)?$";

/// Every schema that has a name.
pub(super) fn all() -> Vec<Named> {
    let mut all: Vec<Named> = vec![("Any", any("Any JSON.").into()), ("Problem", problem())];
    all.extend(super::secrets::schemas());
    all.extend(super::federation::schemas());
    all.extend(super::tokens::schemas());
    all
}

/// Text; what it is about may be empty where its place says enough.
pub(super) fn text(about: &str) -> ObjectBuilder {
    of(Type::String, about)
}

/// A schema of one type.
pub(super) fn of(kind: impl Into<SchemaType>, about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind).description((!about.is_empty()).then_some(about))
}

/// Text of a form.
pub(super) fn form(about: &str, pattern: &str) -> ObjectBuilder {
    text(about).pattern(Some(pattern))
}

pub(super) fn time(about: &str) -> ObjectBuilder {
    use utoipa::openapi::{KnownFormat, SchemaFormat};
    text(about).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

pub(super) fn url(about: &str) -> ObjectBuilder {
    form(about, "^https?://")
}

pub(super) fn duration(about: &str) -> ObjectBuilder {
    form(about, DURATION).min_length(Some(2)).examples(["15m", "1h30m"])
}

pub(super) fn path(about: &str) -> ObjectBuilder {
    form(about, PATH).max_length(Some(512))
}

/// A secret path in the path of a call.
pub(super) fn path_part() -> ObjectBuilder {
    form("A segment; further segments follow, joined by slashes that are not encoded.", SEGMENT)
}

pub(super) fn backend_id() -> ObjectBuilder {
    form("The backend's id.", BACKEND_ID)
}

pub(super) fn words(about: &str, words: &[&'static str]) -> ObjectBuilder {
    text(about).enum_values(Some(words.iter().copied()))
}

pub(super) fn number(about: &str, least: u32) -> ObjectBuilder {
    // the largest whole number every JSON library keeps
    const MOST: i64 = 9_007_199_254_740_991;
    of(Type::Integer, about).minimum(Some(least)).maximum(Some(MOST))
}

pub(super) fn flag(about: &str) -> ObjectBuilder {
    of(Type::Boolean, about)
}

/// A flag that can only be set.
pub(super) fn always(about: &str) -> ObjectBuilder {
    flag(about).enum_values(Some([true]))
}

pub(super) fn any(about: &str) -> ObjectBuilder {
    of(SchemaType::AnyValue, about)
}

/// The same, or null.
pub(super) fn or_null(schema: ObjectBuilder, kind: Type) -> ObjectBuilder {
    schema.schema_type(SchemaType::from_iter([kind, Type::Null]))
}

pub(super) fn time_or_null(about: &str) -> ObjectBuilder {
    or_null(time(about), Type::String)
}

pub(super) fn text_or_null(about: &str) -> ObjectBuilder {
    or_null(text(about), Type::String)
}

pub(super) fn number_or_null(about: &str) -> ObjectBuilder {
    or_null(number(about, 0), Type::Integer)
}

pub(super) fn list(about: &str, item: impl Into<RefOr<Schema>>) -> ArrayBuilder {
    ArrayBuilder::from(Array::new(item)).description(Some(about))
}

/// A mapping of texts to texts.
pub(super) fn map(about: &str) -> ObjectBuilder {
    of(Type::Object, about).additional_properties(Some(text("")))
}

pub(super) fn named(name: &'static str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

/// What a client gets.
pub(super) fn answer(fields: Vec<Field>) -> ObjectBuilder {
    fields.into_iter().fold(ObjectBuilder::new(), |object, (name, schema)| object.property(name, schema).required(name))
}

/// What a client sends: these fields and no others.
pub(super) fn request(required: Vec<Field>, optional: Vec<Field>) -> ObjectBuilder {
    let object = optional.into_iter().fold(answer(required), |object, (name, schema)| object.property(name, schema));
    object.additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

pub(super) fn example(schema: ObjectBuilder, example: Value) -> RefOr<Schema> {
    schema.examples([example]).into()
}

fn problem() -> RefOr<Schema> {
    let kinds: Vec<&'static str> = crate::error::ErrorKind::ALL.iter().map(|kind| kind.label()).collect();
    let wrong = answer(vec![
        ("key", text("The key path in the body, or a key of the configuration file.").into()),
        ("message", text("What is wrong with it.").into()),
    ]);
    answer(vec![
        ("type", text("Always `about:blank`.").into()),
        ("title", text("What happened.").into()),
        ("status", number("The status.", 400).into()),
        ("kind", words("The machine's word.", &kinds).into()),
        ("request_id", text("By which the audit trail knows the request.").into()),
    ])
    .property("detail", text("What was wrong with this request."))
    .property("errors", list("What is wrong, field by field.", wrong))
    .into()
}

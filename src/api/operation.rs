//! One call of the API, put together: its parameters, its body, its answers, and the errors every call has.

use utoipa::openapi::path::{self, HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Header, ObjectBuilder, Ref, Required};

use super::schema::text;

/// The name of the one security scheme.
pub(super) const BEARER: &str = "bearer";
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A finished call.
pub(super) struct Route {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    pub(super) operation: path::Operation,
}

/// A call while it is described.
pub(super) struct Operation {
    method: HttpMethod,
    path: &'static str,
    builder: OperationBuilder,
    is_open: bool,
}

impl Operation {
    /// A call with a bearer credential.
    pub(super) fn new(
        method: HttpMethod,
        path: &'static str,
        id: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        let builder = OperationBuilder::new().operation_id(Some(id)).tag(tag).summary(Some(summary));
        Self { method, path, builder, is_open: false }
    }

    /// Needs no credential.
    pub(super) fn open(self) -> Self {
        Self { is_open: true, ..self }
    }

    pub(super) fn describe(self, text: &'static str) -> Self {
        Self { builder: self.builder.description(Some(text)), ..self }
    }

    /// A variable part of the path.
    pub(super) fn part(self, name: &'static str, about: &'static str, schema: ObjectBuilder) -> Self {
        self.parameter(ParameterIn::Path, Required::True, name, about, schema)
    }

    /// A query parameter that may be left out.
    pub(super) fn query(self, name: &'static str, about: &'static str, schema: ObjectBuilder) -> Self {
        self.parameter(ParameterIn::Query, Required::False, name, about, schema)
    }

    fn parameter(
        self,
        place: ParameterIn,
        required: Required,
        name: &'static str,
        about: &'static str,
        schema: ObjectBuilder,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(about))
            .schema(Some(schema));
        Self { builder: self.builder.parameter(parameter), ..self }
    }

    /// A JSON body of a named schema.
    pub(super) fn body(self, schema: &'static str, is_required: bool) -> Self {
        let required = if is_required { Required::True } else { Required::False };
        let body = RequestBodyBuilder::new().required(Some(required)).content(JSON, content(schema));
        Self { builder: self.builder.request_body(Some(body.build())), ..self }
    }

    /// A merge patch of a named schema.
    pub(super) fn patch(self, schema: &'static str) -> Self {
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content(MERGE_PATCH, content(schema))
            .content(JSON, content(schema));
        Self { builder: self.builder.request_body(Some(body.build())), ..self }
    }

    /// A success.
    pub(super) fn ok(self, status: &'static str, about: &'static str, answer: Answer) -> Self {
        let mut response = ResponseBuilder::new().description(about);
        if let Answer(Some((kind, content))) = answer {
            response = response.content(kind, content);
        }
        if matches!(status, "201" | "202") {
            response = response.header("Location", Header::new(text("The path of what was made.")));
        }
        Self { builder: self.builder.response(status, response), ..self }
    }

    /// A success without a body.
    pub(super) fn done(self, about: &'static str) -> Self {
        self.ok("204", about, Answer(None))
    }

    /// Statuses of errors worth naming beside those every call has.
    pub(super) fn errors(self, statuses: &[&'static str]) -> Self {
        let problem = || Ref::from_response_name("Problem");
        let builder = statuses.iter().fold(self.builder, |builder, status| builder.response(*status, problem()));
        Self { builder, ..self }
    }

    pub(super) fn route(self) -> Route {
        let common: &[&'static str] = if self.is_open { &["default"] } else { &["400", "401", "403", "default"] };
        let Self { method, path, builder, is_open } = self.errors(common);
        let builder = if is_open { builder.securities(Some(Vec::<SecurityRequirement>::new())) } else { builder };
        Route { method, path, operation: builder.build() }
    }
}

/// What a success brings: a media type and its content, or nothing.
pub(super) struct Answer(Option<(&'static str, Content)>);

/// A JSON document of a named schema.
pub(super) fn document(schema: &'static str) -> Answer {
    Answer(Some((JSON, content(schema))))
}

/// Server-sent events.
pub(super) fn stream() -> Answer {
    Answer(Some(("text/event-stream", Content::new(Some(text("Each `data:` line is a CloudEvents document."))))))
}

/// The answer of every error. What cannot be read as HTTP is answered in plain text.
pub(super) fn problem() -> Response {
    ResponseBuilder::new()
        .description("What was wrong, as a problem document (RFC 9457).")
        .content("application/problem+json", content("Problem"))
        .content("text/plain", Content::new(Some(text("A request that could not be read."))))
        .build()
}

fn content(schema: &'static str) -> Content {
    Content::new(Some(Ref::from_schema_name(schema)))
}

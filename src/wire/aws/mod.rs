//! AWS Secrets Manager (stub while the room is written).
use super::{Answer, Decoded, Fault, Frontend, ListenerFacts, Named, Reveal, WireRequest, WireResponse};
use crate::error::ErrorKind;
use crate::secret::{Action, WireKind};
/// The server role.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsFrontend;
/// Shape.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Stub.
    Stub,
}
impl Frontend for AwsFrontend {
    fn kind(&self) -> WireKind {
        WireKind::Aws
    }
    fn decode<'r>(&self, _: &WireRequest<'r>, _: &'r ListenerFacts) -> Result<Decoded<'r>, Fault> {
        Err(Fault::of(ErrorKind::Unsupported))
    }
    fn named(&self, _: &str, _: Action, _: &ListenerFacts) -> Result<Named, &'static str> {
        Err("mount")
    }
    fn encode(&self, _: &super::Shape, _: Answer<'_>, _: Reveal<'_>) -> WireResponse {
        WireResponse::new(http::StatusCode::OK, "", bytes::Bytes::new())
    }
    fn refuse(&self, _: Fault, _: Reveal<'_>) -> WireResponse {
        WireResponse::new(http::StatusCode::OK, "", bytes::Bytes::new())
    }
}

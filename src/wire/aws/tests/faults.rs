//! Failures, as SDKs tell them apart.

use serde_json::json;

use super::{facts, reveal, told};
use crate::error::ErrorKind;
use crate::identity::{SIGNATURE_EXPIRED, SIGNATURE_INCOMPLETE, SIGNATURE_MISMATCH, SIGNATURE_MISSING};
use crate::secret::detail;
use crate::wire::aws::AwsFrontend;
use crate::wire::{Fault, Frontend as _};

#[test]
fn every_kind_has_a_code_and_only_what_may_pass_is_worth_another_try() {
    for kind in ErrorKind::ALL {
        let (status, code) = match kind {
            ErrorKind::Malformed => (400, "ValidationException"),
            ErrorKind::TooLarge => (400, "InvalidParameterException"),
            ErrorKind::Unauthenticated => (400, "UnrecognizedClientException"),
            ErrorKind::Denied | ErrorKind::ReadOnly => (400, "AccessDeniedException"),
            ErrorKind::NotFound => (400, "ResourceNotFoundException"),
            ErrorKind::Conflict => (400, "ResourceExistsException"),
            ErrorKind::Unsupported | ErrorKind::UpstreamRejected => (400, "InvalidRequestException"),
            ErrorKind::RateLimited => (400, "ThrottlingException"),
            ErrorKind::UpstreamUnavailable | ErrorKind::Timeout | ErrorKind::Sealed => {
                (503, "ServiceUnavailableException")
            }
            ErrorKind::Internal => (500, "InternalServiceError"),
        };
        let facts = facts();
        let response = AwsFrontend.refuse(Fault::of(kind), reveal(&facts));
        assert_eq!(response.headers["x-amzn-errortype"], code, "{kind}");
        let (told_status, body) = told(&response);
        assert_eq!((told_status, &body["__type"]), (status, &json!(code)), "{kind}");
        assert!(body["Message"].as_str().is_some_and(|message| message.len() > 10), "{kind}: {body}");
    }
}

#[test]
fn what_other_rooms_say_is_put_in_the_services_words() {
    for (kind, detail, code, message) in [
        (
            ErrorKind::Malformed,
            detail::MARKED_FOR_DELETION,
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
        ),
        (
            ErrorKind::Conflict,
            detail::STILL_DELETED,
            "InvalidRequestException",
            "You can't create this secret because a secret with this name is already scheduled for deletion.",
        ),
        (
            ErrorKind::Malformed,
            detail::LABEL_ELSEWHERE,
            "InvalidParameterException",
            "The parameter RemoveFromVersionId",
        ),
        (
            ErrorKind::Malformed,
            detail::LABEL_NOT_THERE,
            "InvalidRequestException",
            "You provided a VersionStage that is not associated to the provided VersionId.",
        ),
        (
            ErrorKind::Malformed,
            detail::TOO_MANY_LABELS,
            "LimitExceededException",
            "The secret has as many staging labels",
        ),
        (ErrorKind::Conflict, detail::TOKEN_REUSED, "ResourceExistsException", "You can't use this ClientRequestToken"),
        (ErrorKind::Unauthenticated, SIGNATURE_MISSING, "MissingAuthenticationTokenException", SIGNATURE_MISSING),
        (ErrorKind::Unauthenticated, SIGNATURE_INCOMPLETE, "IncompleteSignatureException", SIGNATURE_INCOMPLETE),
        (ErrorKind::Unauthenticated, SIGNATURE_MISMATCH, "InvalidSignatureException", SIGNATURE_MISMATCH),
        (ErrorKind::Unauthenticated, SIGNATURE_EXPIRED, "InvalidSignatureException", SIGNATURE_EXPIRED),
        (ErrorKind::Unauthenticated, "sent before", "InvalidSignatureException", "sent before"),
        (ErrorKind::Malformed, "the name cannot be a secret path", "ValidationException", "the name cannot be"),
    ] {
        let facts = facts();
        let (_, body) = told(&AwsFrontend.refuse(Fault::because(kind, detail), reveal(&facts)));
        assert_eq!(body["__type"], code, "{detail}");
        assert!(body["Message"].as_str().unwrap().starts_with(message), "{detail}: {body}");
    }
}

#[test]
fn a_throttled_client_is_told_when_to_come_back() {
    let facts = facts();
    let fault = Fault { retry_after: Some(3), ..Fault::of(ErrorKind::RateLimited) };
    let response = AwsFrontend.refuse(fault, reveal(&facts));
    assert_eq!((response.status.as_u16(), &response.headers["retry-after"]), (400, &"3".parse().unwrap()));
}

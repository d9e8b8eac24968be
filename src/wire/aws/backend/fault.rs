//! What an answer of Secrets Manager says when it is no success.
//!
//! INVARIANT: absence is only what the service calls so by its own error type; a 404 of anything else is about our
//! configuration. The service's own words are compared with, and never passed on.

use std::borrow::Cow;

use serde::Deserialize;

use crate::backend::{Answer, Attempt, BackendError};

/// How the service, and those that imitate it, say that a secret waits for its deletion.
const DELETED: [&str; 3] = ["marked for deletion", "marked deleted", "scheduled for deletion"];
const NOT_DELETED: &str = "not scheduled for deletion";
const NO_VALUE: &str = "specified secret value for";
const WRONG_STAGE: &str = "VersionStage that is not associated";
/// How the service says that our clock is not its own.
const SKEWED: [&str; 2] = ["Signature expired", "Signature not yet current"];
const WRONG_CLOCK: BackendError = BackendError::Login("this machine's clock differs from the backend's");

/// What the service said.
#[derive(Debug)]
pub(super) enum Told {
    /// A success.
    Answer(Answer),
    /// There is no such secret.
    Absent,
    /// There is such a secret, and not the version asked for.
    NoValue,
    /// The secret is deleted, and can be restored.
    Deleted,
    /// The secret was to be restored, and is not deleted.
    Alive,
    /// There is such a secret, or such a version with another value.
    Exists,
}

/// Why there is nothing to be had.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The service does not take our keys. Nothing was done.
    Stale,
    /// Anything else.
    Error(BackendError),
}

impl From<BackendError> for Refusal {
    fn from(error: BackendError) -> Self {
        Self::Error(error)
    }
}

#[derive(Default, Deserialize)]
struct Complaint<'a> {
    #[serde(default, borrow, rename = "__type")]
    code: Cow<'a, str>,
    // the service writes the first, its imitations the second
    #[serde(default, borrow, rename = "Message")]
    message: Option<Cow<'a, str>>,
    #[serde(default, borrow, rename = "message")]
    other_message: Option<Cow<'a, str>>,
}

/// Classifies an answer.
pub(super) fn weigh(answer: Answer, repeat: Attempt) -> Result<Told, Refusal> {
    let status = answer.status.as_u16();
    if answer.status.is_success() {
        return Ok(Told::Answer(answer));
    }
    let complaint: Complaint<'_> = serde_json::from_slice(&answer.body).unwrap_or_default();
    let header = answer.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let code = if complaint.code.is_empty() { header.unwrap_or_default() } else { &*complaint.code };
    let message = complaint.message.or(complaint.other_message).unwrap_or_default();
    if let Some(verdict) = of_code(code, &message) {
        return verdict;
    }
    Err(Refusal::Error(match status {
        429 => BackendError::RateLimited(answer.retry_after()),
        403 => BackendError::Denied,
        500..=599 if repeat == Attempt::Write => BackendError::Unknown("the backend failed while it wrote"),
        500..=599 => BackendError::Failing(status),
        _ => BackendError::Rejected(status),
    }))
}

/// What an error type means; `None` for one that means no more than its status.
pub(super) fn of_code(code: &str, message: &str) -> Option<Result<Told, Refusal>> {
    // `com.amazonaws.secretsmanager#X`, `X:http://…`
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.split(':').next().unwrap_or(code);
    let says = |text: &&str| message.contains(*text);
    let error = |error| Some(Err(Refusal::Error(error)));
    match code {
        // one imitation calls this by the type of absence
        "InvalidRequestException" | "ResourceNotFoundException" if says(&WRONG_STAGE) => {
            error(BackendError::Mislabelled)
        }
        "ResourceNotFoundException" if says(&NO_VALUE) => Some(Ok(Told::NoValue)),
        "ResourceNotFoundException" => Some(Ok(Told::Absent)),
        "ResourceExistsException" => Some(Ok(Told::Exists)),
        "InvalidRequestException" if says(&NOT_DELETED) => Some(Ok(Told::Alive)),
        "InvalidRequestException" if DELETED.iter().any(says) => Some(Ok(Told::Deleted)),
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestExpired" if SKEWED.iter().any(says) => {
            error(WRONG_CLOCK)
        }
        "RequestTimeTooSkewed" => error(WRONG_CLOCK),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken" => Some(Err(Refusal::Stale)),
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown" => error(BackendError::RateLimited(None)),
        _ if code.starts_with("AccessDenied") => error(BackendError::Denied),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn told(status: u16, code: &str, message: &str) -> Result<Told, Refusal> {
        weigh(answer(status, &format!(r#"{{"__type":"{code}","Message":"{message}"}}"#)), Attempt::Repeatable)
    }

    fn error(status: u16, code: &str) -> BackendError {
        match told(status, code, "x") {
            Err(Refusal::Error(error)) => error,
            other => panic!("{code}: {other:?}"),
        }
    }

    #[test]
    fn absence_is_what_the_service_calls_so_and_nothing_else() {
        for status in [400, 404] {
            for code in ["ResourceNotFoundException", "com.amazonaws.secretsmanager#ResourceNotFoundException"] {
                assert!(matches!(told(status, code, "gone"), Ok(Told::Absent)), "{status} {code}");
            }
        }
        for body in ["", "<html>404</html>", "{}", r#"{"__type":"NoSuchRoute"}"#] {
            let refusal = weigh(answer(404, body), Attempt::Repeatable).unwrap_err();
            assert!(matches!(refusal, Refusal::Error(BackendError::Rejected(404))), "{body}");
        }
    }

    #[test]
    fn a_deleted_secret_is_told_by_the_words() {
        let code = "InvalidRequestException";
        for message in [
            "You can't perform this operation on the secret because it was marked for deletion.",
            "You tried to perform the operation on a secret that's currently marked deleted.",
            "You can't create this secret because a secret with this name is already scheduled for deletion.",
        ] {
            assert!(matches!(told(400, code, message), Ok(Told::Deleted)), "{message}");
        }
        assert!(matches!(told(400, code, "Secret is not scheduled for deletion."), Ok(Told::Alive)));
        let mismatch = "You provided a VersionStage that is not associated to the provided VersionId.";
        assert!(matches!(told(400, code, mismatch), Err(Refusal::Error(BackendError::Mislabelled))));
        assert!(matches!(told(400, code, "Something else."), Err(Refusal::Error(BackendError::Rejected(400)))));
    }

    #[test]
    fn refusals_are_told_apart() {
        for code in ["AccessDeniedException", "AccessDenied"] {
            assert!(matches!(error(400, code), BackendError::Denied));
        }
        for code in ["ThrottlingException", "TooManyRequestsException"] {
            assert!(matches!(error(400, code), BackendError::RateLimited(None)));
        }
        for code in ["DecryptionFailure", "InvalidParameterException", "LimitExceededException", "ValidationException"]
        {
            assert!(matches!(error(400, code), BackendError::Rejected(400)), "{code}");
        }
        assert!(matches!(error(500, "InternalServiceError"), BackendError::Failing(500)));
        assert!(matches!(told(400, "ResourceExistsException", "x"), Ok(Told::Exists)));
        for code in ["UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"] {
            assert!(matches!(told(400, code, "x"), Err(Refusal::Stale)), "{code}");
        }
        let skewed = told(400, "InvalidSignatureException", "Signature expired: 1 is now earlier than 2");
        assert!(matches!(skewed, Err(Refusal::Error(BackendError::Login(_)))));
    }

    #[test]
    fn statuses_speak_where_nothing_else_does() {
        let mut limited = answer(429, "");
        limited.headers.insert("retry-after", "7".parse().unwrap());
        let refusal = weigh(limited, Attempt::Repeatable).unwrap_err();
        assert!(matches!(refusal, Refusal::Error(BackendError::RateLimited(Some(7)))));
        let mut typed = answer(400, "not JSON");
        typed.headers.insert("x-amzn-errortype", "ResourceNotFoundException:http://x/".parse().unwrap());
        assert!(matches!(weigh(typed, Attempt::Repeatable), Ok(Told::Absent)));
    }

    #[test]
    fn w04_a_failure_while_writing_is_a_doubt_and_a_throttled_write_is_none() {
        for status in [500, 502, 503, 504] {
            let refusal = weigh(answer(status, "{}"), Attempt::Write).unwrap_err();
            assert!(matches!(refusal, Refusal::Error(BackendError::Unknown(_))), "{status}");
        }
        let throttled = answer(503, r#"{"__type":"ThrottlingException"}"#);
        let refusal = weigh(throttled, Attempt::Write).unwrap_err();
        assert!(matches!(refusal, Refusal::Error(BackendError::RateLimited(None))));
    }
}

//! Failures, as the service words them: what an SDK decides by is `__type`, and whether the status is a 5xx.
//!
//! Texts are constants; none holds a part of a request.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::schema::Problem;
use super::{encode, sts};
use crate::error::ErrorKind;
use crate::identity::{SIGNATURE_INCOMPLETE, SIGNATURE_MISSING};
use crate::secret::detail;
use crate::wire::{About, Fault, Reveal, WireResponse};

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

const NOT_FOUND: &str = "ResourceNotFoundException";
const EXISTS: &str = "ResourceExistsException";
const REQUEST: &str = "InvalidRequestException";
const PARAMETER: &str = "InvalidParameterException";
const DENIED: &str = "AccessDeniedException";
const UNAVAILABLE: &str = "ServiceUnavailableException";
const UNKNOWN_CLIENT: &str = "UnrecognizedClientException";

pub(super) const NO_OPERATION: &str = "Requests are POST / with one X-Amz-Target of the secretsmanager service";
pub(super) const UNKNOWN_OPERATION: &str = "The service has no operation of this name";
pub(super) const WRONG_MEDIA_TYPE: &str = "Content-Type is not application/x-amz-json-1.1";
pub(super) const COMPRESSED: &str = "Encoded request bodies are not supported";
pub(super) const QUERY: &str = "The query holds more than a signature";
pub(super) const NOT_JSON: &str = "The body is not one unambiguous JSON object";
pub(super) const WRONG_TYPE: &str = "A member of the body has the wrong type";
pub(super) const NOT_BASE64: &str = "SecretBinary is not base64";

pub(super) const BAD_NAME: &str =
    "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!";
pub(super) const BAD_ARN: &str = "Invalid ARN. Must be the ARN of a secret.";
pub(super) const SUFFIX: &str =
    "The ARN does not end as this secret's does here: give the secret's name, or the ARN that this proxy tells.";
pub(super) const SECRET_ID_MISSING: &str =
    "1 validation error detected: Value null at 'secretId' failed to satisfy constraint: Member must not be null";
pub(super) const SECRET_ID_LENGTH: &str = "1 validation error detected: Value at 'secretId' failed to satisfy constraint: Member must have length between \
     1 and 2048";

pub(super) const TOKEN_MISSING: &str = "You must provide a ClientRequestToken value. We recommend a UUID-type value.";
pub(super) const NO_VALUE: &str = "You must provide either SecretString or SecretBinary.";
pub(super) const BOTH_VALUES: &str =
    "You can't specify both a binary secret value and a string secret value in the same secret.";
pub(super) const TOO_LARGE: &str = "The secret value is larger than limits.value_bytes of this proxy allows.";
pub(super) const FORCE_AND_WINDOW: &str =
    "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.";
pub(super) const WINDOW: &str = "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).";
pub(super) const NO_VERSION_MOVED: &str = "You must provide RemoveFromVersionId, MoveToVersionId or both.";
pub(super) const ONE_OF_BOTH: &str = "Either 'SecretIdList' or 'Filters' must be provided, but not both.";
pub(super) const PAGED_LIST: &str = "MaxResults and NextToken need Filters.";
pub(super) const TWICE: &str = "SecretIdList names a secret more than once.";
pub(super) const NEXT_TOKEN: &str = "The NextToken value is invalid.";
pub(super) const ACCESSED: &str = "Sorting by last-accessed-date is not supported by scaivault-proxy.";
pub(super) const RESERVED_TAG: &str = "Tag keys that begin with aws: are reserved for system use.";
pub(super) const TAG_TWICE: &str = "A tag key is given more than once.";
pub(super) const STAGE_TWICE: &str = "A staging label is given more than once.";
pub(super) const NO_CHARACTERS: &str = "No characters are left to make a password of.";
pub(super) const TOO_SHORT: &str = "PasswordLength is too short to include every required character type.";
pub(super) const KEY: &str = "KmsKeyId is not supported by scaivault-proxy: secrets are encrypted under the keys of the store that holds \
     them.";
pub(super) const REPLICAS: &str = "AddReplicaRegions is not supported by scaivault-proxy.";
pub(super) const PARTNERS: &str = "Secrets of a Type are not supported by scaivault-proxy.";

/// What is malformed and not called a `ValidationException`.
const CODES: [(&str, &[&str]); 5] = [
    ("UnknownOperationException", &[NO_OPERATION, UNKNOWN_OPERATION, WRONG_MEDIA_TYPE]),
    ("SerializationException", &[COMPRESSED, NOT_JSON, WRONG_TYPE, NOT_BASE64]),
    ("InvalidNextTokenException", &[NEXT_TOKEN]),
    (REQUEST, &[TOKEN_MISSING, NO_VALUE]),
    (
        PARAMETER,
        &[
            BOTH_VALUES,
            FORCE_AND_WINDOW,
            WINDOW,
            NO_VERSION_MOVED,
            ONE_OF_BOTH,
            PAGED_LIST,
            TWICE,
            RESERVED_TAG,
            TAG_TWICE,
            STAGE_TWICE,
            NO_CHARACTERS,
            TOO_SHORT,
        ],
    ),
];

/// A failure in this wire's words.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: Cow<'static, str>,
}

impl Trouble {
    const fn new(code: &'static str, message: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: Cow::Borrowed(message) }
    }

    /// There is a secret, and not the version of it that was asked for.
    pub(super) fn no_version(by: &str, which: &str) -> Self {
        let message = format!("Secrets Manager can't find the specified secret value for {by}: {which}");
        Self { message: Cow::Owned(message), ..Self::new(NOT_FOUND, "") }
    }

    /// The secret has been deleted and can be restored.
    pub(super) fn deleted() -> Self {
        words(Fault::malformed(detail::MARKED_FOR_DELETION))
    }

    pub(super) fn render(&self, reveal: Reveal<'_>) -> WireResponse {
        let body = serde_json::to_vec(&Problem { code: self.code, message: &self.message }).unwrap_or_default();
        let mut response = WireResponse::new(self.status, encode::JSON, Bytes::from(body));
        response.headers.insert(ERROR_TYPE, HeaderValue::from_static(self.code));
        encode::mark(&mut response, reveal);
        response
    }
}

pub(super) fn render(fault: Fault, reveal: Reveal<'_>) -> WireResponse {
    // a failed login is told in the protocol it came in
    let is_login = fault.about == About::Login;
    let mut response = if is_login { sts::problem(fault, reveal) } else { words(fault).render(reveal) };
    if let Some(after) = fault.retry_after {
        response.headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    response
}

pub(super) fn words(fault: Fault) -> Trouble {
    if let Some(known) = fault.detail.and_then(known) {
        return known;
    }
    let detail = |text| fault.detail.unwrap_or(text);
    let later = |status, code, message| Trouble { status, ..Trouble::new(code, message) };
    match fault.kind {
        ErrorKind::Malformed => {
            let text = detail("The request cannot be understood.");
            let code =
                CODES.iter().find(|(_, texts)| texts.contains(&text)).map_or("ValidationException", |(code, _)| *code);
            Trouble::new(code, text)
        }
        ErrorKind::TooLarge => Trouble::new(PARAMETER, detail("The request is larger than this proxy accepts.")),
        ErrorKind::Unauthenticated => match fault.detail {
            None => Trouble::new(UNKNOWN_CLIENT, "The security token included in the request is invalid."),
            Some(text) => Trouble::new("InvalidSignatureException", text),
        },
        ErrorKind::Denied => Trouble::new(
            DENIED,
            detail("The caller is not authorized to perform this operation because no policy allows it."),
        ),
        ErrorKind::NotFound => Trouble::new(NOT_FOUND, "Secrets Manager can't find the specified secret."),
        ErrorKind::Conflict => Trouble::new(EXISTS, detail("The operation failed because the secret already exists.")),
        ErrorKind::ReadOnly => Trouble::new(DENIED, "The operation is not allowed: this secret is read-only here."),
        ErrorKind::Unsupported => {
            Trouble::new(REQUEST, detail("The store behind this secret does not support the operation."))
        }
        ErrorKind::RateLimited => Trouble::new("ThrottlingException", "Rate exceeded"),
        // a client that repeats it is refused again
        ErrorKind::UpstreamRejected => Trouble::new(REQUEST, "The store behind this secret refused the request."),
        ErrorKind::UpstreamUnavailable => {
            later(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "The store behind this secret is unavailable.")
        }
        ErrorKind::Timeout => {
            later(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "The store behind this secret did not answer in time.")
        }
        ErrorKind::Sealed => later(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "The proxy is sealed."),
        ErrorKind::Internal => {
            later(StatusCode::INTERNAL_SERVER_ERROR, "InternalServiceError", "An internal error occurred.")
        }
    }
}

/// What other rooms say in words of their own.
fn known(text: &'static str) -> Option<Trouble> {
    let (code, message) = match text {
        detail::MARKED_FOR_DELETION => {
            (REQUEST, "You can't perform this operation on the secret because it was marked for deletion.")
        }
        detail::STILL_DELETED => {
            (REQUEST, "You can't create this secret because a secret with this name is already scheduled for deletion.")
        }
        detail::LABEL_ELSEWHERE => (
            PARAMETER,
            "The parameter RemoveFromVersionId can't be empty. The staging label is currently attached to another \
             version, so you must explicitly reference that version in RemoveFromVersionId.",
        ),
        detail::LABEL_NOT_THERE => {
            (REQUEST, "You provided a VersionStage that is not associated to the provided VersionId.")
        }
        detail::TOO_MANY_LABELS => {
            ("LimitExceededException", "The secret has as many staging labels as its versions can have: 20.")
        }
        detail::TOKEN_REUSED => (
            EXISTS,
            "You can't use this ClientRequestToken because that value is already in use for a version of the secret.",
        ),
        SIGNATURE_MISSING => ("MissingAuthenticationTokenException", text),
        SIGNATURE_INCOMPLETE => ("IncompleteSignatureException", text),
        _ => return None,
    };
    Some(Trouble::new(code, message))
}

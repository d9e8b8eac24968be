//! What was wrong with a call, where the kind of error does not say it and wires have words of their own for it.

/// The secret was deleted and can be restored; it cannot be used before.
pub const MARKED_FOR_DELETION: &str = "the secret is marked for deletion";
/// A deleted secret of this name can still be restored, so that there cannot be a new one.
pub const STILL_DELETED: &str = "a secret of this name is scheduled for deletion";
/// A label is moved away from a version that was not named.
pub const LABEL_ELSEWHERE: &str = "another version carries the label and has to be named";
/// A version was named with a label it does not carry.
pub const LABEL_NOT_THERE: &str = "the version does not carry the label";
/// The versions of a secret carry as many labels as they can.
pub const TOO_MANY_LABELS: &str = "the versions of a secret carry twenty labels at most";
/// The same identifier came with another value.
pub const TOKEN_REUSED: &str = "the version exists and holds another value";
/// A signed request that changes something came a second time.
pub const REPLAYED: &str = "this signed request was sent before";
/// A presigned request that changes something is valid for too long.
pub const SIGNED_FOR_LATER: &str = "a signed write may be valid for five minutes at most";

//! stub
use super::{Caller, Directory, IdentityError, Issued, TokenInfo};
use zeroize::Zeroizing;
/// An access key that ends by itself.
pub struct AccessKey {
    /// id
    pub id: String,
    /// secret
    pub secret: Zeroizing<String>,
    /// token
    pub session_token: Zeroizing<String>,
    /// info
    pub info: TokenInfo,
}
impl Directory {
    /// stub
    #[must_use]
    pub fn access_key(&self, issued: &Issued) -> AccessKey {
        AccessKey {
            id: String::new(),
            secret: Zeroizing::default(),
            session_token: issued.token.clone(),
            info: issued.info.clone(),
        }
    }
    /// stub
    #[allow(missing_docs, clippy::missing_errors_doc)]
    pub fn exchange(&self, _: &Caller) -> Result<Issued, IdentityError> {
        Err(IdentityError::Unknown)
    }
}
impl IdentityError {
    /// stub
    #[must_use]
    pub const fn detail(&self) -> Option<&'static str> {
        None
    }
}

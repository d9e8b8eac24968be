//! Changes of key-value secrets: one request each, never sent twice.

use http::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use super::backend::VaultBackend;
use super::exchange::Plan;
use super::{neutral, schema};
use crate::backend::{Answer, Ask, Attempt, BackendError, Change};
use crate::clock::{Clock as _, SystemClock};
use crate::secret::{Metadata, Outcome, SecretType, SecretValue, VersionSet};

/// What a real server takes as a version's value.
#[derive(Serialize)]
struct Put<'a> {
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

#[derive(Serialize)]
struct Custom<'a> {
    custom_metadata: &'a Metadata,
}

#[derive(Serialize)]
struct Versions<'a> {
    versions: &'a [u64],
}

impl VaultBackend {
    pub(super) async fn change(&self, ask: Ask<'_>, change: Change<'_>) -> Result<Outcome, BackendError> {
        if ask.kv2_segment.is_none() {
            return self.change_v1(ask, change).await;
        }
        match change {
            Change::Put { value, secret_type, expected, .. } => {
                let data = fields(value, secret_type)?;
                let body = Put { data: &data, options: expected.map(|cas| Options { cas }) };
                let answer = self.post(ask, "data", &body).await?;
                neutral::written(&answer, SystemClock.now())
            }
            Change::Metadata(custom_metadata) => {
                self.post(ask, "metadata", &Custom { custom_metadata }).await.map(|answer| done(&answer))
            }
            Change::Delete(VersionSet::Current, _) => self.delete(ask, "data").await,
            Change::Delete(VersionSet::Numbers(versions), _) => self.mark(ask, "delete", versions).await,
            Change::Delete(VersionSet::All, _) => self.mark_all(ask, "delete", &VersionSet::All).await,
            Change::Undelete(versions) => self.mark_all(ask, "undelete", versions).await,
            Change::Destroy(versions) => self.mark_all(ask, "destroy", versions).await,
            Change::Purge => self.delete(ask, "metadata").await,
            Change::Create(_) | Change::Label { .. } => Err(BackendError::Unsupported),
        }
    }

    /// Version 1 holds one version and checks nothing; deleting is for good.
    async fn change_v1(&self, ask: Ask<'_>, change: Change<'_>) -> Result<Outcome, BackendError> {
        match change {
            Change::Put { value, secret_type, expected: None, .. } => {
                let data = fields(value, secret_type)?;
                self.post(ask, "", &data).await?;
                Ok(Outcome::Written(neutral::only_version(), Metadata::new()))
            }
            Change::Delete(VersionSet::Current | VersionSet::All, _) | Change::Purge => self.delete(ask, "").await,
            Change::Put { expected: Some(_), .. }
            | Change::Metadata(_)
            | Change::Create(_)
            | Change::Label { .. }
            | Change::Delete(VersionSet::Numbers(_), _)
            | Change::Undelete(_)
            | Change::Destroy(_) => Err(BackendError::Unsupported),
        }
    }

    /// Undeletes or destroys; the server knows only numbers, so the current version is looked up first.
    async fn mark_all(&self, ask: Ask<'_>, area: &str, versions: &VersionSet) -> Result<Outcome, BackendError> {
        match versions {
            VersionSet::Numbers(versions) => self.mark(ask, area, versions).await,
            VersionSet::Current | VersionSet::All => {
                let answer = self.fetch(ask, "metadata", None).await?;
                match neutral::described(&answer, SystemClock.now())? {
                    Outcome::Described(found) if *versions == VersionSet::Current => {
                        self.mark(ask, area, &[found.current_version]).await
                    }
                    Outcome::Described(found) => {
                        let all: Vec<u64> = found.versions.iter().map(|info| info.version).collect();
                        self.mark(ask, area, &all).await
                    }
                    _ => Ok(Outcome::NotFound),
                }
            }
        }
    }

    async fn mark(&self, ask: Ask<'_>, area: &str, versions: &[u64]) -> Result<Outcome, BackendError> {
        self.post(ask, area, &Versions { versions }).await.map(|answer| done(&answer))
    }

    async fn post(&self, ask: Ask<'_>, area: &str, body: &impl Serialize) -> Result<Answer, BackendError> {
        let plan = Plan::json(Method::POST, self.locate(ask, area), body, Attempt::Write, ask.request_id)?;
        self.upstream().exchange(&plan).await
    }

    async fn delete(&self, ask: Ask<'_>, area: &str) -> Result<Outcome, BackendError> {
        let plan = Plan::bare(Method::DELETE, self.locate(ask, area), Attempt::Write, ask.request_id);
        self.upstream().exchange(&plan).await.map(|answer| done(&answer))
    }
}

fn fields(value: &SecretValue, secret_type: SecretType) -> Result<Box<RawValue>, BackendError> {
    // nothing was sent
    schema::fields(value.expose(), secret_type).ok_or(BackendError::Unusable("the value is not of its type"))
}

fn done(answer: &Answer) -> Outcome {
    if answer.status == http::StatusCode::NOT_FOUND { Outcome::NotFound } else { Outcome::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: &[u8], secret_type: SecretType, expected: Option<u64>) -> String {
        let value = SecretValue::copy_of(value);
        let data = fields(&value, secret_type).unwrap();
        serde_json::to_string(&Put { data: &data, options: expected.map(|cas| Options { cas }) }).unwrap()
    }

    #[test]
    fn bodies_are_what_the_server_takes_and_values_are_not_reserialised() {
        assert_eq!(body(br#"{"b":1.50, "a":2}"#, SecretType::Json, None), r#"{"data":{"b":1.50, "a":2}}"#);
        assert_eq!(body(b"{}", SecretType::Json, Some(0)), r#"{"data":{},"options":{"cas":0}}"#);
        assert_eq!(body(b"x", SecretType::Text, Some(7)), r#"{"data":{"value":"x"},"options":{"cas":7}}"#);
        let custom_metadata = &Metadata::from([("owner".to_owned(), "a\"b".to_owned())]);
        let custom = serde_json::to_string(&Custom { custom_metadata }).unwrap();
        assert_eq!(custom, r#"{"custom_metadata":{"owner":"a\"b"}}"#);
        assert_eq!(serde_json::to_string(&Versions { versions: &[3, 1] }).unwrap(), r#"{"versions":[3,1]}"#);
    }

    #[test]
    fn a_value_cannot_break_out_of_its_place() {
        let value = SecretValue::copy_of(br#"{"a":1},"options":{"cas":0}"#);
        assert!(matches!(fields(&value, SecretType::Json), Err(BackendError::Unusable(_))));
    }
}

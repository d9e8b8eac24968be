//! The current values of several secrets in one call.

use std::collections::HashMap;

use super::AwsBackend;
use super::fault::{Refusal, Told, of_code};
use super::list::Pages;
use super::neutral;
use super::read::parsed;
use super::schema::{BatchError, BatchPage, GetMany, Value};
use crate::backend::{Ask, BackendError, further};
use crate::secret::{Outcome, Reply, SecretRecord};

const NOT_VALUES: BackendError = BackendError::Unusable("not an answer about several secrets");
const LEFT_OUT: BackendError = BackendError::Unusable("an answer about several secrets that leaves this one out");

/// What one call said, by the name or ARN that was asked for.
#[derive(Default)]
struct Found {
    values: HashMap<String, Value>,
    errors: HashMap<String, BatchError>,
}

impl AwsBackend {
    pub(super) async fn values(&self, asks: &[Ask<'_>]) -> Result<Vec<Result<Reply, BackendError>>, BackendError> {
        let Some(first) = asks.first() else { return Ok(Vec::new()) };
        let ids: Vec<&str> = asks.iter().map(|ask| ask.remote.as_str()).collect();
        let mut found = Found::default();
        let mut pages = Pages::default();
        loop {
            let body = GetMany { secret_id_list: &ids, next_token: pages.token() };
            match self.upstream.ask("BatchGetSecretValue", &body, first.request_id).await? {
                Told::Answer(answer) => {
                    let page: BatchPage = parsed(&answer, NOT_VALUES)?;
                    let next = page.next_token.clone();
                    found.take(page);
                    if !pages.turn(next)? {
                        break;
                    }
                    further().await?;
                }
                // about one of them, and there is no telling which
                _ => return Err(BackendError::Rejected(400)),
            }
        }
        let mut replies = Vec::with_capacity(asks.len());
        for ask in asks {
            let reply = match found.outcome(ask.remote.as_str()) {
                Ok(None) => Ok(self.deleted(*ask).await),
                Ok(Some(outcome)) => Ok(outcome),
                Err(error) => Err(error),
            };
            replies.push(reply.map(Reply::Neutral));
        }
        Ok(replies)
    }
}

impl Found {
    fn take(&mut self, page: BatchPage) {
        for value in page.secret_values.unwrap_or_default() {
            self.values.insert(value.name.clone(), value);
        }
        for error in page.errors.unwrap_or_default() {
            if let Some(id) = error.secret_id.clone() {
                self.errors.insert(id, error);
            }
        }
    }

    /// What was said of one; `None`: it is deleted.
    fn outcome(&mut self, asked: &str) -> Result<Option<Outcome>, BackendError> {
        if let Some(value) = self.value(asked) {
            return neutral::record(value).map(|record| Some(Outcome::Record(Box::new(record))));
        }
        let error = self.errors.get(asked).ok_or(LEFT_OUT)?;
        let (code, message) = (error.error_code.as_deref(), error.message.as_deref());
        match of_code(code.unwrap_or_default(), message.unwrap_or_default()) {
            Some(Ok(Told::Absent)) => Ok(Some(Outcome::NotFound)),
            Some(Ok(Told::NoValue)) => Ok(Some(Outcome::Record(Box::new(SecretRecord::without_version())))),
            Some(Ok(Told::Deleted)) => Ok(None),
            Some(Err(Refusal::Error(error))) => Err(error),
            _ => Err(BackendError::Rejected(400)),
        }
    }

    /// A value is told by name, even if its ARN was asked for.
    fn value(&mut self, asked: &str) -> Option<Value> {
        if !asked.starts_with("arn:") {
            return self.values.remove(asked);
        }
        let is_asked = |value: &Value| value.arn.as_deref().is_some_and(|arn| arn.starts_with(asked));
        let name = self.values.iter().find(|(_, value)| is_asked(value)).map(|(name, _)| name.clone())?;
        self.values.remove(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Found {
        let mut found = Found::default();
        found.take(serde_json::from_str(text).unwrap());
        found
    }

    #[test]
    fn each_secret_has_its_own_answer() {
        let mut found = found(
            r#"{"SecretValues":[{"ARN":"arn:aws:x:secret:a-AbCdEf","Name":"a","VersionId":"v","SecretString":"s"},
                {"Name":"none","VersionId":"v"}],"NextToken":null,
                "Errors":[{"SecretId":"b","ErrorCode":"ResourceNotFoundException","Message":"x"},
                {"SecretId":"c","ErrorCode":"AccessDeniedException","Message":"x"},
                {"SecretId":"d","ErrorCode":"InvalidRequestException","Message":"it was marked for deletion."},
                {"SecretId":"e","ErrorCode":"DecryptionFailure"},
                {"SecretId":"f","ErrorCode":"ThrottlingException"},
                {"SecretId":"g"}]}"#,
        );
        assert!(matches!(found.outcome("a"), Ok(Some(Outcome::Record(_)))));
        assert!(matches!(found.outcome("b"), Ok(Some(Outcome::NotFound))));
        assert!(matches!(found.outcome("c"), Err(BackendError::Denied)));
        assert!(matches!(found.outcome("d"), Ok(None)));
        assert!(matches!(found.outcome("e"), Err(BackendError::Rejected(400))));
        assert!(matches!(found.outcome("f"), Err(BackendError::RateLimited(None))));
        assert!(matches!(found.outcome("g"), Err(BackendError::Rejected(400))));
        assert!(matches!(found.outcome("none"), Err(BackendError::Unusable(_))), "no value is no absence");
        assert!(matches!(found.outcome("other"), Err(BackendError::Unusable(_))), "silence is no absence");
    }

    #[test]
    fn an_arn_is_answered_by_name() {
        let mut found = found(
            r#"{"SecretValues":[{"ARN":"arn:aws:x:secret:a-AbCdEf","Name":"a","VersionId":"v","SecretString":"s"}],
                "Errors":[]}"#,
        );
        assert!(matches!(found.outcome("arn:aws:x:secret:b-AbCdEf"), Err(BackendError::Unusable(_))));
        assert!(matches!(found.outcome("arn:aws:x:secret:a-AbCdEf"), Ok(Some(Outcome::Record(_)))));
    }
}

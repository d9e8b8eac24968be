//! Reading a version, and what is known of a secret.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;

use super::AwsBackend;
use super::exchange::JSON;
use super::fault::Told;
use super::list::Pages;
use super::neutral;
use super::schema::{Get, ListVersions, Named, Secret, Value, ValueGlance, Version, VersionPage};
use crate::backend::{Answer, Ask, BackendError, further};
use crate::clock::{Clock as _, SystemClock};
use crate::secret::{
    Described, Dialect, NativeReply, Outcome, Reply, SecretRecord, SecretType, VersionSelector, VersionState,
};

const NOT_A_VALUE: BackendError = BackendError::Unusable("not a secret's value");
const NOT_A_DESCRIPTION: BackendError = BackendError::Unusable("not a secret's description");
const NOT_VERSIONS: BackendError = BackendError::Unusable("not a list of versions");
const ANOTHER: BackendError = BackendError::Unusable("an answer about another secret");
/// How long identifiers of versions are; the service takes no others.
const VERSION_ID: std::ops::RangeInclusive<usize> = 32..=64;

impl AwsBackend {
    pub(super) async fn read_version(&self, ask: Ask<'_>, version: &VersionSelector) -> Result<Reply, BackendError> {
        let found: Box<str>;
        let (version_id, version_stage) = match version {
            VersionSelector::Current => (None, None),
            VersionSelector::Number(number) => match self.id_of(ask, *number).await? {
                Some(id) => {
                    found = id;
                    (Some(&*found), None)
                }
                None => return Ok(Reply::Neutral(Outcome::NotFound)),
            },
            VersionSelector::Native(id) => (Some(&**id), None),
            VersionSelector::Stage(stage) => (None, Some(&**stage)),
            VersionSelector::Labelled { version, stage } => match &**version {
                VersionSelector::Native(id) => (Some(&**id), Some(&**stage)),
                VersionSelector::Number(number) => match self.id_of(ask, *number).await? {
                    Some(id) => {
                        found = id;
                        (Some(&*found), Some(&**stage))
                    }
                    None => return Ok(Reply::Neutral(Outcome::NotFound)),
                },
                // no wire asks for this
                _ => return Err(BackendError::Unsupported),
            },
        };
        if version_id.is_some_and(|id| !VERSION_ID.contains(&id.len())) {
            return Ok(Reply::Neutral(Outcome::NotFound));
        }
        let body = Get { secret_id: ask.remote.as_str(), version_id, version_stage };
        let told = self.upstream.ask("GetSecretValue", &body, ask.request_id).await?;
        if let (Told::Answer(answer), Some(_), Some(stage)) = (&told, version_id, version_stage) {
            // whatever the other side makes of both, a value leaves only with both
            let glance: ValueGlance = parsed(answer, NOT_A_VALUE)?;
            if !glance.version_stages.iter().flatten().any(|carried| carried == stage) {
                return Err(BackendError::Mislabelled);
            }
        }
        match told {
            Told::Answer(answer) if ask.dialect == Dialect::Aws => native_value(ask, answer).map(Reply::Native),
            Told::Answer(answer) => {
                let value: Value = parsed(&answer, NOT_A_VALUE)?;
                concerns(ask, &value.name)?;
                Ok(Reply::Neutral(Outcome::Record(Box::new(neutral::record(value)?))))
            }
            Told::Absent => Ok(Reply::Neutral(Outcome::NotFound)),
            Told::NoValue => Ok(Reply::Neutral(Outcome::Record(Box::new(SecretRecord::without_version())))),
            Told::Deleted => Ok(Reply::Neutral(self.deleted(ask).await)),
            Told::Alive | Told::Exists => Err(BackendError::Rejected(400)),
        }
    }

    /// The version of a deleted secret that would be current: without its value, and as well known as can be.
    pub(super) async fn deleted(&self, ask: Ask<'_>) -> Outcome {
        let described = match self.known(ask).await {
            Ok(Some(described)) => described,
            Ok(None) => return Outcome::NotFound,
            // the service said it is deleted; when is not to be had
            Err(_) => Described::default(),
        };
        let Described { metadata, current_version, updated_at, versions, .. } = described;
        let current = versions.into_iter().find(|info| info.version == current_version);
        let mut info = current.unwrap_or_default();
        if info.state.is_readable() {
            info.state = VersionState::Deleted(SystemClock.now());
        }
        let updated_at = (updated_at.micros() > 0).then_some(updated_at);
        let secret_type = SecretType::Json;
        Outcome::Record(Box::new(SecretRecord { value: None, secret_type, metadata, info, updated_at }))
    }

    pub(super) async fn described(&self, ask: Ask<'_>) -> Result<Reply, BackendError> {
        if ask.dialect != Dialect::Aws {
            let known = self.known(ask).await?.map_or(Outcome::NotFound, |found| Outcome::Described(Box::new(found)));
            return Ok(Reply::Neutral(known));
        }
        match self.describe_call(ask).await? {
            Told::Answer(answer) => {
                let secret: Secret = parsed(&answer, NOT_A_DESCRIPTION)?;
                concerns(ask, &secret.name)?;
                Ok(Reply::Native(native(answer, None)))
            }
            Told::Absent => Ok(Reply::Neutral(Outcome::NotFound)),
            _ => Err(BackendError::Rejected(400)),
        }
    }

    pub(super) async fn glanced(&self, ask: Ask<'_>) -> Result<Reply, BackendError> {
        let secret = self.description(ask).await?;
        let glance = |secret: Secret| Outcome::Described(Box::new(neutral::glance(&secret)));
        Ok(Reply::Neutral(secret.map_or(Outcome::NotFound, glance)))
    }

    /// A secret with all its versions; `None` if there is none.
    pub(super) async fn known(&self, ask: Ask<'_>) -> Result<Option<Described>, BackendError> {
        let (secret, versions) = tokio::join!(self.description(ask), self.versions(ask));
        let Some(secret) = secret? else { return Ok(None) };
        Ok(versions?.map(|versions| neutral::whole(&secret, versions)))
    }

    /// A secret without its value and its unlabelled versions; `None` if there is none.
    pub(super) async fn description(&self, ask: Ask<'_>) -> Result<Option<Secret>, BackendError> {
        match self.describe_call(ask).await? {
            Told::Answer(answer) => {
                let secret: Secret = parsed(&answer, NOT_A_DESCRIPTION)?;
                concerns(ask, &secret.name)?;
                Ok(Some(secret))
            }
            Told::Absent => Ok(None),
            _ => Err(BackendError::Rejected(400)),
        }
    }

    async fn describe_call(&self, ask: Ask<'_>) -> Result<Told, BackendError> {
        self.upstream.ask("DescribeSecret", &Named { secret_id: ask.remote.as_str() }, ask.request_id).await
    }

    /// The identifier of the version that has this number.
    async fn id_of(&self, ask: Ask<'_>, number: u64) -> Result<Option<Box<str>>, BackendError> {
        let versions = self.known(ask).await?.map(|known| known.versions).unwrap_or_default();
        Ok(versions.into_iter().find(|info| info.version == number).and_then(|info| info.native_id))
    }

    /// All versions, those without labels too; `None` if there is no such secret.
    async fn versions(&self, ask: Ask<'_>) -> Result<Option<Vec<Version>>, BackendError> {
        let mut found: Vec<Version> = Vec::new();
        let mut pages = Pages::default();
        loop {
            let body = ListVersions {
                secret_id: ask.remote.as_str(),
                include_deprecated: true,
                max_results: 100,
                next_token: pages.token(),
            };
            match self.upstream.ask("ListSecretVersionIds", &body, ask.request_id).await? {
                Told::Answer(answer) => {
                    let page: VersionPage = parsed(&answer, NOT_VERSIONS)?;
                    found.extend(page.versions.unwrap_or_default());
                    if !pages.turn(page.next_token)? {
                        return Ok(Some(found));
                    }
                    further().await?;
                }
                Told::Absent => return Ok(None),
                _ => return Err(BackendError::Rejected(400)),
            }
        }
    }
}

/// A body that is of the expected form.
pub(super) fn parsed<T: DeserializeOwned>(answer: &Answer, otherwise: BackendError) -> Result<T, BackendError> {
    serde_json::from_slice(&answer.body).map_err(|_| otherwise)
}

/// Whether an answer is about what was asked. An ARN is not a name, and names another way.
pub(super) fn concerns(ask: Ask<'_>, name: &str) -> Result<(), BackendError> {
    let asked = ask.remote.as_str();
    if asked == name || asked.starts_with("arn:") { Ok(()) } else { Err(ANOTHER) }
}

fn native_value(ask: Ask<'_>, answer: Answer) -> Result<NativeReply, BackendError> {
    let glance: ValueGlance = parsed(&answer, NOT_A_VALUE)?;
    concerns(ask, &glance.name)?;
    if glance.secret_string.is_some() == glance.secret_binary.is_some() {
        return Err(NOT_A_VALUE);
    }
    Ok(native(answer, glance.created_date.map(super::schema::Epoch::millis)))
}

/// The answer as a client may see it. Its media type is the wire's, whatever the backend calls it.
fn native(answer: Answer, version: Option<u64>) -> NativeReply {
    let request_id = answer.headers.get("x-amzn-requestid").and_then(|id| id.to_str().ok()).map(Box::from);
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(JSON))]);
    NativeReply { status: answer.status, headers, body: answer.body, spans: Vec::new(), version, request_id }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::secret::RemoteName;

    fn answer(body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-requestid", HeaderValue::from_static("5c91"));
        headers.insert("content-type", HeaderValue::from_static("text/html"));
        headers.insert("set-cookie", HeaderValue::from_static("a=b"));
        Answer { status: StatusCode::OK, headers, body: Bytes::from_static(body.as_bytes()) }
    }

    fn passed_on(name: &str, body: &'static str) -> Result<NativeReply, BackendError> {
        let remote = RemoteName::parse(name).unwrap();
        let ask = Ask { remote: &remote, kv2_segment: None, dialect: Dialect::Aws, request_id: "", principal: None };
        native_value(ask, answer(body))
    }

    #[test]
    fn a_native_value_is_the_body_as_it_came_under_our_own_headers() {
        let body = r#"{"ARN":"x","Name":"app/db", "VersionId":"v","SecretString":"s","CreatedDate":1.5}"#;
        let reply = passed_on("app/db", body).unwrap();
        assert_eq!(&*reply.body, body.as_bytes());
        assert_eq!((reply.version, reply.request_id.as_deref()), (Some(1500), Some("5c91")));
        assert_eq!(reply.headers.len(), 1);
        assert_eq!(reply.headers["content-type"], JSON);
    }

    #[test]
    fn what_is_not_a_value_or_another_secrets_is_not_passed_on() {
        for body in [
            "<html>",
            "{}",
            r#"{"Name":"app/db"}"#,
            r#"{"Name":"app/other","SecretString":"s"}"#,
            r#"{"Name":"app/db","SecretString":null,"SecretBinary":null}"#,
            r#"{"Name":"app/db","SecretString":"s","SecretBinary":"AA=="}"#,
        ] {
            assert!(matches!(passed_on("app/db", body), Err(BackendError::Unusable(_))), "{body}");
        }
        let body = r#"{"Name":"app/db","SecretString":"s"}"#;
        assert!(passed_on("arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-AbCdEf", body).is_ok());
    }
}

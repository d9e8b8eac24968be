//! A Secrets Manager client's settings.

use std::thread;

use url::Url;

use super::{Sources, ambient, http, url};
use crate::app::keeper::wait;
use crate::backend::Reach;
use crate::config::{AwsConfig, HttpUrl};
use crate::wire::aws::{AwsIdentity, AwsSettings, KeySource, Role, Surroundings};

/// The settings of a client, with stored keys read from `source` whenever new ones are needed.
pub(super) fn settings(aws: &AwsConfig, source: Sources<'_>, reach: Reach) -> Result<AwsSettings, String> {
    let around = surroundings(aws.profile.as_deref())?;
    let endpoint = named(aws.endpoint.as_ref(), around.endpoint.as_deref())?;
    let sts_endpoint = named(aws.sts_endpoint.as_ref(), around.sts_endpoint.as_deref())?;
    Ok(AwsSettings {
        region: aws.region.clone(),
        endpoint: Some(endpoint.map_or_else(|| around.secrets_manager(&aws.region), Ok)?),
        sts_endpoint: Some(sts_endpoint.map_or_else(|| around.sts(&aws.region), Ok)?),
        identity: identity(aws, source)?,
        kms_key_id: aws.kms_key_id.clone(),
        tags: aws.tags.clone(),
        http: http(aws.upstream.ca_path.as_deref(), &aws.upstream, reach)?,
        timeout: aws.upstream.timeout,
        attempt_timeout: aws.upstream.attempt_timeout,
    })
}

/// What is looked at when a client is made; what changes there later is seen by the next process.
fn surroundings(profile: Option<&str>) -> Result<Surroundings, String> {
    // on a thread of its own: who asks may run where nothing can be waited for
    thread::scope(|scope| scope.spawn(|| wait(Surroundings::look(profile))).join())
        .unwrap_or_else(|_| Err("the AWS configuration of this machine cannot be read".to_owned()))
}

/// An endpoint somebody named: the configuration, else the profile it names.
fn named(configured: Option<&HttpUrl>, profile: Option<&str>) -> Result<Option<Url>, String> {
    let of_profile = match (configured, profile) {
        (None, Some(text)) => {
            Some(HttpUrl::parse(text).map_err(|error| format!("profile: its endpoint_url cannot be used: {error}"))?)
        }
        _ => None,
    };
    configured.or(of_profile.as_ref()).map(url).transpose()
}

fn identity(aws: &AwsConfig, source: Sources<'_>) -> Result<AwsIdentity, String> {
    let role = aws.role_arn.clone().map(|arn| Role {
        arn,
        external_id: aws.external_id.clone(),
        session_name: aws.session_name.clone(),
    });
    let keys = || {
        Ok::<_, String>(match &aws.credentials_path {
            Some(path) => KeySource::Stored(source(path)?),
            None => ambient(aws.profile.clone(), &aws.upstream)?,
        })
    };
    Ok(match (role, &aws.token_path) {
        (Some(role), Some(token_path)) => AwsIdentity::WebIdentity(token_path.clone(), role),
        (Some(role), None) => AwsIdentity::Role(keys()?, role),
        (None, _) => AwsIdentity::Keys(keys()?),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::config::UpstreamConfig;
    use crate::secret::SecretPath;

    fn config() -> AwsConfig {
        AwsConfig {
            region: "eu-west-1".to_owned(),
            credentials_path: None,
            role_arn: None,
            external_id: None,
            session_name: None,
            token_path: None,
            profile: None,
            endpoint: None,
            sts_endpoint: None,
            kms_key_id: None,
            tags: Vec::new(),
            upstream: UpstreamConfig::default(),
        }
    }

    fn of(edit: fn(&mut AwsConfig)) -> AwsIdentity {
        let mut config = config();
        edit(&mut config);
        identity(&config, &|_| Ok(Arc::new(|| Err("never read")))).unwrap()
    }

    #[test]
    fn what_the_configuration_names_comes_before_what_a_profile_does() {
        let configured = HttpUrl::parse("https://secrets.example:8443").unwrap();
        let text = |configured, profile| named(configured, profile).map(|url| url.map(|url| url.to_string()));
        let expected = Ok(Some("https://secrets.example:8443/".to_owned()));
        assert_eq!(text(Some(&configured), Some("not looked at")), expected);
        assert_eq!(text(None, Some("http://127.0.0.1:4566")), Ok(Some("http://127.0.0.1:4566/".to_owned())));
        assert_eq!(text(None, None), Ok(None));
        let refused = text(None, Some("http://stack.internal:4566")).unwrap_err();
        assert!(refused.contains("profile: its endpoint_url") && refused.contains("loopback only"), "{refused}");
    }

    #[test]
    fn who_signs_follows_from_what_is_named() {
        let role = |config: &mut AwsConfig| config.role_arn = Some("arn:aws:iam::123456789012:role/r".to_owned());
        let stored = |config: &mut AwsConfig| config.credentials_path = SecretPath::parse("infra/aws").ok();
        assert!(matches!(of(|_| ()), AwsIdentity::Keys(KeySource::Ambient { profile: None, .. })));
        let named = of(|config| config.profile = Some("p".to_owned()));
        assert!(matches!(named, AwsIdentity::Keys(KeySource::Ambient { profile: Some(name), .. }) if name == "p"));
        assert!(matches!(of(stored), AwsIdentity::Keys(KeySource::Stored(_))));
        assert!(matches!(of(role), AwsIdentity::Role(KeySource::Ambient { .. }, _)));
        let web = of(|config| {
            config.role_arn = Some("arn:aws:iam::123456789012:role/r".to_owned());
            config.token_path = Some(PathBuf::from("t"));
        });
        assert!(matches!(web, AwsIdentity::WebIdentity(_, role) if role.arn.ends_with("/r")));
    }
}

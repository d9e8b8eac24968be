//! A Secrets Manager client's settings.

use super::{Sources, ambient, http, url};
use crate::backend::Reach;
use crate::config::AwsConfig;
use crate::wire::aws::{AwsIdentity, AwsSettings, KeySource, Role};

/// The settings of a client, with stored keys read from `source` whenever new ones are needed.
pub(super) fn settings(aws: &AwsConfig, source: Sources<'_>, reach: Reach) -> Result<AwsSettings, String> {
    Ok(AwsSettings {
        region: aws.region.clone(),
        endpoint: aws.endpoint.as_ref().map(url).transpose()?,
        sts_endpoint: aws.sts_endpoint.as_ref().map(url).transpose()?,
        identity: identity(aws, source)?,
        kms_key_id: aws.kms_key_id.clone(),
        tags: aws.tags.clone(),
        http: http(aws.upstream.ca_path.as_deref(), aws.upstream.attempt_timeout, reach)?,
        timeout: aws.upstream.timeout,
        attempt_timeout: aws.upstream.attempt_timeout,
    })
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
            None => ambient(aws.profile.clone(), aws.upstream.attempt_timeout)?,
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

//! Where AWS is, as far as the process's surroundings say so: which kind of a region's endpoints is meant, and the endpoints
//! of a profile.
//!
//! INVARIANT: an endpoint of the environment is never followed, and one of a profile only where the profile was named to us:
//! what this proxy hands to workloads would lead it to itself.

use std::collections::HashMap;

use aws_config::{BehaviorVersion, Region};
use aws_types::SdkConfig;
use aws_types::os_shim_internal::{Env, Fs};
use aws_types::service_config::ServiceConfigKey;
use url::Url;

use super::ambient::variables;
use super::place::{self, Kind};

/// As SDKs call the services where endpoints are configured. The files say `secrets_manager`; the library would look for
/// `secrets-manager` if this had the blank of the service's own name.
const SECRETS_MANAGER: &str = "Secrets_Manager";
const STS: &str = "STS";
/// Nothing is looked for there.
const ANY_REGION: &str = "us-east-1";

/// What the surroundings say. Looked at anew whenever a client is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Where the named profile says Secrets Manager is, as it stands there.
    pub endpoint: Option<String>,
    /// The same of the token service.
    pub sts_endpoint: Option<String>,
    kind: Kind,
}

impl Surroundings {
    /// The environment, and the shared configuration files under the profile that is named, else the one SDKs would use.
    pub async fn look(profile: Option<&str>) -> Self {
        Self::seen(variables(std::env::vars_os(), profile), Fs::real(), profile).await
    }

    /// A region's own endpoint of Secrets Manager, of the kind that is meant.
    ///
    /// # Errors
    /// When the region cannot be part of a host name.
    pub fn secrets_manager(&self, region: &str) -> Result<Url, String> {
        place::endpoint("secretsmanager", region, self.kind)
    }

    /// A region's own endpoint of the token service, of the kind that is meant.
    ///
    /// # Errors
    /// As [`Self::secrets_manager`].
    pub fn sts(&self, region: &str) -> Result<Url, String> {
        place::endpoint("sts", region, self.kind)
    }

    async fn seen(variables: HashMap<String, String>, files: Fs, profile: Option<&str>) -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .env(Env::from(variables))
            .fs(files)
            .region(Region::from_static(ANY_REGION))
            .no_credentials()
            .load()
            .await;
        let kind = Kind {
            fips: config.use_fips().unwrap_or_default(),
            dual_stack: config.use_dual_stack().unwrap_or_default(),
        };
        let told = |service| profile.and_then(|_| endpoint(&config, service));
        Self { endpoint: told(SECRETS_MANAGER), sts_endpoint: told(STS), kind }
    }
}

/// The endpoint of a service, as its own section or else the profile has it.
fn endpoint(config: &SdkConfig, service: &str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
    config.service_config()?.load_config(key.build().ok()?)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const FILE: &str = "[profile local]\nendpoint_url = http://127.0.0.1:4566\n\
        [profile apart]\nservices = apart\n[services apart]\nsecrets_manager =\n  endpoint_url = http://127.0.0.1:5\n\
        sts =\n  endpoint_url = http://127.0.0.1:6\n\
        [profile deaf]\nendpoint_url = http://127.0.0.1:4566\nignore_configured_endpoint_urls = true\n\
        [profile strict]\nuse_fips_endpoint = true\n[profile both]\nuse_dualstack_endpoint = true\n";

    async fn seen(set: &[(&str, &str)], profile: Option<&str>) -> Surroundings {
        let home = [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
        let all = home.iter().chain(set).map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let files = Fs::from_slice(&[("config", FILE), ("credentials", "")]);
        Surroundings::seen(variables(all, profile), files, profile).await
    }

    #[tokio::test]
    async fn only_a_profile_that_was_named_says_where_to_go() {
        let elsewhere = [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:2"),
            ("AWS_PROFILE", "local"),
        ];
        assert_eq!(seen(&elsewhere, None).await, Surroundings::default());
        let of = |port: &str| Some(format!("http://127.0.0.1:{port}"));
        for (profile, secrets, sts) in [
            ("local", of("4566"), of("4566")),
            ("apart", of("5"), of("6")),
            ("deaf", None, None),
            ("strict", None, None),
        ] {
            let found = seen(&elsewhere, Some(profile)).await;
            assert_eq!((found.endpoint, found.sts_endpoint), (secrets, sts), "{profile}");
        }
    }

    #[tokio::test]
    async fn the_kind_of_endpoint_is_that_of_environment_and_profile() {
        const FIPS: &str = "AWS_USE_FIPS_ENDPOINT";
        const DUAL: &str = "AWS_USE_DUALSTACK_ENDPOINT";
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, &'a str);
        let cases: [Case<'_>; 9] = [
            (&[], None, "https://secretsmanager.eu-west-1.amazonaws.com/"),
            (&[(FIPS, "true")], None, "https://secretsmanager-fips.eu-west-1.amazonaws.com/"),
            (&[(DUAL, "true")], None, "https://secretsmanager.eu-west-1.api.aws/"),
            (&[(FIPS, "true"), (DUAL, "TRUE")], None, "https://secretsmanager-fips.eu-west-1.api.aws/"),
            (&[(FIPS, "perhaps")], None, "https://secretsmanager.eu-west-1.amazonaws.com/"),
            (&[("AWS_PROFILE", "strict")], None, "https://secretsmanager-fips.eu-west-1.amazonaws.com/"),
            (&[], Some("strict"), "https://secretsmanager-fips.eu-west-1.amazonaws.com/"),
            (&[], Some("both"), "https://secretsmanager.eu-west-1.api.aws/"),
            (&[(FIPS, "false")], Some("strict"), "https://secretsmanager.eu-west-1.amazonaws.com/"),
        ];
        for (set, profile, expected) in cases {
            let found = seen(set, profile).await;
            assert_eq!(found.secrets_manager("eu-west-1").unwrap().as_str(), expected, "{set:?} {profile:?}");
            let sts = expected.replace("secretsmanager", "sts");
            assert_eq!(found.sts("eu-west-1").unwrap().as_str(), sts, "{set:?} {profile:?}");
        }
    }
}

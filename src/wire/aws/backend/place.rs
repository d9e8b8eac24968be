//! Where a region's services are when nobody says otherwise, and in which partition it lies.

use url::Url;

/// The partition in the ARNs of a region.
pub(super) fn partition(region: &str) -> &'static str {
    match region.split_once('-').map_or(region, |(area, _)| area) {
        "cn" => "aws-cn",
        "eusc" => "aws-eusc",
        "us" if region.starts_with("us-gov-") => "aws-us-gov",
        "us" if region.starts_with("us-iso-") => "aws-iso",
        "us" if region.starts_with("us-isob-") => "aws-iso-b",
        "us" if region.starts_with("us-isof-") => "aws-iso-f",
        "eu" if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ => "aws",
    }
}

/// Which of a region's endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    /// Those with validated cryptography.
    pub(super) fips: bool,
    /// Those reached by IPv6 as well.
    pub(super) dual_stack: bool,
}

/// A service's regional endpoint.
pub(super) fn endpoint(service: &str, region: &str, kind: Kind) -> Result<Url, String> {
    let partition = partition(region);
    let (domain, dual_stack) = match partition {
        "aws-cn" => ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        "aws-eusc" => ("amazonaws.eu", "api.amazonwebservices.eu"),
        "aws-iso" => ("c2s.ic.gov", "api.aws.ic.gov"),
        "aws-iso-b" => ("sc2s.sgov.gov", "api.aws.scloud"),
        "aws-iso-e" => ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
        "aws-iso-f" => ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        _ => ("amazonaws.com", "api.aws"),
    };
    let domain = if kind.dual_stack { dual_stack } else { domain };
    // there the plain name of the token service is the validated one
    let is_so_anyway = service == "sts" && partition == "aws-us-gov" && !kind.dual_stack;
    let suffix = if kind.fips && !is_so_anyway { "-fips" } else { "" };
    Url::parse(&format!("https://{service}{suffix}.{region}.{domain}/")).map_err(|_| format!("{region} is no region"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Kind = Kind { fips: false, dual_stack: false };
    const FIPS: Kind = Kind { fips: true, dual_stack: false };
    const DUAL: Kind = Kind { fips: false, dual_stack: true };
    const BOTH: Kind = Kind { fips: true, dual_stack: true };

    #[test]
    fn endpoints_are_those_of_the_partition() {
        for (region, expected) in [
            ("eu-west-1", "https://sts.eu-west-1.amazonaws.com/"),
            ("us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com/"),
            ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
            ("us-iso-east-1", "https://sts.us-iso-east-1.c2s.ic.gov/"),
        ] {
            assert_eq!(endpoint("sts", region, PLAIN).unwrap().as_str(), expected);
        }
        assert_eq!((partition("us-gov-west-1"), partition("us-east-1")), ("aws-us-gov", "aws"));
        assert!(endpoint("sts", "a b", PLAIN).is_err());
    }

    #[test]
    fn endpoints_of_another_kind_are_called_as_the_sdks_call_them() {
        for (service, region, kind, expected) in [
            ("secretsmanager", "us-east-1", FIPS, "https://secretsmanager-fips.us-east-1.amazonaws.com/"),
            ("secretsmanager", "us-east-1", DUAL, "https://secretsmanager.us-east-1.api.aws/"),
            ("secretsmanager", "us-east-1", BOTH, "https://secretsmanager-fips.us-east-1.api.aws/"),
            ("secretsmanager", "us-gov-west-1", FIPS, "https://secretsmanager-fips.us-gov-west-1.amazonaws.com/"),
            ("secretsmanager", "cn-north-1", DUAL, "https://secretsmanager.cn-north-1.api.amazonwebservices.com.cn/"),
            ("secretsmanager", "us-iso-east-1", FIPS, "https://secretsmanager-fips.us-iso-east-1.c2s.ic.gov/"),
            ("sts", "us-east-1", FIPS, "https://sts-fips.us-east-1.amazonaws.com/"),
            ("sts", "us-gov-west-1", FIPS, "https://sts.us-gov-west-1.amazonaws.com/"),
            ("sts", "us-gov-west-1", BOTH, "https://sts-fips.us-gov-west-1.api.aws/"),
            ("sts", "eu-west-1", DUAL, "https://sts.eu-west-1.api.aws/"),
        ] {
            assert_eq!(endpoint(service, region, kind).unwrap().as_str(), expected, "{service} {region} {kind:?}");
        }
    }
}

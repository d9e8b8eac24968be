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

/// A service's regional endpoint.
pub(super) fn endpoint(service: &str, region: &str) -> Result<Url, String> {
    let domain = match partition(region) {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        _ => "amazonaws.com",
    };
    Url::parse(&format!("https://{service}.{region}.{domain}/")).map_err(|_| format!("{region} is no region"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_those_of_the_partition() {
        for (region, expected) in [
            ("eu-west-1", "https://sts.eu-west-1.amazonaws.com/"),
            ("us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com/"),
            ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
            ("us-iso-east-1", "https://sts.us-iso-east-1.c2s.ic.gov/"),
        ] {
            assert_eq!(endpoint("sts", region).unwrap().as_str(), expected);
        }
        assert_eq!((partition("us-gov-west-1"), partition("us-east-1")), ("aws-us-gov", "aws"));
        assert!(endpoint("sts", "a b").is_err());
    }
}

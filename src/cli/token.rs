//! `token`: make and end tokens of a running proxy.

use std::process::ExitCode;

use serde_json::json;

use super::rest::Rest;
use super::stdout::say;
use super::{Done, Output, print_json};
use crate::identity::Principal;

/// Make and end tokens of a running proxy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  export SCAIVAULT_ADDR=http://127.0.0.1:8440 SCAIVAULT_TOKEN=...
  scaivault-proxy token create --principal ci/build --group apps --folder apps/build --ttl 15m
  scaivault-proxy token create --principal ci/build --group apps --aws
  scaivault-proxy token revoke --accessor AbC...
  scaivault-proxy token revoke-principal ci/build
  scaivault-proxy token restore-principal ci/build")]
pub(super) struct Token {
    /// The proxy's scaivault listener; the token is taken from SCAIVAULT_TOKEN.
    #[arg(long, value_name = "URL", env = "SCAIVAULT_ADDR", default_value = "http://127.0.0.1:8440", global = true)]
    server: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a token.
    Create {
        /// Who it stands for.
        #[arg(long)]
        principal: String,
        /// A group; may be given several times.
        #[arg(long = "group")]
        groups: Vec<String>,
        /// A folder the principal calls its own; may be given several times.
        #[arg(long = "folder")]
        folders: Vec<String>,
        /// How long it lives: 90s, 15m, 1h, 7d, or seconds.
        #[arg(long, value_name = "DURATION", value_parser = seconds)]
        ttl: Option<u64>,
        /// Make an access key for the aws wire, and print the variables AWS SDKs read it from.
        #[arg(long)]
        aws: bool,
    },
    /// End a token by its accessor.
    Revoke {
        /// The accessor.
        #[arg(long)]
        accessor: String,
    },
    /// End all credentials of a principal.
    RevokePrincipal {
        /// Its id.
        principal: String,
    },
    /// Allow a principal's credentials again.
    RestorePrincipal {
        /// Its id.
        principal: String,
    },
}

impl Token {
    pub(super) fn run(self, output: Output) -> Done {
        let rest = Rest::new(&self.server)?;
        match self.verb {
            Verb::Create { principal, groups, folders, ttl, aws } => {
                let mut body =
                    json!({"principal": principal, "groups": groups, "folders": folders, "ttl_seconds": ttl});
                if aws && let Some(body) = body.as_object_mut() {
                    body.insert("access_key".to_owned(), json!(true));
                }
                let made = rest.call("POST", "/v1/tokens", &[], Some(&body))?;
                if output.is_json() {
                    print_json(&made)?;
                } else if aws {
                    let field =
                        |key: &str| made.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
                    say!("export AWS_ACCESS_KEY_ID={}", field("access_key_id"));
                    say!("export AWS_SECRET_ACCESS_KEY={}", field("secret_access_key"));
                    say!("export AWS_SESSION_TOKEN={}", field("session_token"));
                    say!("# of {}, until {}, accessor {}", field("principal"), field("expires_at"), field("accessor"));
                } else {
                    for key in ["token", "accessor", "principal", "expires_at"] {
                        say!("{key:<11} {}", made.get(key).and_then(|value| value.as_str()).unwrap_or("-"));
                    }
                }
            }
            Verb::Revoke { accessor } => {
                rest.call("DELETE", "/v1/tokens", &[], Some(&json!({"accessor": accessor})))?;
            }
            Verb::RevokePrincipal { principal } => {
                rest.call("PUT", &revocation(&principal)?, &[], Some(&json!({})))?;
            }
            Verb::RestorePrincipal { principal } => {
                rest.call("DELETE", &revocation(&principal)?, &[], None)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where a principal is revoked. Checked here: what a URL library makes of `a/../b` is somebody else.
fn revocation(principal: &str) -> Result<String, String> {
    Principal::check_id(principal).map_err(|error| error.to_string())?;
    Ok(format!("/v1/principals/{principal}/revocation"))
}

/// Seconds, written as a number with one of the units s, m, h and d, or without.
fn seconds(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str = "expected a duration such as 90s, 15m, 1h or 7d, or a number of seconds";
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let with_unit = units.into_iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)));
    let (digits, scale) = with_unit.unwrap_or((text, 1));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPECTED);
    }
    let number: u64 = digits.parse().map_err(|_| EXPECTED)?;
    number.checked_mul(scale).ok_or(EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_principal_becomes_part_of_a_url() {
        assert_eq!(revocation("ci/build").as_deref(), Ok("/v1/principals/ci/build/revocation"));
        for bad in
            ["", "ci/../ops/admin", "ci/./build", "ci//build", "/ci", "ci?x=y", "ci#x", "ci%2fbuild", "system/sync"]
        {
            assert!(revocation(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lifetimes_are_numbers_with_one_unit() {
        for (text, expected) in [("900", 900), ("90s", 90), ("15m", 900), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for bad in ["", "s", "-1", "+5s", "1.5h", "1h30m", "5 m", "5M", "99999999999999999999", "99999999999999999d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}

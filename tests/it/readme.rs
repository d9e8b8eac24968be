//! What the README shows a reader works as it stands there.

use std::path::Path;
use std::process::{Command, Stdio};

const README: &str = include_str!("../../README.md");
const VAULT: &str = include_str!("../../examples/vault_client.rs");
const AWS: &str = include_str!("../../examples/aws_client.rs");

#[test]
fn the_rust_clients_of_the_readme_are_the_examples() {
    for (name, example) in [("vault_client", VAULT), ("aws_client", AWS)] {
        assert!(README.contains(&format!("```rust\n{example}```\n")), "examples/{name}.rs and README.md differ");
    }
}

/// What an example prints with a proxy of its own around it.
fn printed(wire: &str, example: &str, variables: &[(&str, &str)]) -> String {
    let proxy = Path::new(env!("CARGO_BIN_EXE_scaivault-proxy"));
    let client = proxy.parent().unwrap().join("examples").join(example);
    assert!(client.exists(), "{}: `cargo test` builds it, `cargo test --test it` does not", client.display());
    // what `dev` serves, on free ports
    let output = Command::new(proxy)
        .args(["exec", "--wire", wire, "--"])
        .arg(&client)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_rust_client_for_vault_writes_and_reads_what_it_shows() {
    assert_eq!(printed("vault", "vault_client", &[]), "world\n");
}

#[test]
fn the_rust_sdk_for_aws_writes_and_reads_what_it_shows() {
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIAANYANYANYANYANY1"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    assert_eq!(printed("aws", "aws_client", &keys), "world\n");
}

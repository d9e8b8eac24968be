//! What the README shows a reader works as it stands there.

use std::path::Path;
use std::process::{Command, Stdio};

const README: &str = include_str!("../../README.md");
const EXAMPLE: &str = include_str!("../../examples/vault_client.rs");

#[test]
fn the_rust_client_of_the_readme_is_the_example() {
    assert!(README.contains(&format!("```rust\n{EXAMPLE}```\n")), "examples/vault_client.rs and README.md differ");
}

#[test]
fn the_rust_client_writes_and_reads_what_it_shows() {
    let proxy = Path::new(env!("CARGO_BIN_EXE_scaivault-proxy"));
    let client = proxy.parent().unwrap().join("examples/vault_client");
    assert!(client.exists(), "{}: `cargo test` builds it, `cargo test --test it` does not", client.display());
    // what `dev` serves, on free ports
    let output = Command::new(proxy)
        .args(["exec", "--wire", "vault", "--"])
        .arg(&client)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"world\n".as_slice()), "{stderr}");
}

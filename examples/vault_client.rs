//! Writes a secret and reads it back. `VAULT_ADDR` and `VAULT_TOKEN` say where and as whom.

use std::env;

use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // only for reqwest's feature `rustls-no-provider`; its default features bring a provider
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("{}/v1/secret/data/hello", env::var("VAULT_ADDR")?);
    let token = env::var("VAULT_TOKEN")?;
    let client = reqwest::Client::new();
    let body = json!({"data": {"name": "world"}});
    client.put(&url).header("X-Vault-Token", &token).json(&body).send().await?.error_for_status()?;
    let answer = client.get(&url).header("X-Vault-Token", &token).send().await?.error_for_status()?;
    let secret: Value = answer.json().await?;
    println!("{}", secret.pointer("/data/data/name").and_then(Value::as_str).unwrap_or("no name"));
    Ok(())
}

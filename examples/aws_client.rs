//! Writes a secret and reads it back. `AWS_ENDPOINT_URL_SECRETS_MANAGER`, `AWS_REGION` and the keys say where and as whom.

use aws_config::BehaviorVersion;
use aws_sdk_secretsmanager::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // only without the SDK's default features, which bring a client for HTTPS
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let client = Client::new(&config);
    client.create_secret().name("hello").secret_string("world").send().await?;
    let secret = client.get_secret_value().secret_id("hello").send().await?;
    println!("{}", secret.secret_string().unwrap_or("no text"));
    Ok(())
}

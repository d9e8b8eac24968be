//! Who is told of events.

use std::sync::Arc;
use std::time::Duration;

use super::Extras;
use super::backend::credential_source;
use super::reach::as_named;
use crate::app::Ground;
use crate::backend::{HttpClient, HttpSettings, client_config};
use crate::config::{Config, Problem, TenantConfig, WebhookConfig};
use crate::events::{EventKind, Webhook};

const CONNECT: Duration = Duration::from_secs(5);

/// Every tenant's webhooks.
///
/// # Errors
/// What is wrong with a hook's address or roots, by its key.
pub(in crate::app) fn webhooks(
    config: &Config,
    extras: &Extras,
    ground: &Ground,
) -> Result<Vec<Webhook>, Vec<Problem>> {
    let (mut hooks, mut problems) = (Vec::new(), Vec::new());
    for tenant in &config.tenants {
        for hook in &tenant.webhooks {
            match webhook(tenant, hook, extras, ground) {
                Ok(hook) => hooks.push(hook),
                Err(text) => problems.push(Problem::new(hook.key.clone(), hook.line, text)),
            }
        }
    }
    if problems.is_empty() { Ok(hooks) } else { Err(problems) }
}

fn webhook(tenant: &TenantConfig, hook: &WebhookConfig, extras: &Extras, ground: &Ground) -> Result<Webhook, String> {
    let tls = client_config(hook.ca_path.as_deref(), None, true)?;
    let settings = HttpSettings { tls, connect_timeout: CONNECT };
    let client = HttpClient::within(settings, as_named()).map_err(|error| error.to_string())?;
    let url = url::Url::parse(hook.url.as_str()).map_err(|error| error.to_string())?;
    let source = credential_source(tenant, &hook.secret_path, extras, ground)?;
    let kinds = hook.types.iter().filter_map(|name| EventKind::parse(name)).collect();
    let key = Arc::new(move || source().ok());
    Ok(Webhook { tenant: tenant.tenant.clone(), url, client, key, kinds })
}

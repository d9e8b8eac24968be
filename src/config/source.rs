//! Reading the configuration file. The only part of the room that touches the disk.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::problem::ConfigError;
use super::raw::MAX_BYTES;
use super::{Config, compile_text};

/// Reads and compiles the configuration at `path`. Files it names are resolved against its directory and not opened.
///
/// # Errors
/// The file cannot be read, is larger than 4 MiB, is not UTF-8, or is wrong; then every problem is listed.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = read(path)?;
    let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    compile_text(&text, base).map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let cap = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(cap).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::NotText { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{ListenerAuth, SealKey, SinkKind, VaultAuth};
    use crate::error::ErrorKind;
    use crate::secret::{Mode, SyncScope, Tenant, WireKind};

    fn shipped(name: &str) -> Config {
        load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
    }

    #[test]
    fn the_shipped_sidecar_loads_as_it_reads() {
        let config = shipped("sidecar.yaml");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert_eq!(config.store.state.as_deref(), Some(Path::new("/run/scaivault-proxy/state")));
        assert_eq!(config.audit.sinks.len(), 1);
        assert_eq!(config.admin.address.to_string(), "0.0.0.0:8449");
        let wires: Vec<_> = config.listeners.iter().map(|listener| listener.wire).collect();
        assert_eq!(wires, [WireKind::Vault, WireKind::Aws]);
        assert!(config.listeners.iter().all(|listener| listener.auth == ListenerAuth::Workload));
        assert_eq!(config.listeners[1].account.as_deref(), Some("123456789012"));
        let tenant = config.tenant(&Tenant::default_tenant()).unwrap();
        assert_eq!(tenant.identity.workload.as_ref().unwrap().folders.len(), 2);
        assert!(tenant.policies[0].ends_with("config/policies/apps.cedar") && tenant.policies[0].is_absolute());
        assert_eq!(tenant.prefetch.paths.len(), 1);
        let [vault, aws] = tenant.backends.as_slice() else { panic!("two backends") };
        let crate::config::BackendConfig::HashicorpVault(vault) = &vault.config else { panic!("vault") };
        assert_eq!(vault.mount, "kubernetes-prod");
        assert!(matches!(&vault.auth, VaultAuth::Kubernetes { role, .. } if role == "orders"));
        assert_eq!((aws.mode, aws.sync_scope), (Mode::Sync, SyncScope::Demand));
        assert_eq!(aws.path_mapping[0].key, "backends[1].path_mapping[0]");
    }

    #[test]
    fn the_shipped_gateway_loads_as_it_reads() {
        let config = shipped("gateway.yaml");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert!(matches!(config.seal.as_ref().unwrap().current, SealKey::File { .. }));
        assert!(matches!(config.audit.sinks[1].kind, SinkKind::Stdout) && !config.audit.sinks[1].required);
        assert!(config.listeners.iter().all(|listener| listener.tls == config.listeners[0].tls));
        assert!(config.listeners.iter().all(|listener| listener.tenant.is_none()));
        let names: Vec<_> = config.tenants.iter().map(|tenant| tenant.tenant.as_str()).collect();
        assert_eq!(names, ["payments", "search"]);
        let payments = &config.tenants[0];
        assert_eq!(payments.identity.approles[0].secret_id_files.len(), 1);
        assert_eq!(payments.identity.jwt[0].allow, [("namespace".to_owned(), vec!["payments".to_owned()])]);
        assert_eq!(payments.backends[0].sync_scope, SyncScope::All);
        assert_eq!(payments.backends[0].path_mapping[1].mode, Some(Mode::Proxy));
        assert_eq!(payments.webhooks[0].types.len(), 4);
        assert_eq!(payments.webhooks[0].key, "tenants.payments.events.webhooks[0]");
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let error = load(Path::new("/nowhere/at/all.yaml")).unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }));
        assert!(error.to_string().starts_with("/nowhere/at/all.yaml: cannot be read"));

        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        assert!(load(&directory).is_err());
        let binary = std::env::current_exe().unwrap();
        let kind = load(&binary).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::TooLarge | ErrorKind::Malformed));
    }
}

//! A listener's part of a snapshot: its protocol, what the protocol knows of it, and its table.

use crate::app::{Ground, files};
use crate::config::{Address, Config, ListenerAuth, ListenerConfig, MountKind, PassOperation, PathRule, Problem};
use crate::identity::PeerCertificate;
use crate::mapping::{RuleSpec, Side, Table};
use crate::pipeline::ListenerState;
use crate::secret::{Tenant, WireKind};
use crate::wire::{AwsFacts, ListenerFacts, Mount, Passthrough, frontend};

pub(super) fn state(
    listener: &ListenerConfig,
    config: &Config,
    ground: &Ground,
) -> Result<ListenerState, Vec<Problem>> {
    let failed = |key: &str, text: &str| vec![Problem::new(format!("{}.{key}", listener.key), listener.line, text)];
    let frontend = frontend(listener.wire).ok_or_else(|| failed("wire", "not served by this release"))?;
    let tenant = listener.tenant.clone().unwrap_or_else(Tenant::default_tenant);
    let settings = config.tenant(&tenant).or_else(|| config.tenants.first());
    let mut mounts: Vec<Mount> = listener.mounts.iter().map(mount).collect();
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.path.split('/').count()));
    let passthrough = listener.passthrough.iter().map(|entry| Passthrough {
        path: entry.path.split('/').map(str::to_owned).collect(),
        operations: entry.operations.iter().map(pass_operation).collect(),
    });
    let facts = ListenerFacts {
        mounts,
        passthrough: passthrough.collect(),
        require_request_header: listener.require_request_header,
        workload: listener.auth == ListenerAuth::Workload,
        max_versions: settings.map_or(10, |tenant| tenant.local.max_versions.into()),
        value_bytes: config.tenants.iter().map(|tenant| tenant.value_bytes).max().unwrap_or(1_048_576),
        hosts: hosts(listener),
        cursors: ground.cursors.clone(),
        aws: listener
            .account
            .clone()
            .zip(listener.region.clone())
            .map(|(account, region)| AwsFacts { account, region }),
    };
    Ok(ListenerState {
        key: Box::from(listener.key.as_str()),
        address: Box::from(listener.address.to_string()),
        kind: listener.wire,
        frontend,
        facts,
        paths: paths(&listener.paths, &listener.key)?,
        workload: listener.auth == ListenerAuth::Workload,
        tenant,
    })
}

/// Table 1.
pub(in crate::app) fn paths(rules: &[PathRule], key: &str) -> Result<Table, Vec<Problem>> {
    if rules.is_empty() {
        return Ok(Table::identity());
    }
    let spec = |rule: &PathRule| RuleSpec {
        from: rule.from.clone(),
        to: rule.to.clone(),
        separator: rule.separator.clone(),
        escape: rule.escape,
    };
    let specs: Vec<RuleSpec> = rules.iter().map(spec).collect();
    Table::compile(&specs, Side::From).map_err(|found| {
        found.into_iter().map(|p| Problem::new(format!("{key}.paths{}", p.key), None, p.message)).collect()
    })
}

fn mount(mount: &crate::config::Mount) -> Mount {
    let kind = match mount.kind {
        MountKind::Kv1 => crate::wire::MountKind::Kv1,
        MountKind::Kv2 => crate::wire::MountKind::Kv2,
        MountKind::Logical => crate::wire::MountKind::Logical,
    };
    Mount { path: mount.path.clone(), kind }
}

const fn pass_operation(operation: &PassOperation) -> crate::wire::PassOperation {
    match operation {
        PassOperation::Read => crate::wire::PassOperation::Read,
        PassOperation::List => crate::wire::PassOperation::List,
        PassOperation::Write => crate::wire::PassOperation::Write,
    }
}

/// The hosts a listener answers for. Our own API, and listeners that ask for no credential, always have a list: what the
/// configuration says, else loopback names, the listener's own address and the names in its certificate.
fn hosts(listener: &ListenerConfig) -> Vec<String> {
    let is_open = listener.auth == ListenerAuth::Workload && matches!(listener.address, Address::Tcp(_));
    if !listener.hosts.is_empty() || (listener.wire != WireKind::Scaivault && !is_open) {
        return listener.hosts.clone();
    }
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if let Address::Tcp(address) = &listener.address {
        hosts.push(address.ip().to_string());
    }
    let pem = listener.tls.as_ref().and_then(|tls| files::bytes(&tls.certificate).ok());
    let der = pem.and_then(|pem| {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::CertificateDer::from_pem_slice(&pem).ok()
    });
    if let Some(certificate) = der.and_then(|der| PeerCertificate::from_der(&der).ok()) {
        let names =
            certificate.sans.iter().filter_map(|san| san.strip_prefix("dns:").or_else(|| san.strip_prefix("ip:")));
        hosts.extend(names.map(str::to_owned));
    }
    hosts
}

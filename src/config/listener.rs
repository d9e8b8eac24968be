//! The `listeners` list: what is spoken where, and who is believed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::address::Address;
use super::process::host;
use super::raw::{Block, Item};
use super::wire::{self, Mount, Passthrough, PathRule, Project};
use crate::secret::{Tenant, WireKind};

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The key path, as in `listeners[0]`.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
    /// The protocol spoken.
    pub wire: WireKind,
    /// Where it listens.
    pub address: Address,
    /// The permission bits of a Unix socket.
    pub socket_mode: u32,
    /// TLS, if it is spoken.
    pub tls: Option<TlsConfig>,
    /// Whether HTTP/2 is spoken without TLS.
    pub h2c: bool,
    /// The hosts accepted, in lower case, without port or brackets; empty leaves the choice to the listener.
    pub hosts: Vec<String>,
    /// Who is believed.
    pub auth: ListenerAuth,
    /// The tenant of calls that carry no credential, if there is one for them.
    pub tenant: Option<Tenant>,
    /// Whether requests must carry the header that browsers cannot send.
    pub require_request_header: bool,
    /// The vault wire's mounts; never empty on that wire, empty on others.
    pub mounts: Vec<Mount>,
    /// What the vault wire passes on as it is.
    pub passthrough: Vec<Passthrough>,
    /// The aws wire's account, 12 digits.
    pub account: Option<String>,
    /// The aws wire's region.
    pub region: Option<String>,
    /// The gcp wire's projects.
    pub projects: Vec<Project>,
    /// Wire names to secret paths, in order; empty is the identity.
    pub paths: Vec<PathRule>,
}

impl ListenerConfig {
    /// A listener on the wire's default address with every default of a configuration file.
    #[must_use]
    pub fn new(wire: WireKind) -> Self {
        Self {
            key: wire.as_str().to_owned(),
            line: None,
            wire,
            address: default_address(wire),
            socket_mode: 0o600,
            tls: None,
            h2c: false,
            hosts: Vec::new(),
            auth: ListenerAuth::Credential,
            tenant: Some(Tenant::default_tenant()),
            require_request_header: false,
            mounts: if wire == WireKind::Vault { vec![Mount::default()] } else { Vec::new() },
            passthrough: Vec::new(),
            account: None,
            region: None,
            projects: Vec::new(),
            paths: Vec::new(),
        }
    }
}

/// Who a listener believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerAuth {
    /// Callers with a credential this process knows.
    Credential,
    /// Everyone who reaches it, as the tenant's workload.
    Workload,
}

/// The files of a TLS listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// The roots client certificates must descend from; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

const WIRES: [(&str, WireKind); 5] = [
    ("scaivault", WireKind::Scaivault),
    ("vault", WireKind::Vault),
    ("aws", WireKind::Aws),
    ("azure", WireKind::Azure),
    ("gcp", WireKind::Gcp),
];

/// The address a wire listens on when none is named.
#[must_use]
pub const fn default_address(wire: WireKind) -> Address {
    let port = match wire {
        WireKind::Scaivault => 8440,
        WireKind::Vault => 8441,
        WireKind::Aws => 8442,
        WireKind::Azure => 8443,
        WireKind::Gcp => 8444,
    };
    Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

/// Reads one of `listeners`.
pub(super) fn compile(item: &Item<'_>) -> Option<ListenerConfig> {
    item.block(|block| {
        let wire = block.required("wire").and_then(|item| item.word(&WIRES));
        let mut listener = ListenerConfig::new(wire.unwrap_or(WireKind::Scaivault));
        listener.key = item.key().to_owned();
        listener.line = Some(item.line());
        place(block, &mut listener);
        listener.h2c = block.flag("h2c", false);
        listener.hosts = block.some("hosts", host);
        let workload = block.word("auth", &[("workload", ListenerAuth::Workload)]);
        listener.auth = workload.unwrap_or(ListenerAuth::Credential);
        listener.tenant = block.optional("tenant").and_then(|item| item.parse(Tenant::parse));
        listener.require_request_header = block.flag("require_request_header", false);
        listener.paths = block.some("paths", wire::path_rule);
        match wire {
            Some(_) => wire::compile(block, &mut listener),
            None => block.skip(&wire::KEYS),
        }
        report_contradictions(item, wire, &listener);
        wire.map(|_| listener)
    })
}

fn place(block: &mut Block<'_>, listener: &mut ListenerConfig) {
    if let Some(address) = block.optional("address").and_then(|item| item.parse(Address::parse)) {
        listener.address = address;
    }
    if let Some(item) = block.optional("socket_mode") {
        match listener.address {
            Address::Tcp(_) => item.refuse("needs an address of the form unix:/PATH"),
            Address::Unix(_) => listener.socket_mode = item.parse(socket_mode).unwrap_or(0o600),
        }
    }
    listener.tls = block.optional("tls").and_then(|item| item.block(tls));
}

fn tls(block: &mut Block<'_>) -> Option<TlsConfig> {
    let certificate = block.required("certificate").and_then(|item| item.file());
    let private_key = block.required("key").and_then(|item| item.file());
    let client_ca = block.file("client_ca");
    Some(TlsConfig { certificate: certificate?, private_key: private_key?, client_ca })
}

/// Three or four octal digits, as `chmod` takes them; a socket nobody may connect to is refused.
fn socket_mode(text: &str) -> Result<u32, &'static str> {
    const EXPECTED: &str = "expected octal permission bits in quotes, such as \"0600\"";
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let mode = if octal { u32::from_str_radix(text, 8).map_err(|_| EXPECTED)? } else { return Err(EXPECTED) };
    if mode > 0o777 || mode & 0o600 != 0o600 { Err(EXPECTED) } else { Ok(mode) }
}

fn report_contradictions(item: &Item<'_>, wire: Option<WireKind>, listener: &ListenerConfig) {
    let has_tls = item.holds("tls");
    if has_tls && listener.h2c {
        item.refuse("h2c and tls exclude each other");
    }
    match wire {
        Some(WireKind::Azure) if !has_tls => item.refuse("the azure wire needs tls: its clients speak nothing else"),
        Some(WireKind::Gcp) if !has_tls && !listener.h2c => item.refuse("the gcp wire needs tls or h2c"),
        _ => {}
    }
    if listener.auth == ListenerAuth::Workload && !listener.address.is_local() {
        item.refuse("auth: workload believes everyone who reaches it, so it needs a loopback or unix: address");
    }
    if !listener.address.is_local() && !has_tls {
        item.warn("listens on a network address without tls: credentials and values can be read on the way");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::harness::{accepted, listening, refuses};
    use crate::config::{Address, ListenerAuth};

    fn refuses_listener(listener: &str, key: &str, part: &str) {
        refuses(&listening(&format!("- {{{listener}}}"), ""), &format!("listeners[0]{key}"), part);
    }

    #[test]
    fn a_listener_is_read_with_all_its_keys() {
        let keys = "wire: scaivault, address: 'unix:/run/p.sock', socket_mode: '0660', hosts: [Vault.internal, '[::1]'], \
                    auth: workload, tenant: default, require_request_header: true, \
                    tls: {certificate: c.pem, key: k.pem, client_ca: /ca.pem}, \
                    paths: [{from: '**', to: 'apps/**', separator: '--', escape: true}]";
        let text = listening(&format!("- {{{keys}}}"), "identity: {workload: {principal: p}}");
        let listener = accepted(&text).listeners.remove(0);
        assert_eq!(listener.address, Address::Unix("/run/p.sock".into()));
        assert_eq!((listener.socket_mode, listener.auth), (0o660, ListenerAuth::Workload));
        assert_eq!(listener.hosts, ["vault.internal", "::1"]);
        let tls = listener.tls.unwrap();
        assert_eq!(
            (tls.certificate.as_path(), tls.private_key.as_path()),
            (Path::new("/etc/proxy/c.pem"), Path::new("/etc/proxy/k.pem"))
        );
        assert_eq!(tls.client_ca.as_deref(), Some(Path::new("/ca.pem")));
        assert_eq!(listener.paths[0].key, "listeners[0].paths[0]");
        assert_eq!((listener.paths[0].separator.as_deref(), listener.paths[0].escape), (Some("--"), true));
        assert!(listener.require_request_header && listener.mounts.is_empty());
    }

    #[test]
    fn workload_auth_is_for_loopback_and_sockets() {
        let text = "- {wire: vault, address: '10.0.0.1:8441', auth: workload}";
        refuses(
            &listening(text, "identity: {workload: {principal: p}}"),
            "listeners[0]",
            "needs a loopback or unix: address",
        );
        refuses_listener("wire: vault, auth: token", ".auth", "expected one of: workload");
    }

    #[test]
    fn tls_is_complete_or_absent() {
        refuses_listener("wire: vault, tls: {certificate: c}", ".tls.key", "is required");
        refuses_listener("wire: vault, tls: {key: c}", ".tls.certificate", "is required");
        refuses_listener("wire: vault, h2c: true, tls: {certificate: c, key: k}", "", "exclude each other");
        refuses_listener("wire: azure", "", "azure wire needs tls");
        refuses_listener("wire: gcp, projects: {p: 1}", "", "gcp wire needs tls or h2c");
    }

    #[test]
    fn socket_modes_are_octal_text_and_for_sockets() {
        refuses_listener("wire: vault, socket_mode: '0600'", ".socket_mode", "needs an address of the form unix:");
        for mode in ["'0900'", "'0o600'", "'60'", "'1777'", "'0444'", "'+600'"] {
            let keys = format!("wire: vault, address: 'unix:/p', socket_mode: {mode}");
            refuses_listener(&keys, ".socket_mode", "expected octal permission bits");
        }
        refuses_listener("wire: vault, address: 'unix:/p', socket_mode: 0600", ".socket_mode", "put it in quotes");
    }

    #[test]
    fn o05_empty_allow_lists_are_refused() {
        refuses_listener("wire: vault, hosts: []", ".hosts", "is an empty list");
        refuses_listener("wire: vault, paths: []", ".paths", "is an empty list");
        refuses_listener("wire: vault, hosts: ['https://a']", ".hosts[0]", "without a port");
        refuses_listener("wire: vault, hosts: ['a:80']", ".hosts[0]", "without a port");
    }
}

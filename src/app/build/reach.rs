//! Where clients may connect to that are pointed at names: a name may stand for another address than it did when it was
//! configured, and for one of this machine, its link or its cloud's metadata service.

use std::net::SocketAddr;

use super::Extras;
use crate::backend::Reach;
use crate::config::{Address, AllowedEndpoints, Config, Problem, TenantConfig, is_meant, is_special_address};

/// Where a backend of a tenant's API may point.
///
/// # Errors
/// What is wrong with the list; the configuration's own check found it before.
pub(in crate::app) fn allowed(
    config: &Config,
    tenant: &TenantConfig,
    extras: &Extras,
) -> Result<AllowedEndpoints, Vec<Problem>> {
    let listeners = config.listeners.iter().map(|listener| &listener.address);
    let backends = config.tenants.iter().flat_map(|tenant| &tenant.backends);
    let own = listeners.chain(backends.filter_map(|backend| backend.config.audit_device()));
    let own = own.filter_map(|address| match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    });
    let own: Vec<SocketAddr> = own.chain([config.admin.address]).collect();
    AllowedEndpoints::compile(&tenant.allow_endpoints, extras.dev, own)
}

/// The reach of a backend that came over the API.
pub(super) fn of_api(allowed: &AllowedEndpoints) -> Reach {
    let allowed = allowed.clone();
    Reach::checked(move |host, to| allowed.admits(host, to))
}

/// The reach of a client of a URL the file names: the operator may name this machine, but no name stands for it unasked.
pub(in crate::app) fn as_named() -> Reach {
    Reach::checked(|host, to| is_meant(host, to.ip()))
}

/// The reach of a client of a URL that `source`, a host, told: only what is where `source` is may be on this machine.
pub(in crate::app) fn as_told_by(source: &str) -> Reach {
    // as a connection spells an IPv6 address
    let source = source.trim_matches(['[', ']']).to_owned();
    Reach::checked(move |host, to| {
        let is_there = host.eq_ignore_ascii_case(&source) && is_meant(host, to.ip());
        is_there || !is_special_address(to.ip())
    })
}

//! `sys/*`: what clients ask before they ask for anything else. Everything else there is refused.

use serde::Deserialize;

use super::decode::{self, Target, Verb};
use super::{Shape, body, lease_call};
use crate::error::ErrorKind;
use crate::wire::{About, Fault, Probe, Query, Request, SystemRequest};

const MAX_PROBES: usize = 64;

pub(super) fn decode(rest: &[&str], target: &mut Target<'_, '_>) -> Result<(Request, Shape), Fault> {
    let request = match (rest, target.verb) {
        (["health"], Verb::Read) => {
            // status-code overrides and standby switches change nothing here
            *target.query = Query::default();
            SystemRequest::Health
        }
        (["init"], Verb::Read) => SystemRequest::Init,
        (["seal-status"], Verb::Read) => SystemRequest::SealStatus,
        (["leader"], Verb::Read) => SystemRequest::Leader,
        (["mounts"], Verb::Read) => SystemRequest::Mounts,
        (["internal", "ui", "mounts"], Verb::Read) => SystemRequest::UiMounts,
        (["internal", "ui", "mounts", path @ ..], Verb::Read) => match decode::mount_of(path, target.facts) {
            Some((mount, _)) => SystemRequest::UiMount(mount.path.clone()),
            None => return Err(Fault { about: About::Preflight, ..Fault::of(ErrorKind::Denied) }),
        },
        (["capabilities-self"], Verb::Write) => SystemRequest::Capabilities(probes(target)?),
        (["leases", verb, rest @ ..], Verb::Write) => return lease_call::decode(verb, rest, target),
        _ => return Err(Fault::of(ErrorKind::Denied)),
    };
    Ok((Request::System(request), Shape::System))
}

#[derive(Deserialize)]
struct Capabilities {
    #[serde(default)]
    path: Option<OneOrMany>,
    #[serde(default)]
    paths: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn probes(target: &Target<'_, '_>) -> Result<Vec<Probe>, Fault> {
    let Capabilities { path, paths } = body::read(target.body)?;
    let mut asked = Vec::new();
    for wanted in [paths, path].into_iter().flatten() {
        match wanted {
            OneOrMany::One(path) => asked.push(path),
            OneOrMany::Many(paths) => asked.extend(paths),
        }
    }
    if asked.is_empty() {
        return Err(Fault::malformed("paths must be supplied"));
    }
    if asked.len() > MAX_PROBES {
        return Err(Fault::because(ErrorKind::TooLarge, "more than 64 paths"));
    }
    Ok(asked.into_iter().map(|asked| Probe { calls: decode::probe(&asked, target.facts), asked }).collect())
}

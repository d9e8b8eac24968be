//! A question as Cedar wants it: a request, and the entities its answer can depend on.
//!
//! Two entities are enough. Policies reach the hierarchy only through `in`, which asks the left side for its ancestors,
//! and the left side is the principal (ancestors: its groups) or the resource (ancestors: every folder above it). Both
//! carry the whole chain themselves, so no folder or group has to be there as an entity, and there is no closure to
//! compute over them.

use std::iter;
use std::net::IpAddr;

use cedar_policy::{Entities, Entity, EntityUid, Request, RestrictedExpression};

use crate::clock::Timestamp;
use crate::identity::Principal;
use crate::secret::Folder;

use super::mention::Mentions;
use super::question::{Context, Question, Resource};
use super::vocabulary::{Vocabulary, entity};

/// How much of an RFC 3339 text with microseconds is left at Cedar's precision: `2026-11-23T10:06:57.123`.
const MILLISECONDS: usize = 23;

/// Builds both. The context carries only what the policies mention: what no policy can see need not be parsed.
///
/// The error says what could not be built; whoever gets it denies.
pub(super) fn build(question: &Question<'_>, mentions: Mentions) -> Result<(Request, Entities), String> {
    if !question.is_well_formed() {
        return Err(format!("{} does not apply to a {}", question.action.as_str(), question.resource.kind()));
    }
    let words = Vocabulary::shipped()?;
    let principal = principal(words, question.principal)?;
    let resource = resource(words, question.resource)?;
    let action = entity(&words.action, question.action.as_str());
    let context = context(question.context, mentions)?;
    let request = Request::new(principal.uid(), action, resource.uid(), context, None)
        .map_err(|error| format!("the request cannot be put to the policies: {error}"))?;
    let entities = Entities::from_entities([principal, resource], None)
        .map_err(|error| format!("the entities of the request do not fit together: {error}"))?;
    Ok((request, entities))
}

fn principal(words: &Vocabulary, principal: &Principal) -> Result<Entity, String> {
    let folders = principal
        .folders()
        .iter()
        .map(|folder| RestrictedExpression::new_entity_uid(entity(&words.folder, folder.as_str())));
    let attributes = [
        ("method".to_owned(), text(principal.method().as_str())),
        ("folders".to_owned(), RestrictedExpression::new_set(folders)),
    ];
    let groups = principal.groups().iter().map(|group| entity(&words.group, group));
    entity_of(entity(&words.principal, principal.id()), attributes, groups)
}

fn resource(words: &Vocabulary, resource: Resource<'_>) -> Result<Entity, String> {
    let folders = |above: &str| entity(&words.folder, above);
    match resource {
        Resource::Secret(path) => entity_of(
            entity(&words.secret, path.as_str()),
            [("path".to_owned(), text(path.as_str()))],
            above(path.as_str()).map(folders),
        ),
        Resource::Folder(folder) => entity_of(
            entity(&words.folder, folder.as_str()),
            [("path".to_owned(), text(folder.as_str()))],
            above(folder.as_str()).map(folders),
        ),
        Resource::Backend { name, folder } => entity_of(
            entity(&words.backend, name),
            [("name".to_owned(), text(name))],
            folder.into_iter().flat_map(Folder::ancestors).map(folders),
        ),
        Resource::System(area) => Ok(Entity::with_uid(entity(&words.system, area.as_str()))),
    }
}

fn entity_of(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (String, RestrictedExpression)>,
    ancestors: impl IntoIterator<Item = EntityUid>,
) -> Result<Entity, String> {
    Entity::new_with_tags(uid, attributes, ancestors, iter::empty())
        .map_err(|error| format!("an entity of the request cannot be built: {error}"))
}

fn context(context: &Context, mentions: Mentions) -> Result<cedar_policy::Context, String> {
    let wire = mentions.wire.then(|| ("wire".to_owned(), text(context.wire.as_str())));
    let mode = mentions.mode.then(|| ("mode".to_owned(), text(context.mode.as_str())));
    let now = mentions.now.then(|| ("now".to_owned(), RestrictedExpression::new_datetime(instant(context.now))));
    let source = context.source_ip.filter(|_| mentions.source_ip);
    let source = source.map(|ip| ("source_ip".to_owned(), RestrictedExpression::new_ip(address(ip))));
    cedar_policy::Context::from_pairs(wire.into_iter().chain(mode).chain(now).chain(source))
        .map_err(|error| format!("the context of the request cannot be built: {error}"))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

/// Cedar's own spelling of a time. A time it cannot spell (past the year 9999) becomes one it refuses.
fn instant(now: Timestamp) -> String {
    let mut text = now.rfc3339();
    text.truncate(MILLISECONDS);
    text.push('Z');
    text
}

/// An IPv4 client of a dual-stack socket has one address for policies, whichever way the socket shows it.
fn address(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

/// The folders above a secret or folder, deepest first, the root (`""`) last; the root has none.
fn above(path: &str) -> impl Iterator<Item = &str> {
    let deepest = (!path.is_empty()).then(|| parent(path));
    iter::successors(deepest, |&folder| (!folder.is_empty()).then(|| parent(folder)))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::question::SystemArea;
    use super::super::tests::{folder, here, ledger, path};
    use super::*;
    use crate::secret::Action;

    fn built(action: Action, resource: Resource<'_>, context: &Context) -> Result<(Request, Entities), String> {
        build(&Question { principal: &ledger(), action, resource, context }, Mentions::ALL)
    }

    fn is_in(entities: &Entities, kind: &str, id: &str, folder: &str) -> bool {
        let uid = |kind: &str, id: &str| entity(&kind.parse().unwrap(), id);
        entities.is_ancestor_of(&uid("Folder", folder), &uid(kind, id))
    }

    #[test]
    fn what_is_built_conforms_to_the_schema() {
        let schema = Vocabulary::shipped().unwrap().validator.schema();
        let (secret, root, apps) = (path("apps/ledger/db"), folder(""), folder("apps"));
        let backend = Resource::Backend { name: "vault-prod", folder: Some(&apps) };
        let nowhere = Resource::Backend { name: "aws", folder: None };
        for (action, resource) in [
            (Action::Read, Resource::Secret(&secret)),
            (Action::Describe, Resource::Secret(&secret)),
            (Action::Write, Resource::Secret(&secret)),
            (Action::Delete, Resource::Secret(&secret)),
            (Action::Destroy, Resource::Secret(&secret)),
            (Action::List, Resource::Folder(&root)),
            (Action::Administer, Resource::Folder(&apps)),
            (Action::Administer, backend),
            (Action::Administer, nowhere),
            (Action::Administer, Resource::System(SystemArea::Seal)),
        ] {
            let (request, entities) = built(action, resource, &here()).unwrap();
            let part = |uid: Option<&EntityUid>| uid.unwrap().clone();
            Request::new(
                part(request.principal()),
                part(request.action()),
                part(request.resource()),
                request.context().unwrap().clone(),
                Some(schema),
            )
            .unwrap();
            Entities::from_entities(entities.iter().cloned(), Some(schema)).unwrap();
        }
    }

    #[test]
    fn a_resource_is_in_every_folder_above_it_and_no_other() {
        let secret = path("apps/ledger/db");
        let (_, entities) = built(Action::Read, Resource::Secret(&secret), &here()).unwrap();
        for above in ["apps/ledger", "apps", ""] {
            assert!(is_in(&entities, "Secret", "apps/ledger/db", above), "{above}");
        }
        for other in ["apps/led", "app", "apps/ledger/db", "ledger", "apps/ledger/"] {
            assert!(!is_in(&entities, "Secret", "apps/ledger/db", other), "{other}");
        }
        assert_eq!(above("").count(), 0);
        assert_eq!(above("a").collect::<Vec<_>>(), [""]);
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a/b", "a", ""]);
        for text in ["", "a", "a/b", "a/b/c"] {
            assert!(above(text).eq(folder(text).ancestors().skip(1)), "{text}");
        }
    }

    #[test]
    fn a_backend_is_in_its_folder_and_the_folders_above() {
        let home = folder("apps/ledger");
        let backend = Resource::Backend { name: "apps", folder: Some(&home) };
        let (_, entities) = built(Action::Administer, backend, &here()).unwrap();
        for above in ["apps/ledger", "apps", ""] {
            assert!(is_in(&entities, "Backend", "apps", above), "{above}");
        }
        let nowhere = Resource::Backend { name: "apps", folder: None };
        let (_, entities) = built(Action::Administer, nowhere, &here()).unwrap();
        assert!(!is_in(&entities, "Backend", "apps", ""));
    }

    #[test]
    fn an_action_that_does_not_apply_is_not_put_to_the_policies() {
        let (secret, root) = (path("a"), folder(""));
        for (action, resource) in [
            (Action::Read, Resource::Folder(&root)),
            (Action::List, Resource::Secret(&secret)),
            (Action::Administer, Resource::Secret(&secret)),
            (Action::Write, Resource::System(SystemArea::Audit)),
        ] {
            assert!(built(action, resource, &here()).unwrap_err().contains("does not apply"));
        }
    }

    #[test]
    fn times_and_addresses_are_spelled_as_cedar_wants_them() {
        assert_eq!(instant(Timestamp::from_micros(1_795_428_417_123_999)), "2026-11-23T10:06:57.123Z");
        let mapped = Ipv4Addr::new(10, 20, 0, 7).to_ipv6_mapped();
        assert_eq!(address(mapped.into()), "10.20.0.7");
        let root = folder("");
        for ip in [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(mapped), "::10.20.0.7".parse().unwrap()] {
            let context = Context { source_ip: Some(ip), ..here() };
            built(Action::List, Resource::Folder(&root), &context).unwrap();
        }
        let never = Context { now: Timestamp::from_micros(u64::MAX), ..here() };
        assert!(built(Action::List, Resource::Folder(&root), &never).unwrap_err().contains("context"));
    }
}

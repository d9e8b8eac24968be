//! The words of the shipped schema: entity types, and the validator that holds policies to them.

use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema, Validator};

const SCHEMA: &str = include_str!("../../config/policies/schema.cedarschema");

static SHIPPED: LazyLock<Result<Vocabulary, String>> = LazyLock::new(Vocabulary::build);

/// The schema and the names of its entity types, parsed once.
pub(super) struct Vocabulary {
    pub(super) validator: Validator,
    pub(super) action: EntityTypeName,
    pub(super) principal: EntityTypeName,
    pub(super) group: EntityTypeName,
    pub(super) secret: EntityTypeName,
    pub(super) folder: EntityTypeName,
    pub(super) backend: EntityTypeName,
    pub(super) system: EntityTypeName,
}

impl Vocabulary {
    /// The shipped one. The error is a defect of this program, and whoever meets it denies.
    pub(super) fn shipped() -> Result<&'static Self, &'static str> {
        SHIPPED.as_ref().map_err(String::as_str)
    }

    fn build() -> Result<Self, String> {
        let schema = SCHEMA.parse::<Schema>().map_err(|error| format!("the built-in policy schema: {error}"))?;
        Ok(Self {
            validator: Validator::new(schema),
            action: entity_type("Action")?,
            principal: entity_type("Principal")?,
            group: entity_type("Group")?,
            secret: entity_type("Secret")?,
            folder: entity_type("Folder")?,
            backend: entity_type("Backend")?,
            system: entity_type("System")?,
        })
    }
}

/// The entity of that type and id. Any text is an id: it is never parsed, so no character in it has a meaning.
pub(super) fn entity(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn entity_type(name: &str) -> Result<EntityTypeName, String> {
    name.parse::<EntityTypeName>().map_err(|error| format!("the built-in entity type {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_schema_parses_and_declares_every_type() {
        let words = Vocabulary::shipped().unwrap();
        let declared: Vec<_> = words.validator.schema().entity_types().cloned().collect();
        for name in [&words.principal, &words.group, &words.secret, &words.folder, &words.backend, &words.system] {
            assert!(declared.contains(name), "{name}");
        }
    }
}

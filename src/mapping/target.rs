//! Where a secret path leads on the other side of the proxy.

use crate::secret::RemoteName;

/// One place a secret can be had from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Index into the backends in configured order.
    pub backend: u32,
    /// What the backend calls the secret.
    pub remote: RemoteName,
    /// The KV version the rule declares, for Vault backends.
    pub kv_version: Option<u8>,
}

/// The places a secret can be had from, in the order to try them. Empty for the local store.
#[derive(Clone, Debug, Default)]
pub struct Targets(Held);

/// One target is the rule, and needs no allocation of its own.
#[derive(Clone, Debug, Default)]
enum Held {
    #[default]
    None,
    One(Target),
    Many(Box<[Target]>),
}

impl Targets {
    /// The local store: no target.
    #[must_use]
    pub const fn none() -> Self {
        Self(Held::None)
    }

    /// One target.
    #[must_use]
    pub const fn one(target: Target) -> Self {
        Self(Held::One(target))
    }

    /// Any number of targets, in the order to try them.
    #[must_use]
    pub fn many(targets: Vec<Target>) -> Self {
        Self(Held::Many(targets.into_boxed_slice()))
    }

    /// The target to try first.
    #[must_use]
    pub fn first(&self) -> Option<&Target> {
        self.as_slice().first()
    }

    /// Every target, in the order to try them.
    pub fn iter(&self) -> std::slice::Iter<'_, Target> {
        self.as_slice().iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether the secret is the local store's.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn as_slice(&self) -> &[Target] {
        match &self.0 {
            Held::None => &[],
            Held::One(target) => std::slice::from_ref(target),
            Held::Many(targets) => targets,
        }
    }
}

impl<'a> IntoIterator for &'a Targets {
    type Item = &'a Target;
    type IntoIter = std::slice::Iter<'a, Target>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Targets {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Targets {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_any_number_in_order() {
        let target = |backend| Target { backend, remote: RemoteName::parse("x").unwrap(), kv_version: None };
        assert!(Targets::none().is_empty());
        assert_eq!(Targets::none().first(), None);
        assert_eq!(Targets::one(target(3)), Targets::many(vec![target(3)]));
        let two = Targets::many(vec![target(1), target(0)]);
        assert_eq!(two.len(), 2);
        assert_eq!(two.first(), Some(&target(1)));
        assert_eq!(two.iter().map(|target| target.backend).collect::<Vec<_>>(), [1, 0]);
    }
}

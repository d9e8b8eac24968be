//! Where a client may see something else of the proxy than of OpenBao, and why.

/// One reason. Every listed step must differ in every listed field for every listed client.
pub(super) struct Allowed {
    /// Names of clients.
    pub(super) clients: &'static str,
    /// Names of steps.
    pub(super) steps: &'static str,
    /// JSON pointers into a recorded step, or `(step)` for a step only one of the two has.
    pub(super) fields: &'static str,
    pub(super) why: &'static str,
}

const OWN_TOKENS: &str = "tokens begin with `svp.` so that a scanner of repositories and logs can tell whose they are";
const RENEWAL: &str = "when a token was last renewed is not kept; its time to live says what a client needs";
const CONFIGURED: &str = "the static token is one of the proxy's configuration: it does not expire and cannot be renewed, while the \
                          one it stands for at OpenBao is periodic";
const DEFAULT: &str = "policies are groups here, and nobody is in a group `default` that was not asked for";
const WRAPPING: &str =
    "response wrapping is refused with 400: a wrapped value would be kept, and proxied values are not";
const REFUSED_PATH: &str = "an error does not repeat what the request said";
const LOCAL_METADATA: &str = "metadata of a local secret has no versions of its own, and no client here asks for them";
const EMPTY_404: &str = "a patch of what is not there is answered like every other call to it, with an empty list of errors, where \
                         OpenBao sends no body at all";

pub(super) const ALLOWED: &[Allowed] = &[
    Allowed { clients: "bao", steps: "login_field", fields: "/data", why: OWN_TOKENS },
    Allowed {
        clients: "hvac node go",
        steps: "renew_self_lookup",
        fields: "/data/data/last_renewal /data/data/last_renewal_time",
        why: RENEWAL,
    },
    Allowed {
        clients: "hvac bao node go",
        steps: "static_token_lookup",
        fields: "/data/data/creation_ttl /data/data/display_name /data/data/expire_time /data/data/path /data/data/period \
                 /data/data/renewable /data/data/ttl",
        why: CONFIGURED,
    },
    Allowed {
        clients: "hvac bao node go",
        steps: "child_create child_renew",
        fields: "/data/auth/policies /data/auth/token_policies",
        why: DEFAULT,
    },
    Allowed { clients: "hvac bao node go", steps: "child_lookup", fields: "/data/data/policies", why: DEFAULT },
    Allowed {
        clients: "hvac bao node go",
        steps: "wrapped_read",
        fields: "/data /errors /ok /raised /status",
        why: WRAPPING,
    },
    Allowed { clients: "hvac bao node go", steps: "unwrap unwrap_again", fields: "(step)", why: WRAPPING },
    Allowed { clients: "hvac node", steps: "unknown_mount_preflight", fields: "/errors/0", why: REFUSED_PATH },
    Allowed { clients: "bao", steps: "unknown_mount_read", fields: "/errors/3", why: REFUSED_PATH },
    Allowed {
        clients: "hvac bao node",
        steps: "metadata_versions metadata_put_read",
        fields: "/data/data/current_metadata_version /data/data/metadata_cas_required",
        why: LOCAL_METADATA,
    },
    Allowed {
        clients: "hvac node",
        steps: "metadata_patch_read",
        fields: "/data/data/current_metadata_version /data/data/metadata_cas_required",
        why: LOCAL_METADATA,
    },
    Allowed { clients: "bao", steps: "metadata_patch_read", fields: "/data", why: LOCAL_METADATA },
    Allowed { clients: "bao", steps: "patch_missing", fields: "/errors/2", why: EMPTY_404 },
    Allowed { clients: "node", steps: "patch_missing", fields: "/errors", why: EMPTY_404 },
];

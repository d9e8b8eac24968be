//! Where an AWS client may see something else of the proxy than of a stand-in for AWS, and why: the stand-in is wrong.
//!
//! The judge is the real service, by recordings of it and by its documentation. `aws_steps.json` says for each step what it
//! answers, and the session against the proxy fails at any other outcome; the rows here only say that the stand-in does not.

use super::allowed::Allowed;

const ON_MOTO: &str = "boto3@moto js@moto go@moto";
const ON_MINISTACK: &str = "boto3@ministack js@ministack cli@ministack go@ministack";
/// The command line shows no status and no request id.
const ON_MINISTACK_WITH_STATUS: &str = "boto3@ministack js@ministack go@ministack";

const NO_CREDENTIALS: &str = "moto looks at no credential and denies nothing";
const NOT_FOUND: &str = "moto says 404 where the service says 400";
const OTHER_NAMES: &str = "an ARN of another account or region is not this account's secret, and nobody else's is told apart from it; \
                           a stand-in takes the name out of it or finds nothing";
const NOT_CHECKED: &str = "the service refuses it before it looks for a secret; the stand-in does not check it";
const CRASH: &str = "moto fails with a page of HTML";
const VERSIONS_ARN: &str = "moto puts the name where the ARN belongs";
const SORTED: &str = "neither stand-in sorts as it is asked to";
const PROMOTED: &str = "moto goes on to read the version that is no longer AWSCURRENT";
const UPDATED: &str =
    "an update with a value moves AWSCURRENT and AWSPREVIOUS; moto leaves them where a promotion put them";
const DELETED: &str =
    "with a deleted secret the service refuses writes, and says of a create that the name is being deleted";
const LABELS: &str = "a label that is on a version moves only if the version is named";
const FILTERS: &str = "ministack's filter `name` ignores case and does not know `!`";
const PRUNED: &str =
    "ministack throws a version away as soon as its label moves on, and does not move AWSPREVIOUS as the service does";
const TOKENS: &str = "ministack does not know a ClientRequestToken again";
const EMPTY: &str = "a secret without a value has no version; ministack makes an empty one";
const DENIED: &str =
    "ministack denies with 403, and signs none of its refusals with a request id; the service says 400 and gives one";
const BOUNDS: &str = "what is out of its documented bounds fails the validation that comes before everything else";
const FORCED: &str = "forcing a deletion of what is not there succeeds";
const CODE: &str = "moto has a code of its own for it";

pub(super) const AWS: &[Allowed] = &[
    Allowed {
        clients: ON_MOTO,
        steps: "read_denied read_denied_missing describe_denied create_denied unknown_key wrong_secret",
        fields: "/outcome",
        why: NO_CREDENTIALS,
    },
    Allowed {
        clients: ON_MOTO,
        steps: "batch_partly_denied",
        fields: "/data/Errors /data/SecretValues",
        why: NO_CREDENTIALS,
    },
    Allowed {
        clients: ON_MOTO,
        steps: "read_version_of_another_stage read_unknown_stage read_unknown_version read_missing read_folder describe_missing \
                put_missing update_missing tag_missing create_empty_read restore_missing force_delete_read delete_missing",
        fields: "/status",
        why: NOT_FOUND,
    },
    Allowed { clients: ON_MOTO, steps: "read_other_account read_other_region", fields: "/outcome", why: OTHER_NAMES },
    Allowed {
        clients: ON_MINISTACK,
        steps: "read_other_account read_other_region",
        fields: "/outcome",
        why: OTHER_NAMES,
    },
    Allowed {
        clients: ON_MOTO,
        steps: "read_bad_name batch_neither batch_of_21 create_bad_name create_both",
        fields: "/outcome",
        why: NOT_CHECKED,
    },
    Allowed {
        clients: ON_MINISTACK,
        steps: "read_bad_name read_version_of_another_stage batch_both batch_neither batch_of_21 list_bad_token list_unknown_filter \
                create_bad_name create_both put_neither",
        fields: "/outcome",
        why: NOT_CHECKED,
    },
    Allowed { clients: ON_MOTO, steps: "versions_missing list_bad_token", fields: "/outcome", why: CRASH },
    Allowed {
        clients: ON_MOTO,
        steps: "versions versions_deprecated put_staged_versions",
        fields: "/data/ARN",
        why: VERSIONS_ARN,
    },
    Allowed { clients: ON_MOTO, steps: "list_sorted", fields: "/data/SecretList", why: SORTED },
    Allowed { clients: ON_MINISTACK, steps: "list_sorted", fields: "/data/SecretList", why: SORTED },
    Allowed {
        clients: ON_MOTO,
        steps: "stage_promote_read",
        fields: "/data/SecretString /data/VersionId /data/VersionStages",
        why: PROMOTED,
    },
    Allowed {
        clients: ON_MOTO,
        steps: "update_describe tag_describe delete_describe",
        fields: "/data/VersionIdsToStages",
        why: UPDATED,
    },
    Allowed { clients: ON_MOTO, steps: "list_own", fields: "/data/SecretList", why: UPDATED },
    Allowed { clients: ON_MOTO, steps: "delete_create delete_put", fields: "/outcome", why: DELETED },
    Allowed { clients: ON_MINISTACK, steps: "delete_create", fields: "/outcome", why: DELETED },
    Allowed { clients: ON_MOTO, steps: "stage_without_from", fields: "/outcome", why: LABELS },
    Allowed { clients: ON_MOTO, steps: "password_too_long", fields: "/outcome", why: CODE },
    Allowed { clients: ON_MINISTACK, steps: "list_name_case list_negated", fields: "/data/SecretList", why: FILTERS },
    Allowed { clients: ON_MINISTACK, steps: "put_staged_describe", fields: "/data/VersionIdsToStages", why: PRUNED },
    Allowed { clients: ON_MINISTACK, steps: "password_too_long", fields: "/outcome", why: BOUNDS },
    Allowed { clients: ON_MINISTACK, steps: "put_staged_versions", fields: "/data/Versions", why: PRUNED },
    Allowed { clients: ON_MINISTACK, steps: "list_own delete_list", fields: "/data/SecretList", why: PRUNED },
    Allowed {
        clients: ON_MINISTACK,
        steps: "put_read_previous put_read_by_token stage_wrong_from",
        fields: "/outcome",
        why: PRUNED,
    },
    Allowed {
        clients: ON_MINISTACK,
        steps: "create_same_token put_same_token_other_value",
        fields: "/outcome",
        why: TOKENS,
    },
    Allowed { clients: ON_MINISTACK, steps: "create_empty", fields: "/data/VersionId", why: EMPTY },
    Allowed { clients: ON_MINISTACK, steps: "create_empty_read", fields: "/outcome", why: EMPTY },
    Allowed { clients: ON_MINISTACK, steps: "create_empty_describe", fields: "/data/VersionIdsToStages", why: EMPTY },
    Allowed { clients: ON_MINISTACK, steps: "force_delete_missing", fields: "/outcome", why: FORCED },
    Allowed {
        clients: ON_MINISTACK_WITH_STATUS,
        steps: "read_denied read_denied_missing describe_denied create_denied",
        fields: "/status /has_request_id",
        why: DENIED,
    },
    Allowed {
        clients: ON_MINISTACK_WITH_STATUS,
        steps: "unknown_key wrong_secret",
        fields: "/has_request_id",
        why: DENIED,
    },
];

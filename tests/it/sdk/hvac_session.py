"""A working day of an application that uses hvac: every call that the library offers for KV, tokens and AppRole.

    VAULT_ADDR=URL python hvac_session.py PLAN.json        (the interpreter that `peers/install.py` made)

Plan and output: `session.py`. hvac has no call for subkeys, PATCH and the preflight; those go through its adapter, so
they still carry its headers. What this client depends on: the LIST method, POST for writes, integer versions, exactly
`Content-Type: application/json` on errors (else it drops the body), the 404 body of a deleted version with
`data.metadata.deletion_time`, a JSON body on 200 only, HEAD on sys/health, and that a read-modify-write patch sees its
own write.
"""

import os
import sys
import warnings

import hvac
import requests

sys.dont_write_bytecode = True  # nothing beside the sources
from session import (  # noqa: E402
    CUSTOM_METADATA, CUSTOM_METADATA_PATCH, FIRST, KV1_VALUE, PATCH, REFUSED, SECOND, UNKNOWN_SECRET_ID, UNKNOWN_TOKEN, Answer, Session,
)

MERGE = {"Content-Type": "application/merge-patch+json"}
last_status = None


def main():
    warnings.simplefilter("ignore", DeprecationWarning)  # hvac announces its next major version
    session = Session(call)
    for name in ("VAULT_TOKEN", "VAULT_NAMESPACE"):
        os.environ.pop(name, None)
    client = connect(session, login=True)
    server(session, client)
    reads(session, client)
    if session.plan.get("writable_prefix"):
        writes(session, client)
        metadata(session, client)
    if session.plan.get("kv1_mount"):
        kv1(session, client)
    refusals(session, client)
    wrapping(session, client)
    tokens(session, client)
    return session.finish()


def call(function, *arguments, **named):
    """Runs one hvac call; hvac answers parsed JSON for a 200 and the bare response for anything else that is fine."""
    global last_status
    last_status = None
    try:
        result = function(*arguments, **named)
    except hvac.exceptions.VaultError as error:
        body = error.json if isinstance(error.json, dict) else {}
        errors = error.errors if error.errors is not None else [] if body else [error.text or str(error)]
        raise Answer(last_status, body.get("data"), errors, type(error).__name__)
    except requests.RequestException as error:
        raise Answer(None, None, [str(error)], type(error).__name__)
    return Answer(last_status, result.text or None if isinstance(result, requests.Response) else result)


def new_client(session, token):
    """An unmodified client; only a hook of the HTTP session notes the status, which hvac does not hand out."""
    http = requests.Session()
    http.hooks["response"].append(note_status)
    # An empty token keeps hvac from looking for one in the environment and the home directory.
    return hvac.Client(url=session.address, token=token or "", session=http, namespace=session.plan.get("namespace"))


def note_status(response, **_):
    global last_status
    last_status = response.status_code


def connect(session, login):
    plan = session.plan
    approle = plan.get("approle")
    if not approle:
        return new_client(session, plan.get("token"))
    client = new_client(session, None)
    mount = approle.get("mount", "approle")
    if login:
        session.step("login_bad_secret", 400, client.auth.approle.login, approle["role_id"], UNKNOWN_SECRET_ID, mount_point=mount)
        session.step("login_bad_role", 400, client.auth.approle.login, "no-such-role", approle["secret_id"], mount_point=mount)
    session.step("login", 200, client.auth.approle.login, approle["role_id"], approle["secret_id"], mount_point=mount)
    return client


def server(session, client):
    plan = session.plan
    session.step("health", 200, client.sys.read_health_status, method="GET")
    session.step("health_head", 200, client.sys.read_health_status)
    session.step("seal_status", 200, client.sys.read_seal_status)
    session.step("is_sealed", 200, client.sys.is_sealed)
    session.step("leader", 200, client.sys.read_leader_status)
    session.step("lookup_self", 200, client.auth.token.lookup_self)
    session.step("is_authenticated", 200, client.is_authenticated)
    data = plan["kv2_mount"] + "/data/"
    session.step("capabilities_readonly", 200, client.sys.get_capabilities, [data + plan["readonly_prefix"] + "/db"])
    if plan.get("writable_prefix"):
        session.step("capabilities_writable", 200, client.sys.get_capabilities, [data + plan["writable_prefix"] + "/one"])
    session.step("capabilities_denied", 200, client.sys.get_capabilities, [data + plan["denied_path"]])
    preflight = "sys/internal/ui/mounts/" + plan["kv2_mount"]
    session.step("preflight_mount", 200, client.read, preflight)
    session.step("preflight_path", 200, client.read, "{}/{}/db".format(preflight, plan["readonly_prefix"]))
    if plan.get("kv1_mount"):
        session.step("preflight_kv1", 200, client.read, "sys/internal/ui/mounts/" + plan["kv1_mount"])
    if plan.get("approle") and plan.get("token"):
        other = new_client(session, plan["token"])
        session.step("static_token_lookup", 200, other.auth.token.lookup_self)
        session.step("static_token_read", 200, other.secrets.kv.v2.read_secret_version,
                     plan["readonly_prefix"] + "/db", mount_point=plan["kv2_mount"], raise_on_deleted_version=True)


def reads(session, client):
    """Everything below the read-only prefix, and that it is read-only."""
    plan = session.plan
    kv, mount, prefix = client.secrets.kv.v2, plan["kv2_mount"], plan["readonly_prefix"]

    def read(name, want, path, version=None, strict=True):
        session.step(name, want, kv.read_secret_version, prefix + path, version, mount, strict)

    session.step("list", 200, kv.list_secrets, prefix, mount)
    session.step("list_trailing_slash", 200, kv.list_secrets, prefix + "/", mount)
    session.step("list_nested", 200, kv.list_secrets, prefix + "/nested", mount)
    session.step("list_missing", 404, kv.list_secrets, prefix + "/missing", mount)
    session.step("list_query", 200, client.adapter.get, "/v1/{}/metadata/{}".format(mount, prefix), params={"list": "true"})
    read("read", 200, "/db")
    read("read_version_1", 200, "/db", 1)
    read("read_version_2", 200, "/db", 2)
    read("read_version_0", 200, "/db", 0)
    read("read_version_missing", 404, "/db", 99)
    read("read_nested", 200, "/nested/deep")
    read("read_missing", 404, "/missing")
    read("read_folder", 404, "/nested")
    read("read_deleted", 404, "/gone")
    read("read_deleted_lenient", 404, "/gone", strict=False)
    read("read_destroyed", 404, "/destroyed", 1)
    read("read_destroyed_lenient", 404, "/destroyed", 1, strict=False)
    read("read_after_destroyed", 200, "/destroyed")
    session.step("metadata", 200, kv.read_secret_metadata, prefix + "/db", mount)
    session.step("metadata_deleted", 200, kv.read_secret_metadata, prefix + "/gone", mount)
    session.step("metadata_missing", 404, kv.read_secret_metadata, prefix + "/missing", mount)
    session.step("subkeys", 200, client.read, "{}/subkeys/{}/db".format(mount, prefix))
    session.step("read_raw", 200, client.read, "{}/data/{}/api".format(mount, prefix))
    session.step("list_raw", 200, client.list, "{}/metadata/{}".format(mount, prefix))

    readonly = plan["expect_readonly"]
    probe = prefix + "/probe-hvac"
    session.step("write_readonly", REFUSED if readonly else 200, kv.create_or_update_secret, probe, SECOND, mount_point=mount)
    session.step("patch_readonly", REFUSED if readonly else 200, client.adapter.request, "patch",
                 "/v1/{}/data/{}".format(mount, probe), json={"data": PATCH}, headers=dict(MERGE))
    session.step("delete_readonly", REFUSED if readonly else 204, kv.delete_latest_version_of_secret, probe, mount)
    session.step("destroy_readonly", REFUSED if readonly else 204, kv.destroy_secret_versions, probe, [1], mount)
    session.step("metadata_write_readonly", REFUSED if readonly else 204, kv.update_metadata, probe, mount_point=mount,
                 custom_metadata=CUSTOM_METADATA)
    session.step("metadata_delete_readonly", REFUSED if readonly else 204, kv.delete_metadata_and_all_versions, probe, mount)


def writes(session, client):
    """The life of one secret on the writable prefix, from its first version to a destroyed one."""
    plan = session.plan
    kv, mount = client.secrets.kv.v2, plan["kv2_mount"]
    path = plan["writable_prefix"] + "/one"

    def read(name, want, version=None, strict=True):
        session.step(name, want, kv.read_secret_version, path, version, mount, strict)

    session.step("write_create", 200, kv.create_or_update_secret, path, FIRST, 0, mount)
    read("write_create_read", 200)
    session.step("cas_create_again", 400, kv.create_or_update_secret, path, SECOND, 0, mount)
    session.step("cas_write", 200, kv.create_or_update_secret, path, SECOND, 1, mount)
    session.step("cas_mismatch", 400, kv.create_or_update_secret, path, SECOND, 1, mount)
    session.step("write_no_cas", 200, kv.create_or_update_secret, path, {"password": "made-up-third"}, mount_point=mount)
    session.step("patch_read_write", 200, kv.patch, path, PATCH, mount)
    read("patch_read_write_read", 200)
    session.step("patch_missing", 404, kv.patch, plan["writable_prefix"] + "/missing", PATCH, mount)
    session.step("patch", 200, client.adapter.request, "patch", "/v1/{}/data/{}".format(mount, path),
                 json={"data": {"added": None, "again": "yes"}}, headers=dict(MERGE))
    read("patch_read", 200)
    read("write_read_version_1", 200, 1)
    session.step("delete_latest", 204, kv.delete_latest_version_of_secret, path, mount)
    read("delete_latest_read", 404)
    read("delete_latest_read_lenient", 404, strict=False)
    session.step("undelete", 204, kv.undelete_secret_versions, path, [5], mount)
    read("undelete_read", 200)
    session.step("delete_versions", 204, kv.delete_secret_versions, path, [1, 2], mount)
    read("delete_versions_read", 404, 1)
    session.step("destroy_versions", 204, kv.destroy_secret_versions, path, [2], mount)
    read("destroy_versions_read", 404, 2)
    session.step("undelete_destroyed", 204, kv.undelete_secret_versions, path, [2], mount)
    read("undelete_destroyed_read", 404, 2)
    session.step("write_no_data", 400, client.write_data, "{}/data/{}".format(mount, path), data={"options": {}})
    session.step("write_bad_json", 400, client.adapter.post, "/v1/{}/data/{}".format(mount, path), data=b'{"data": ')
    session.step("write_array", 400, client.adapter.post, "/v1/{}/data/{}".format(mount, path), data=b"[1]")
    session.step("subkeys_written", 200, client.adapter.get, "/v1/{}/subkeys/{}".format(mount, path), params={"version": 4})
    session.step("subkeys_depth", 200, client.adapter.get, "/v1/{}/subkeys/{}".format(mount, path), params={"depth": 1})
    session.step("subkeys_deleted", 404, client.adapter.get, "/v1/{}/subkeys/{}".format(mount, path), params={"version": 1})


def metadata(session, client):
    """Custom metadata of the secret that `writes` left, and its end."""
    plan = session.plan
    kv, mount = client.secrets.kv.v2, plan["kv2_mount"]
    prefix = plan["writable_prefix"]
    path = prefix + "/one"
    session.step("metadata_versions", 200, kv.read_secret_metadata, path, mount)
    session.step("metadata_put", 204, kv.update_metadata, path, mount_point=mount, custom_metadata=CUSTOM_METADATA)
    session.step("metadata_put_read", 200, kv.read_secret_metadata, path, mount)
    session.step("metadata_patch", 204, client.adapter.request, "patch", "/v1/{}/metadata/{}".format(mount, path),
                 json={"custom_metadata": CUSTOM_METADATA_PATCH}, headers=dict(MERGE))
    session.step("metadata_patch_read", 200, kv.read_secret_metadata, path, mount)
    session.step("metadata_in_value", 200, kv.read_secret_version, path, None, mount, True)
    session.step("write_second_path", 200, kv.create_or_update_secret, prefix + "/deeper/two", SECOND, mount_point=mount)
    session.step("list_written", 200, kv.list_secrets, prefix, mount)
    session.step("metadata_delete", 204, kv.delete_metadata_and_all_versions, path, mount)
    session.step("metadata_delete_read", 404, kv.read_secret_version, path, None, mount, False)
    session.step("metadata_delete_again", 204, kv.delete_metadata_and_all_versions, path, mount)
    session.step("metadata_delete_second", 204, kv.delete_metadata_and_all_versions, prefix + "/deeper/two", mount)
    session.step("list_emptied", 404, kv.list_secrets, prefix, mount)


def kv1(session, client):
    plan = session.plan
    kv, mount, prefix = client.secrets.kv.v1, plan["kv1_mount"], plan["readonly_prefix"]
    session.step("kv1_read", 200, kv.read_secret, prefix + "/one", mount)
    session.step("kv1_read_missing", 404, kv.read_secret, prefix + "/missing", mount)
    session.step("kv1_list", 200, kv.list_secrets, prefix, mount)
    session.step("kv1_list_missing", 404, kv.list_secrets, prefix + "/missing", mount)
    if not plan.get("writable_prefix"):
        return
    path = plan["writable_prefix"] + "/one"
    session.step("kv1_write", 204, kv.create_or_update_secret, path, KV1_VALUE, mount_point=mount)
    session.step("kv1_write_read", 200, kv.read_secret, path, mount)
    session.step("kv1_overwrite", 204, kv.create_or_update_secret, path, {"user": "two"}, "PUT", mount)
    session.step("kv1_overwrite_read", 200, kv.read_secret, path, mount)
    session.step("kv1_list_written", 200, kv.list_secrets, plan["writable_prefix"], mount)
    session.step("kv1_delete", 204, kv.delete_secret, path, mount)
    session.step("kv1_delete_read", 404, kv.read_secret, path, mount)
    session.step("kv1_delete_again", 204, kv.delete_secret, path, mount)


def refusals(session, client):
    plan = session.plan
    mount, path = plan["kv2_mount"], plan["readonly_prefix"] + "/db"
    denied = plan["denied_path"]
    unknown, nobody = new_client(session, UNKNOWN_TOKEN), new_client(session, None)
    session.step("unknown_token_read", 403, unknown.secrets.kv.v2.read_secret_version, path, None, mount, True)
    session.step("unknown_token_lookup", 403, unknown.auth.token.lookup_self)
    session.step("unknown_token_is_authenticated", 403, unknown.is_authenticated)
    session.step("no_token_read", 403, nobody.secrets.kv.v2.read_secret_version, path, None, mount, True)
    session.step("no_token_write", 403, nobody.secrets.kv.v2.create_or_update_secret, path, SECOND, mount_point=mount)
    session.step("denied_read", 403, client.secrets.kv.v2.read_secret_version, denied, None, mount, True)
    session.step("denied_missing", 403, client.secrets.kv.v2.read_secret_version, denied + "-missing", None, mount, True)
    session.step("denied_write", 403, client.secrets.kv.v2.create_or_update_secret, denied, SECOND, mount_point=mount)
    session.step("denied_delete", 403, client.secrets.kv.v2.delete_latest_version_of_secret, denied, mount)
    session.step("denied_metadata", 403, client.secrets.kv.v2.read_secret_metadata, denied, mount)
    session.step("denied_list", 403, client.secrets.kv.v2.list_secrets, denied.rpartition("/")[0], mount)
    session.step("unknown_mount_read", 403, client.secrets.kv.v2.read_secret_version, "any", None, plan["unknown_mount"], True)
    session.step("unknown_mount_list", 403, client.secrets.kv.v2.list_secrets, "any", plan["unknown_mount"])
    session.step("unknown_mount_preflight", 403, client.read, "sys/internal/ui/mounts/" + plan["unknown_mount"])


def wrapping(session, client):
    plan = session.plan
    path = "/v1/{}/data/{}/db".format(plan["kv2_mount"], plan["readonly_prefix"])
    wrapped = session.step("wrapped_read", 200 if plan["expect_wrap"] else 400, client.adapter.get, path, wrap_ttl="60s")
    if plan["expect_wrap"] and wrapped:
        other = new_client(session, wrapped["wrap_info"]["token"])
        session.step("unwrap", 200, other.sys.unwrap)
        session.step("unwrap_again", (400, 403), other.sys.unwrap)


def tokens(session, client):
    """The session's own token, and a child's whole life. Ends with the session's token gone if it was logged in."""
    plan = session.plan
    if plan.get("approle") or plan.get("token"):
        session.step("renew_self", 200, client.auth.token.renew_self)
        session.step("renew_self_increment", 200, client.auth.token.renew_self, increment="30m")
        session.step("renew_self_lookup", 200, client.auth.token.lookup_self)
    if plan.get("child_policies"):
        child_token(session, client)
    if plan.get("approle"):
        session.step("revoke_self", 204, client.auth.token.revoke_self)
        session.step("revoke_self_lookup", 403, client.auth.token.lookup_self)
        session.step("revoke_self_read", 403, client.secrets.kv.v2.read_secret_version,
                     plan["readonly_prefix"] + "/db", None, plan["kv2_mount"], True)


def child_token(session, client):
    plan = session.plan
    mount, path = plan["kv2_mount"], plan["readonly_prefix"] + "/db"
    session.step("child_superset", 400, client.auth.token.create, policies=plan["child_policies"] + ["not-mine"], ttl="5m")
    created = session.step("child_create", 200, client.auth.token.create, policies=plan["child_policies"], ttl="5m",
                           meta={"purpose": "sdk-session"}, display_name="sdk-session")
    if not created:
        return
    child = new_client(session, created["auth"]["client_token"])
    session.step("child_lookup", 200, child.auth.token.lookup_self)
    session.step("child_read", 200, child.secrets.kv.v2.read_secret_version, path, None, mount, True)
    if plan.get("writable_prefix"):
        session.step("child_write", 403, child.secrets.kv.v2.create_or_update_secret,
                     plan["writable_prefix"] + "/child", SECOND, mount_point=mount)
    session.step("child_renew", 200, child.auth.token.renew_self)
    session.step("child_revoke", 204, child.auth.token.revoke_self)
    session.step("child_after_revoke_lookup", 403, child.auth.token.lookup_self)
    session.step("child_after_revoke_read", 403, child.secrets.kv.v2.read_secret_version, path, None, mount, True)


if __name__ == "__main__":
    sys.exit(main())

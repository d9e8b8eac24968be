"""A working day of an operator at the `bao` command line: the commands people type, with their JSON and their tables.

    VAULT_ADDR=URL python3 bao_session.py --bao PATH PLAN.json

Plan and output: `session.py`. Each step is one command, so `status` is known only from an error's text, `raised` is the
exit code of a failure, `data` is parsed where the command was asked for JSON, and `errors` are the lines on stderr. The
token helper's file lives in a directory of its own, not in the home directory.

What this client depends on: PUT for writes with no Content-Type, GET with `list=true`, versions as strings, the
preflight on `sys/internal/ui/mounts/<path>` before every `kv` command (`data.path`, `data.options.version`), PATCH with
`application/merge-patch+json`, the 404 body of a deleted version, `Code: <status>` errors from `{"errors": [...]}`, and
an answer with `request_id` on every 200 that it parses.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # nothing beside the sources
from session import (  # noqa: E402
    CUSTOM_METADATA, CUSTOM_METADATA_PATCH, FIRST, KV1_VALUE, PATCH, REFUSED, SECOND, UNKNOWN_SECRET_ID, UNKNOWN_TOKEN, Answer, Session,
)

JSON = "-format=json"
COMMAND_SECONDS = 60
TLS_VARIABLES = ("VAULT_CACERT", "VAULT_CAPATH", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY", "VAULT_TLS_SERVER_NAME")


class Command:
    """Runs `bao` with one token; an empty token means none, and then the token helper's file counts."""

    def __init__(self, bao, home, session, token=None):
        self.bao, self.home, self.session, self.token = bao, home, session, token

    def __call__(self, *words, stdin=None):
        environment = {
            name: value for name, value in os.environ.items() if name in TLS_VARIABLES or not name.startswith(("VAULT_", "BAO_"))
        }
        environment.update(HOME=self.home, VAULT_ADDR=self.session.address, NO_COLOR="1")
        for name, value in (("VAULT_TOKEN", self.token), ("VAULT_NAMESPACE", self.session.plan.get("namespace"))):
            if value:
                environment[name] = value
        done = subprocess.run(
            [self.bao, *words], env=environment, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", timeout=COMMAND_SECONDS, check=False,
        )
        return answer(done, JSON in words)

    def with_token(self, token):
        return Command(self.bao, self.home, self.session, token)


def answer(done, is_json):
    """What the command showed; raises it when the exit code says that it failed."""
    status = re.search(r"^Code: (\d{3})\.", done.stderr, re.MULTILINE)
    data = done.stdout or None
    if is_json and data:
        data = json.loads(data)
    shown = Answer(int(status[1]) if status else None, data, [line for line in done.stderr.splitlines() if line.strip()])
    if done.returncode != 0:
        shown.raised = "exit {}".format(done.returncode)
        raise shown
    return shown


def call(command, *words, **named):
    return command(*words, **named)


def main():
    if len(sys.argv) != 4 or sys.argv[1] != "--bao":
        print("usage: VAULT_ADDR=URL bao_session.py --bao PATH PLAN.json", file=sys.stderr)
        return 2
    bao = sys.argv[2]
    del sys.argv[1:3]
    session = Session(call)
    with tempfile.TemporaryDirectory(prefix="bao-session-") as home:
        command = connect(session, Command(bao, home, session))
        server(session, command)
        reads(session, command)
        if session.plan.get("writable_prefix"):
            writes(session, command)
            metadata(session, command)
        if session.plan.get("kv1_mount"):
            kv1(session, command)
        refusals(session, command)
        wrapping(session, command)
        tokens(session, command)
    return session.finish()


def connect(session, nobody):
    """Logs in as scripts do (a write to the login path) and as people do (`bao login`, which keeps the token in a file)."""
    plan = session.plan
    approle = plan.get("approle")
    if not approle:
        return nobody.with_token(plan.get("token"))
    path = "auth/{}/login".format(approle.get("mount", "approle"))
    role = "role_id=" + approle["role_id"]
    session.step("login_bad_secret", 400, nobody, "write", JSON, path, role, "secret_id=" + UNKNOWN_SECRET_ID)
    made = session.step("login", 200, nobody, "write", JSON, path, role, "secret_id=" + approle["secret_id"])
    token = made["auth"]["client_token"] if made else None
    session.step("login_field", 200, nobody, "write", "-field=token", path, role, "secret_id=" + approle["secret_id"])
    if token:
        session.step("login_token", 200, nobody, "login", "token=" + token)
        session.step("login_token_helper", 200, nobody, "token", "lookup")
    session.step("login_token_bad", 403, nobody, "login", "token=" + UNKNOWN_TOKEN)
    return nobody.with_token(token)


def server(session, bao):
    plan = session.plan
    data = plan["kv2_mount"] + "/data/"
    session.step("seal_status", 200, bao, "status", JSON)
    session.step("health", 200, bao, "read", JSON, "sys/health")
    session.step("lookup_self", 200, bao, "token", "lookup", JSON)
    session.step("lookup_self_table", 200, bao, "token", "lookup")
    session.step("capabilities_readonly", 200, bao, "token", "capabilities", data + plan["readonly_prefix"] + "/db")
    if plan.get("writable_prefix"):
        session.step("capabilities_writable", 200, bao, "token", "capabilities", data + plan["writable_prefix"] + "/one")
    session.step("capabilities_denied", 200, bao, "token", "capabilities", data + plan["denied_path"])
    preflight = "sys/internal/ui/mounts/" + plan["kv2_mount"]
    session.step("preflight_mount", 200, bao, "read", JSON, preflight)
    session.step("preflight_path", 200, bao, "read", JSON, "{}/{}/db".format(preflight, plan["readonly_prefix"]))
    if plan.get("approle") and plan.get("token"):
        other = bao.with_token(plan["token"])
        session.step("static_token_lookup", 200, other, "token", "lookup", JSON)
        session.step("static_token_read", 200, other, "kv", "get", JSON, "-mount=" + plan["kv2_mount"], plan["readonly_prefix"] + "/db")


def reads(session, bao):
    plan = session.plan
    mount, prefix = plan["kv2_mount"], plan["readonly_prefix"]
    full = "{}/{}".format(mount, prefix)
    at = "-mount=" + mount
    session.step("list", 200, bao, "kv", "list", JSON, at, prefix)
    session.step("list_table", 200, bao, "kv", "list", full)
    session.step("list_nested", 200, bao, "kv", "list", JSON, full + "/nested/")
    session.step("list_missing", 404, bao, "kv", "list", JSON, full + "/missing")
    session.step("list_missing_table", 404, bao, "kv", "list", full + "/missing")
    session.step("list_raw", 200, bao, "list", JSON, "{}/metadata/{}".format(mount, prefix))
    session.step("read", 200, bao, "kv", "get", JSON, full + "/db")
    session.step("read_mount", 200, bao, "kv", "get", JSON, at, prefix + "/db")
    session.step("read_table", 200, bao, "kv", "get", full + "/db")
    session.step("read_field", 200, bao, "kv", "get", "-field=password", full + "/db")
    session.step("read_field_missing", 404, bao, "kv", "get", "-field=missing", full + "/db")
    session.step("read_version_1", 200, bao, "kv", "get", JSON, "-version=1", full + "/db")
    session.step("read_version_2", 200, bao, "kv", "get", JSON, "-version=2", full + "/db")
    session.step("read_version_missing", 404, bao, "kv", "get", JSON, "-version=99", full + "/db")
    session.step("read_nested", 200, bao, "kv", "get", JSON, full + "/nested/deep")
    session.step("read_missing", 404, bao, "kv", "get", JSON, full + "/missing")
    session.step("read_missing_table", 404, bao, "kv", "get", full + "/missing")
    session.step("read_folder", 404, bao, "kv", "get", JSON, full + "/nested")
    # The CLI shows the envelope of a deleted version and is content.
    session.step("read_deleted", 200, bao, "kv", "get", JSON, full + "/gone")
    session.step("read_deleted_table", 200, bao, "kv", "get", full + "/gone")
    session.step("read_destroyed", 200, bao, "kv", "get", JSON, "-version=1", full + "/destroyed")
    session.step("read_raw", 200, bao, "read", JSON, "{}/data/{}/api".format(mount, prefix))
    session.step("read_raw_table", 200, bao, "read", "{}/data/{}/api".format(mount, prefix))
    session.step("read_raw_missing", 404, bao, "read", JSON, "{}/data/{}/missing".format(mount, prefix))
    session.step("metadata", 200, bao, "kv", "metadata", "get", JSON, full + "/db")
    session.step("metadata_table", 200, bao, "kv", "metadata", "get", full + "/db")
    session.step("metadata_missing", 404, bao, "kv", "metadata", "get", JSON, full + "/missing")
    session.step("subkeys", 200, bao, "read", JSON, "{}/subkeys/{}/db".format(mount, prefix))

    readonly = plan["expect_readonly"]
    probe = full + "/probe-bao"
    session.step("write_readonly", REFUSED if readonly else 200, bao, "kv", "put", JSON, probe, "password=made-up")
    # Refused the PATCH, the CLI goes on with a read and a write, and reports that there is nothing to read.
    session.step("patch_readonly", (*REFUSED, 404) if readonly else 200, bao, "kv", "patch", JSON, probe, "password=made-up")
    session.step("delete_readonly", REFUSED if readonly else 204, bao, "kv", "delete", probe)
    session.step("destroy_readonly", REFUSED if readonly else 204, bao, "kv", "destroy", "-versions=1", probe)
    session.step("metadata_delete_readonly", REFUSED if readonly else 204, bao, "kv", "metadata", "delete", probe)


def writes(session, bao):
    plan = session.plan
    path = "{}/{}/one".format(plan["kv2_mount"], plan["writable_prefix"])

    def read(name, want, *options):
        session.step(name, want, bao, "kv", "get", JSON, *options, path)

    session.step("write_create", 200, bao, "kv", "put", JSON, "-cas=0", path, "-", stdin=json.dumps(FIRST))
    read("write_create_read", 200)
    session.step("cas_create_again", 400, bao, "kv", "put", JSON, "-cas=0", path, *pairs(SECOND))
    session.step("cas_write", 200, bao, "kv", "put", "-cas=1", path, *pairs(SECOND))
    session.step("cas_mismatch", 400, bao, "kv", "put", "-cas=1", path, *pairs(SECOND))
    session.step("write_no_cas", 200, bao, "kv", "put", JSON, path, "password=made-up-third")
    session.step("patch_read_write", 200, bao, "kv", "patch", JSON, "-method=rw", path, *pairs(PATCH))
    read("patch_read_write_read", 200)
    session.step("patch", 200, bao, "kv", "patch", JSON, path, "again=yes")
    read("patch_read", 200)
    session.step("patch_cas_mismatch", 400, bao, "kv", "patch", JSON, "-cas=1", path, "again=no")
    session.step("patch_missing", 404, bao, "kv", "patch", JSON, path + "-missing", "again=yes")
    read("write_read_version_1", 200, "-version=1")
    session.step("rollback", 200, bao, "kv", "rollback", JSON, "-version=2", path)
    read("rollback_read", 200)
    session.step("delete_latest", 204, bao, "kv", "delete", path)
    read("delete_latest_read", 200)
    session.step("undelete", 204, bao, "kv", "undelete", "-versions=6", path)
    read("undelete_read", 200)
    session.step("delete_versions", 204, bao, "kv", "delete", "-versions=1,2", path)
    read("delete_versions_read", 200, "-version=1")
    session.step("destroy_versions", 204, bao, "kv", "destroy", "-versions=2", path)
    read("destroy_versions_read", 200, "-version=2")
    session.step("undelete_destroyed", 204, bao, "kv", "undelete", "-versions=2", path)
    read("undelete_destroyed_read", 200, "-version=2")
    session.step("write_no_data", 400, bao, "write", JSON, path.replace("/", "/data/", 1), "value=made-up")
    session.step("write_force", 400, bao, "write", "-force", path.replace("/", "/data/", 1))


def metadata(session, bao):
    plan = session.plan
    folder = "{}/{}".format(plan["kv2_mount"], plan["writable_prefix"])
    path = folder + "/one"
    session.step("metadata_versions", 200, bao, "kv", "metadata", "get", JSON, path)
    session.step("metadata_put", 204, bao, "kv", "metadata", "put", *custom(CUSTOM_METADATA), path)
    session.step("metadata_put_read", 200, bao, "kv", "metadata", "get", JSON, path)
    session.step("metadata_patch", 204, bao, "kv", "metadata", "patch", *custom(CUSTOM_METADATA_PATCH), path)
    session.step("metadata_patch_read", 200, bao, "kv", "metadata", "get", path)
    session.step("metadata_in_value", 200, bao, "kv", "get", path)
    session.step("write_second_path", 200, bao, "kv", "put", folder + "/deeper/two", *pairs(SECOND))
    session.step("list_written", 200, bao, "kv", "list", JSON, folder)
    session.step("metadata_delete", 204, bao, "kv", "metadata", "delete", path)
    session.step("metadata_delete_read", 404, bao, "kv", "get", JSON, path)
    session.step("metadata_delete_second", 204, bao, "kv", "metadata", "delete", folder + "/deeper/two")
    session.step("list_emptied", 404, bao, "kv", "list", JSON, folder)


def kv1(session, bao):
    plan = session.plan
    full = "{}/{}".format(plan["kv1_mount"], plan["readonly_prefix"])
    session.step("kv1_read", 200, bao, "kv", "get", JSON, full + "/one")
    session.step("kv1_read_table", 200, bao, "kv", "get", full + "/one")
    session.step("kv1_read_raw", 200, bao, "read", "-field=password", full + "/one")
    session.step("kv1_read_missing", 404, bao, "kv", "get", JSON, full + "/missing")
    session.step("kv1_list", 200, bao, "kv", "list", JSON, full)
    if not plan.get("writable_prefix"):
        return
    path = "{}/{}/one".format(plan["kv1_mount"], plan["writable_prefix"])
    session.step("kv1_write", 204, bao, "kv", "put", path, "-", stdin=json.dumps(KV1_VALUE))
    session.step("kv1_write_read", 200, bao, "kv", "get", JSON, path)
    session.step("kv1_overwrite", 204, bao, "write", path, "user=two")
    session.step("kv1_overwrite_read", 200, bao, "read", JSON, path)
    session.step("kv1_list_written", 200, bao, "list", JSON, path.rpartition("/")[0])
    session.step("kv1_delete", 204, bao, "kv", "delete", path)
    session.step("kv1_delete_read", 404, bao, "kv", "get", JSON, path)


def refusals(session, bao):
    plan = session.plan
    known = "{}/{}/db".format(plan["kv2_mount"], plan["readonly_prefix"])
    denied = "{}/{}".format(plan["kv2_mount"], plan["denied_path"])
    unknown = bao.with_token(UNKNOWN_TOKEN)
    nobody = Command(bao.bao, os.path.join(bao.home, "nobody"), session)
    session.step("unknown_token_read", 403, unknown, "kv", "get", JSON, known)
    session.step("unknown_token_lookup", 403, unknown, "token", "lookup", JSON)
    session.step("no_token_read", 403, nobody, "read", JSON, known.replace("/", "/data/", 1))
    session.step("denied_read", 403, bao, "kv", "get", JSON, denied)
    session.step("denied_missing", 403, bao, "kv", "get", JSON, denied + "-missing")
    session.step("denied_write", 403, bao, "kv", "put", JSON, denied, "password=made-up")
    session.step("denied_delete", 403, bao, "kv", "delete", denied)
    session.step("denied_metadata", 403, bao, "kv", "metadata", "get", JSON, denied)
    session.step("denied_list", 403, bao, "kv", "list", JSON, denied.rpartition("/")[0])
    session.step("unknown_mount_read", 403, bao, "kv", "get", JSON, plan["unknown_mount"] + "/any")
    session.step("unknown_mount_raw", 403, bao, "read", JSON, plan["unknown_mount"] + "/any")


def wrapping(session, bao):
    plan = session.plan
    path = "{}/{}/db".format(plan["kv2_mount"], plan["readonly_prefix"])
    want = 200 if plan["expect_wrap"] else 400
    # Through `read`: the wrapped preflight of `kv get` would be answered wrapped too.
    wrapped = session.step("wrapped_read", want, bao, "read", JSON, "-wrap-ttl=60s", path.replace("/", "/data/", 1))
    if plan["expect_wrap"] and wrapped:
        session.step("unwrap", 200, bao, "unwrap", JSON, wrapped["wrap_info"]["token"])
        session.step("unwrap_again", (400, 403), bao, "unwrap", JSON, wrapped["wrap_info"]["token"])


def tokens(session, bao):
    plan = session.plan
    if plan.get("approle") or plan.get("token"):
        session.step("renew_self", 200, bao, "token", "renew", JSON)
        session.step("renew_self_increment", 200, bao, "token", "renew", "-increment=30m")
    if plan.get("child_policies"):
        child_token(session, bao)
    if plan.get("approle"):
        session.step("revoke_self", 204, bao, "token", "revoke", "-self")
        session.step("revoke_self_lookup", 403, bao, "token", "lookup", JSON)
        session.step("revoke_self_read", 403, bao, "kv", "get", JSON, "{}/{}/db".format(plan["kv2_mount"], plan["readonly_prefix"]))


def child_token(session, bao):
    plan = session.plan
    known = "{}/{}/db".format(plan["kv2_mount"], plan["readonly_prefix"])
    policies = ["-policy=" + name for name in plan["child_policies"]]
    session.step("child_superset", 400, bao, "token", "create", JSON, *policies, "-policy=not-mine", "-ttl=5m")
    created = session.step("child_create", 200, bao, "token", "create", JSON, *policies, "-ttl=5m",
                           "-metadata=purpose=sdk-session", "-display-name=sdk-session")
    if not created:
        return
    child = bao.with_token(created["auth"]["client_token"])
    session.step("child_lookup", 200, child, "token", "lookup", JSON)
    session.step("child_read", 200, child, "kv", "get", JSON, known)
    if plan.get("writable_prefix"):
        session.step("child_write", 403, child, "kv", "put", JSON, "{}/{}/child".format(plan["kv2_mount"], plan["writable_prefix"]), "a=b")
    session.step("child_renew", 200, child, "token", "renew", JSON)
    session.step("child_revoke", 204, child, "token", "revoke", "-self")
    session.step("child_after_revoke_lookup", 403, child, "token", "lookup", JSON)
    session.step("child_after_revoke_read", 403, child, "kv", "get", JSON, known)


def pairs(data):
    return ["{}={}".format(key, value) for key, value in data.items()]


def custom(entries):
    return ["-custom-metadata={}={}".format(key, value) for key, value in entries.items()]


if __name__ == "__main__":
    sys.exit(main())

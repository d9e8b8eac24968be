"""Prepares an OpenBao (or Vault) development server for the integration tests.

    VAULT_ADDR=http://127.0.0.1:PORT VAULT_TOKEN=ROOT python3 seed.py

Prints one JSON object: the credentials it made, where things are, and under `plan` a ready plan for the sessions of
`tests/it/sdk/`. Running it again puts the sample data back as it was and makes new secret ids and tokens; role ids
stay. Only the standard library is used. Every value written is made up.

What is there afterwards:
- KV v2 `secret/`: `app/db` (3 versions, custom metadata), `app/api`, `app/nested/deep`, `app/gone` (soft-deleted),
  `app/destroyed` (version 1 destroyed, 2 live), `other/hidden` (no session may read it)
- KV v1 `kv1/`: `app/one`, `app/nested/two`
- AppRole role `app`, policies `app-read` (read and list under `app/`), `app-write` (everything under `scratch/`),
  `app-token` (may create child tokens): what the proxy's own policy is expected to allow the sessions
- AppRole role `backend`, policy `backend`: what the proxy logs in with; also a periodic token of the same policy
- transit key `seal`
- namespace `team1` (OpenBao, Vault Enterprise) with all of this once more; answered under `namespace`
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

KV2 = "secret"
KV1 = "kv1"
NAMESPACE = "team1"
TRANSIT_KEY = "seal"

POLICIES = {
    "app-read": """
        path "secret/data/app/*" { capabilities = ["read"] }
        path "secret/metadata/app/*" { capabilities = ["read", "list"] }
        path "secret/subkeys/app/*" { capabilities = ["read"] }
        path "kv1/app/*" { capabilities = ["read", "list"] }
    """,
    "app-write": """
        path "secret/data/scratch/*" { capabilities = ["create", "read", "update", "patch", "delete"] }
        path "secret/metadata/scratch/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
        path "secret/subkeys/scratch/*" { capabilities = ["read"] }
        path "secret/delete/scratch/*" { capabilities = ["create", "update"] }
        path "secret/undelete/scratch/*" { capabilities = ["create", "update"] }
        path "secret/destroy/scratch/*" { capabilities = ["create", "update"] }
        path "kv1/scratch/*" { capabilities = ["create", "read", "update", "delete", "list"] }
    """,
    "app-token": """
        path "auth/token/create" { capabilities = ["create", "update"] }
    """,
    "backend": """
        path "secret/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
        path "kv1/*" { capabilities = ["create", "read", "update", "delete", "list"] }
        path "transit/encrypt/seal" { capabilities = ["create", "update"] }
        path "transit/decrypt/seal" { capabilities = ["create", "update"] }
        path "sys/mounts" { capabilities = ["read"] }
    """,
}
APP_POLICIES = ["app-read", "app-write", "app-token"]

DB_VERSIONS = [
    {"user": "app", "password": "made-up-1"},
    {"user": "app", "password": "made-up-2", "port": 5432},
    {"user": "app", "password": "made-up-3", "port": 5432, "options": {"tls": True, "hosts": ["db-1", "db-2"]}, "note": "grüße, 雪 & <tags>"},
]


class Refused(Exception):
    """The server answered with an error; keeps the status so that callers can tell an expected one."""

    def __init__(self, method, path, status, body):
        super().__init__("{} {} was answered {}: {}".format(method, path, status, body))
        self.status = status
        self.body = body


class Server:
    """One server and one token; never goes through a proxy of the environment."""

    def __init__(self, address, token, namespace=None):
        self.address = address.rstrip("/")
        self.headers = {"X-Vault-Token": token, "X-Vault-Request": "true", "Content-Type": "application/json"}
        if namespace:
            self.headers["X-Vault-Namespace"] = namespace
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request("{}/v1/{}".format(self.address, path), data, self.headers, method=method)
        try:
            with self.opener.open(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(method, path, error.code, error.read().decode(errors="replace")) from None
        return json.loads(text) if text.strip() else {}

    def call_unless(self, status, method, path, body=None):
        """A call whose refusal with this status means that the thing is not there: an empty answer."""
        try:
            return self.call(method, path, body)
        except Refused as refused:
            if refused.status != status:
                raise
            return {}


def seed(address, root_token):
    """Prepares the server and answers what the tests need to know."""
    root = Server(address, root_token)
    answer = prepare(root)
    if not root.call_unless(404, "GET", "sys/namespaces/" + NAMESPACE):
        root.call("POST", "sys/namespaces/" + NAMESPACE)
    team = prepare(Server(address, root_token, NAMESPACE))
    answer["plan"] = plan(answer, None)
    answer["namespace"] = {"name": NAMESPACE, **team, "plan": plan(team, NAMESPACE)}
    return answer


def prepare(server):
    mount(server, KV2, {"type": "kv", "options": {"version": "2"}})
    mount(server, KV1, {"type": "kv", "options": {"version": "1"}})
    mount(server, "transit", {"type": "transit"})
    server.call("POST", "transit/keys/" + TRANSIT_KEY, {})
    for name, text in POLICIES.items():
        server.call("PUT", "sys/policies/acl/" + name, {"policy": text})
    fill_kv2(server)
    server.call("POST", KV1 + "/app/one", {"user": "one", "password": "made-up-one"})
    server.call("POST", KV1 + "/app/nested/two", {"value": "made-up-two"})

    if "approle/" not in server.call("GET", "sys/auth")["data"]:
        server.call("POST", "sys/auth/approle", {"type": "approle"})
    app = role(server, "app", APP_POLICIES, {"token_ttl": "20m", "token_max_ttl": "4h"})
    backend = role(server, "backend", ["backend"], {"token_ttl": "20m", "token_max_ttl": "4h"})
    # Periodic, so that `check` has nothing to warn about.
    tokens = {
        name: server.call("POST", "auth/token/create-orphan", {"policies": policies, "period": "24h"})["auth"]["client_token"]
        for name, policies in (("app", APP_POLICIES), ("backend", ["backend"]))
    }
    return {
        "kv2_mount": KV2, "kv1_mount": KV1, "transit_mount": "transit", "transit_key": TRANSIT_KEY, "app_policies": APP_POLICIES,
        "role_id": app[0], "secret_id": app[1], "app_token": tokens["app"],
        "backend_role_id": backend[0], "backend_secret_id": backend[1], "backend_token": tokens["backend"],
    }


def mount(server, name, body):
    if name + "/" not in server.call("GET", "sys/mounts")["data"]:
        server.call("POST", "sys/mounts/" + name, body)
    if body.get("options") != {"version": "2"}:
        return
    # A fresh KV v2 mount refuses calls with 400 while it sets itself up.
    deadline = time.monotonic() + 20
    while True:
        try:
            server.call("GET", name + "/config")
            return
        except Refused as refused:
            if refused.status != 400 or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def fill_kv2(server):
    for path in ("app/db", "app/api", "app/nested/deep", "app/gone", "app/destroyed", "other/hidden"):
        server.call_unless(404, "DELETE", "{}/metadata/{}".format(KV2, path))
    for version in DB_VERSIONS:
        put(server, "app/db", version)
    server.call("POST", KV2 + "/metadata/app/db", {"custom_metadata": {"owner": "team-one", "rotation": "30d"}})
    put(server, "app/api", {"key": "made-up-api-key"})
    put(server, "app/nested/deep", {"value": "made-up-deep"})
    put(server, "app/gone", {"value": "made-up-gone"})
    server.call("DELETE", KV2 + "/data/app/gone")
    put(server, "app/destroyed", {"value": "made-up-first"})
    put(server, "app/destroyed", {"value": "made-up-second"})
    server.call("PUT", KV2 + "/destroy/app/destroyed", {"versions": [1]})
    put(server, "other/hidden", {"value": "made-up-hidden"})


def put(server, path, data):
    server.call("POST", "{}/data/{}".format(KV2, path), {"data": data})


def role(server, name, policies, options):
    """Makes the role and a fresh secret id; the role id is fixed, so that configuration files can be written before."""
    base = "auth/approle/role/" + name
    server.call("POST", base, {"token_policies": policies, **options})
    server.call("POST", base + "/role-id", {"role_id": "role-" + name})
    return "role-" + name, server.call("POST", base + "/secret-id", {})["data"]["secret_id"]


def plan(answer, namespace):
    """The plan for a session that talks to the server itself. A test changes keys to talk to the proxy."""
    return {
        "namespace": namespace,
        "token": answer["app_token"],
        "approle": {"role_id": answer["role_id"], "secret_id": answer["secret_id"]},
        "kv2_mount": KV2,
        "kv1_mount": KV1,
        "readonly_prefix": "app",
        "writable_prefix": "scratch/session",
        "denied_path": "other/hidden",
        "unknown_mount": "nowhere",
        "expect_readonly": True,
        "expect_wrap": True,
        "child_policies": ["app-read"],
        # OpenBao answers these outside namespaces only.
        "skip": ["health", "health_head", "initialized"] if namespace else [],
    }


def main():
    address, token = os.environ.get("VAULT_ADDR"), os.environ.get("VAULT_TOKEN")
    if not address or not token:
        print("seed: set VAULT_ADDR and VAULT_TOKEN (a root token)", file=sys.stderr)
        return 2
    try:
        print(json.dumps(seed(address, token)))
    except (Refused, OSError) as error:
        print("seed: {}".format(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Looks for secrets in the memory of a running scaivault-proxy after it has handled them.

    sudo python3 tests/it/leak/memory.py --binary target/release/scaivault-proxy
    sudo python3 tests/it/leak/memory.py --binary … --bao http://127.0.0.1:8200 --bao-token …      with copies as well

Run by hand: the process forbids others to look into it, so this needs root (CAP_SYS_PTRACE). Without root it starts
itself again in a user namespace of its own, where it has that right over what it starts; where the system does not
allow that either, it says so and ends with 2. It is no part of `cargo test` for that reason. Linux only.

A proxy with a sealed store is started and made to handle canaries: written, read, patched, listed, deleted, destroyed
over both wires, by configured and issued tokens and a login; with `--bao` (KV version 2 at secret/) also copied,
proxied and written through. Then all clients hang up. As soon as nothing is found, or after `--settle` seconds,
everything its memory holds is searched for every canary in six encodings: as it is, UTF-16, hex, percent, reversed,
base64 at three offsets. The search has to find one text that is surely there, or it is worth nothing.

Standard output is one line of JSON: hits by canary; what was found at first, that is buffers of the last requests; what
must not be there (`leaks`: values, keys, credentials); and what the process holds in the clear on purpose (`kept`):
names, for lists and in the last audit lines, and the metadata of secrets that were read lately. The exit code is 1 if
anything is there that must not be. Only the standard library is used.
"""

import argparse
import base64
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

START_SECONDS = 60
ROUNDS = 40
BLOCK = 4 << 20
AGAIN = "SCAIVAULT_MEMORY_IN_NAMESPACE"
CONTROL = "Canary-control-6b0e-in-the-environment"
MERGE = "application/merge-patch+json"

CONFIG = """
version: 1
store: {{path: {dir}/store/store.redb, local: [apps]}}
seal: {{provider: file, path: {dir}/seal.key}}
audit: {{sinks: [{{type: file, path: {dir}/audit/audit.jsonl}}]}}
admin: {{address: "{admin}"}}
listeners:
  - {{wire: scaivault, address: "{own}"}}
  - {{wire: vault, address: "{vault}", mounts: {{secret: {{kv: 2}}}}, paths: [{{from: "secret/**", to: "**"}}]}}
identity:
  tokens: [{{principal: t/admin, groups: [admins], file: {dir}/token}}]
  approles: [{{principal: t/role, groups: [admins], role_id: role-of-the-scan, secret_id_files: [{dir}/secret-id]}}]
policies: [{dir}/policies.cedar]
"""

BACKEND = """
secrets: {{infra/bao: {{file: {dir}/bao.json}}}}
backends:
  - name: bao
    type: hashicorp-vault
    mode: sync
    sync_interval: 1h
    write_mode: write_through
    config: {{endpoint: "{bao}", auth_method: token, auth_config_path: infra/bao}}
    path_mapping:
      - {{from: "live/**", to: "secret/data/{prefix}/live/**", mode: proxy}}
      - {{from: "copied/**", to: "secret/data/{prefix}/copied/**"}}
"""


class Wrong(Exception):
    """Why nothing can be said."""


def needles(data):
    """Every form a text is looked for in: name, bytes, whether case says nothing."""
    hexed = data.hex()
    forms = [
        ("as it is", data, False),
        ("utf-16", b"".join(bytes([byte, 0]) for byte in data), False),
        ("hex", hexed.encode(), True),
        ("percent", "".join("%" + hexed[at:at + 2] for at in range(0, len(hexed), 2)).encode(), True),
        ("reversed", data[::-1], False),
    ]
    for offset in range(3):
        shifted = bytes(offset) + data
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # the first and last digits also depend on what stands beside the text
            digits = encode(shifted)[(0, 2, 3)[offset]:len(shifted) * 8 // 6]
            forms.append(("base64", digits, False))
    return forms


class Search:
    """All canaries in one expression for each case: two passes over memory."""

    def __init__(self, canaries):
        self.found = {}
        exact, caseless = {}, {}
        for name, data in canaries.items():
            for encoding, needle, is_caseless in needles(data):
                (caseless if is_caseless else exact).setdefault(needle, (name, encoding))
        self.passes = [(exact, 0), (caseless, re.IGNORECASE)]
        self.longest = max(len(needle) for known, _ in self.passes for needle in known)

    def look(self, block, place, skip):
        """`skip`: how much at the beginning was looked at before."""
        for known, flags in self.passes:
            lookup = {needle.lower() if flags else needle: said for needle, said in known.items()}
            pattern = re.compile(b"|".join(re.escape(needle) for needle in known), flags)
            for match in pattern.finditer(block):
                if match.end() > skip:
                    name, encoding = lookup[match.group().lower() if flags else match.group()]
                    self.found.setdefault(name, []).append((encoding, place, match.start()))


def scan(pid, canaries):
    """Hits by canary: encoding, mapping. And how many bytes were looked at."""
    search, looked = Search(canaries), 0
    with open("/proc/{}/maps".format(pid)) as maps:
        mappings = [line.split(None, 5) for line in maps]
    with open("/proc/{}/mem".format(pid), "rb", buffering=0) as memory:
        for fields in mappings:
            start, end = (int(number, 16) for number in fields[0].split("-"))
            place = fields[5].strip() if len(fields) > 5 else "anonymous"
            if "r" not in fields[1] or place in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            tail, at = b"", start
            while at < end:
                try:
                    memory.seek(at)
                    got = memory.read(min(BLOCK, end - at))
                except OSError:
                    break  # a mapping that went away or was never filled
                if not got:
                    break
                search.look(tail + got, place, len(tail))
                at, looked = at + len(got), looked + len(got)
                tail = (tail + got)[-search.longest:]
    return search.found, looked


def may_look(pid):
    """Whether another process that forbids it can be looked into."""
    try:
        with open("/proc/{}/mem".format(pid), "rb") as memory, open("/proc/{}/maps".format(pid)) as maps:
            memory.seek(int(maps.readline().split("-")[0], 16))
            return bool(memory.read(1))
    except OSError:
        return False


def start_again_as_root_of_a_namespace():
    """Never returns if it works."""
    unshare = shutil.which("unshare")
    if unshare and os.geteuid() != 0 and AGAIN not in os.environ:
        environment = {**os.environ, AGAIN: "1"}
        done = subprocess.run([unshare, "--map-root-user", "true"], check=False, capture_output=True)
        if done.returncode == 0:
            os.execve(unshare, [unshare, "--map-root-user", sys.executable, *sys.argv], environment)


class Proxy:
    def __init__(self, options, place, texts):
        self.place = place
        self.own, self.vault, self.admin = free_address(), free_address(), free_address()
        self.prefix = "scan-" + os.urandom(6).hex()
        config = CONFIG + (BACKEND if options.bao else "")
        self.write("config.yaml", config.format(dir=place, admin=self.admin, own=self.own, vault=self.vault,
                                                bao=options.bao, prefix=self.prefix))
        self.write("seal.key", base64.b64encode(texts["root key"]).decode() + "\n")
        self.write("token", texts["token"].decode())
        self.write("secret-id", texts["secret id"].decode())
        self.write("bao.json", json.dumps({"token": options.bao_token}))
        self.write("policies.cedar", '@id("admins")\npermit (principal in Group::"admins", action, resource);\n')
        os.mkdir(os.path.join(place, "audit"), 0o700)
        with open(os.path.join(place, "log"), "ab") as log:
            self.child = subprocess.Popen(
                [options.binary, "serve", "--config", os.path.join(place, "config.yaml")],
                env={"PATH": os.environ.get("PATH", ""), "CONTROL": CONTROL}, cwd=place, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise Wrong("it does not start:\n" + self.said())
            try:
                if call(self.admin, "GET", "/startupz", {})[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)

    def write(self, name, text):
        with open(os.open(os.path.join(self.place, name), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)

    def said(self):
        with open(os.path.join(self.place, "log"), errors="replace") as log:
            return "".join(log.readlines()[-30:])


def call(address, method, path, headers, body=None):
    """One request on a connection of its own."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.strip().startswith(b"{") else {}
    finally:
        connection.close()


def made_up():
    """Everything that is looked for, by what it is. Each text is in no file and in no other text."""
    def text(what):
        return "Canary-{}-{}".format(what, os.urandom(9).hex()).encode()

    names = ("value", "old value", "text value", "patched value", "deleted value", "destroyed value", "vault value",
             "metadata", "token", "issued token", "unknown token", "secret id", "wrong secret id", "secret name",
             "copied value", "proxied value", "written-through value")
    return {**{name: text(name.replace(" ", "-")) for name in names}, "root key": os.urandom(32)}


def handle(proxy, texts, options):
    """Sends every canary through everything there is."""
    word = {name: data.decode() for name, data in texts.items() if name != "root key"}
    bearer, vault = {"Authorization": "Bearer " + word["token"]}, {"X-Vault-Token": word["token"]}

    def own(method, path, body=None, headers=bearer, expected=(200, 201, 204)):
        return ask(proxy.own, method, path, headers, body, expected)

    def kv(method, path, body=None, headers=vault, expected=(200, 204)):
        return ask(proxy.vault, method, "/v1/" + path, headers, body, expected)

    base = "/v1/secrets/apps/scan/" + word["secret name"]
    for number in range(ROUNDS):
        own("PUT", base, {"data": {"a": word["old value"] + str(number)}, "metadata": {"owner": word["metadata"]}})
    own("PUT", base, {"data": {"a": word["value"]}, "metadata": {"owner": word["metadata"]}})
    own("PUT", base + "-text", {"data": word["text value"], "secret_type": "text"})
    own("PUT", base + "-deleted", {"data": {"a": word["deleted value"]}})
    own("PUT", base + "-destroyed", {"data": {"a": word["destroyed value"]}})
    kv("POST", "secret/data/apps/scan/vault", {"data": {"a": word["vault value"]}})
    patch = {**vault, "Content-Type": MERGE}
    kv("PATCH", "secret/data/apps/scan/vault", {"data": {"b": word["patched value"]}}, patch)
    login = {"role_id": "role-of-the-scan", "secret_id": word["secret id"]}
    issued = kv("POST", "auth/approle/login", login, {})["auth"]["client_token"]
    kv("POST", "auth/approle/login", {**login, "secret_id": word["wrong secret id"]}, {}, (400,))
    texts["issued token"] = issued.encode()
    for headers in (vault, {"X-Vault-Token": issued}):
        for _ in range(ROUNDS):
            kv("GET", "secret/data/apps/scan/" + word["secret name"], headers=headers)
            kv("GET", "secret/data/apps/scan/vault", headers=headers)
            own("GET", base), own("GET", base + "-text"), own("GET", base + "?version=2", expected=(200, 404, 410))
            own("GET", "/v1/secrets/apps/scan?list=true")
    own("GET", base, headers={"Authorization": "Bearer " + word["unknown token"]}, expected=(401,))
    own("GET", base + "-deleted"), own("GET", base + "-destroyed")
    own("DELETE", base + "-deleted")
    own("DELETE", base + "-destroyed?destroy=true&version=1")
    if options.bao:
        through_bao(proxy, word, options, own, kv, bearer)


def through_bao(proxy, word, options, own, kv, bearer):
    """Copied, proxied and written-through values."""
    bao, root = urllib.parse.urlsplit(options.bao).netloc, {"X-Vault-Token": options.bao_token}
    for folder, value in (("copied", "copied value"), ("live", "proxied value")):
        path = "/v1/secret/data/{}/{}/one".format(proxy.prefix, folder)
        ask(bao, "POST", path, root, {"data": {"a": word[value]}}, (200,))
    backend = ask(proxy.own, "GET", "/v1/federation/backends", bearer, None, (200,))["backends"][0]["id"]
    run = own("POST", "/v1/federation/backends/{}/sync".format(backend), {}, expected=(202,))["run"]
    deadline = time.monotonic() + START_SECONDS
    while True:
        report = own("GET", "/v1/federation/backends/{}/syncs/{}".format(backend, run), expected=(200, 404))
        if report.get("outcome", "running") != "running":
            break
        if time.monotonic() > deadline:
            raise Wrong("the copy does not end: {}".format(report))
        time.sleep(0.05)
    if report["outcome"] != "completed":
        raise Wrong("the copy failed: {}".format(report))
    kv("POST", "secret/data/copied/two", {"data": {"a": word["written-through value"]}})
    for name in ("copied/one", "copied/two", "live/one"):
        for _ in range(ROUNDS):
            kv("GET", "secret/data/" + name)
            own("GET", "/v1/secrets/" + name)


def ask(address, method, path, headers, body, expected):
    status, answer = call(address, method, path, headers, body)
    if status not in expected:
        raise Wrong("{} {} was answered {}: {}".format(method, path, status, answer))
    return answer


def free_address():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return "127.0.0.1:{}".format(one.getsockname()[1])


# What is held in the clear on purpose: told, and no leak.
KEPT = ("secret name", "metadata")


def main():
    arguments = argparse.ArgumentParser(description="Search a proxy's memory for what it has handled.")
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--bao", metavar="URL", help="a server with KV version 2 at secret/: copies as well")
    arguments.add_argument("--bao-token", default="")
    arguments.add_argument("--settle", type=float, default=15, metavar="SECONDS", help="at most (15)")
    options = arguments.parse_args()
    options.binary = os.path.abspath(options.binary)
    if not sys.platform.startswith("linux"):
        print("memory: memory is read from /proc: this runs on Linux only", file=sys.stderr)
        return 2
    place, proxy = tempfile.mkdtemp(prefix="memory-scan-"), None
    try:
        texts = made_up()
        start_again_as_root_of_a_namespace()
        proxy = Proxy(options, place, texts)
        pid = proxy.child.pid
        if not may_look(pid):
            raise Wrong("process {} cannot be looked into: run this as root with CAP_SYS_PTRACE (in a container: "
                        "--cap-add SYS_PTRACE), or allow user namespaces".format(pid))
        handle(proxy, texts, options)
        began, at_first = time.monotonic(), None
        while True:
            found, looked = scan(pid, {**texts, "control": CONTROL.encode()})
            if "control" not in found:
                raise Wrong("the search did not find what is surely there: it is worth nothing")
            leaks = {name: hits for name, hits in found.items() if name not in (*KEPT, "control")}
            at_first = at_first if at_first is not None else told(leaks)
            if not leaks or time.monotonic() > began + options.settle:
                break
            time.sleep(0.5)
        if proxy.child.poll() is not None:
            raise Wrong("it ended meanwhile:\n" + proxy.said())
    except Wrong as wrong:
        print("memory: {}".format(wrong), file=sys.stderr)
        return 2
    finally:
        if proxy and proxy.child.poll() is None:
            proxy.child.kill()
            proxy.child.wait()
        shutil.rmtree(place)
    print(json.dumps({
        "looked_at_mib": round(looked / (1 << 20), 1), "seconds": round(time.monotonic() - began, 1),
        "canaries": len(texts), "at_first": at_first, "leaks": told(leaks),
        "kept": told({name: found[name] for name in KEPT if name in found}),
    }))
    return 1 if leaks else 0


def told(found):
    """Hits by canary, counted by encoding and mapping."""
    counted = {}
    for name, hits in sorted(found.items()):
        for encoding, place, _ in hits:
            where = "{} in {}".format(encoding, place)
            one = counted.setdefault(name, {})
            one[where] = one.get(where, 0) + 1
    return counted


if __name__ == "__main__":
    sys.exit(main())

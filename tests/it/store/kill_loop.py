"""Kills a scaivault-proxy with signal 9, again and again, while it is written to, and looks at what is left.

    python3 tests/it/store/kill_loop.py --binary target/release/scaivault-proxy --rounds 2000
    python3 tests/it/store/kill_loop.py --binary … --bao http://127.0.0.1:8200 --bao-token …    with write-through and sync as well

Every round: several writers put, overwrite and delete secrets that each of them owns, and note in a ledger what was
acknowledged and what was under way; after some acknowledgements the process is killed; it is started again (in every
third round it is killed once more while it starts); then every secret must read as the last acknowledged write left it,
or as the one write under way would have. With write-through the copy and the server must also come to agree. Secrets that
are only copied are changed at the server, one sync after the other is ordered, and after each kill a copy must be a state
the server has had, not older than the one read before, and then become what the server has.

Standard output is one line of JSON with what was done. The exit code is 1 when anything was lost, torn or would not
start; standard error says what. Only the standard library is used.
"""

import argparse
import base64
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

TOKEN = "token-of-the-kill-loop-0001"
WRITERS = 4
PATHS = 6  # of each writer
START_SECONDS = 60
SETTLE_SECONDS = 30
ABSENT = (0, None)

CONFIG = """
version: 1
store: {{path: {dir}/store/store.redb, local: [apps]}}
seal: {{provider: file, path: {dir}/seal.key}}
audit: {{sinks: [{{type: file, path: {dir}/audit/audit.jsonl}}]}}
admin: {{address: "{admin}"}}
listeners: [{{wire: scaivault, address: "{data}"}}]
identity: {{tokens: [{{principal: t/killer, groups: [admins], file: {dir}/token}}]}}
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
      - {{from: "through/**", to: "secret/data/{prefix}/**"}}
      - {{from: "copied/**", to: "secret/data/{prefix}-copied/**", write_mode: disabled, history: all}}
"""


class Wrong(Exception):
    """What must not be."""


class Secret:
    """One path, owned by one writer: what was acknowledged, and what the write under way would make of it."""

    def __init__(self, path):
        self.path = path
        self.acknowledged = ABSENT  # version and value; None: deleted, or never written
        self.under_way = None

    def may_be(self):
        return [self.acknowledged] if self.under_way is None else [self.acknowledged, self.under_way]


class Proxy:
    def __init__(self, options, place):
        self.binary, self.place = options.binary, place
        self.data, self.admin = free_address(), free_address()
        self.log = os.path.join(place, "log")
        self.prefix = "kill-" + os.urandom(6).hex()
        config = CONFIG + (BACKEND if options.bao else "")
        self.write("config.yaml", config.format(
            dir=place, admin=self.admin, data=self.data, bao=options.bao, prefix=self.prefix))
        self.write("seal.key", base64.b64encode(os.urandom(32)).decode() + "\n")
        self.write("token", TOKEN)
        self.write("bao.json", json.dumps({"token": options.bao_token}))
        self.write("policies.cedar", '@id("admins")\npermit (principal in Group::"admins", action, resource);\n')
        os.mkdir(os.path.join(place, "audit"), 0o700)
        self.child, self.backend = None, None

    def write(self, name, text):
        with open(os.open(os.path.join(self.place, name), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)

    def spawn(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                [self.binary, "serve", "--config", os.path.join(self.place, "config.yaml")],
                env={"PATH": os.environ.get("PATH", "")}, cwd=self.place, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def start(self):
        """Starts it and waits until it has started; how long that took, in seconds."""
        began = time.monotonic()
        self.spawn()
        while time.monotonic() < began + START_SECONDS:
            if self.child.poll() is not None:
                raise Wrong("it does not start ({}):\n{}".format(self.child.returncode, self.said()))
            try:
                if Client(self.admin).call("GET", "/startupz")[0] == 200:
                    return time.monotonic() - began
            except OSError:
                pass
            pause()
        raise Wrong("not started after {} s:\n{}".format(START_SECONDS, self.said()))

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self):
        self.child.terminate()
        if self.child.wait(timeout=60) != 0:
            raise Wrong("it ended with {}:\n{}".format(self.child.returncode, self.said()))

    def said(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-30:])


class Client:
    """One connection."""

    def __init__(self, address, headers=None):
        host, port = address.rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=20)
        self.headers = headers or {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"}

    def call(self, method, path, body=None):
        try:
            text = None if body is None else json.dumps(body).encode()
            self.connection.request(method, path, text, self.headers)
            answer = self.connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from None
        return answer.status, json.loads(content) if content.strip().startswith((b"{", b"[")) else {}


class Writer:
    """Writes to its own secrets until the process is gone or it is told to stop."""

    def __init__(self, proxy, folder, seed):
        self.proxy, self.random = proxy, random.Random(seed)
        self.secrets = [Secret("{}/p{}".format(folder, number)) for number in range(PATHS)]
        self.acknowledged, self.count = 0, 0
        self.refused, self.wrong = [], None

    def begin(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def end(self):
        self.over.set()
        self.thread.join(30)
        if self.thread.is_alive():
            raise Wrong("a writer of {} hangs".format(self.secrets[0].path))
        if self.wrong:
            raise self.wrong

    def run(self):
        client = Client(self.proxy.data)
        while not self.over.is_set():
            free = [secret for secret in self.secrets if secret.under_way is None]
            if not free:
                return
            try:
                self.step(client, self.random.choice(free))
            except OSError:
                return  # killed: what was under way stays noted
            except Wrong as wrong:
                self.wrong = wrong
                return

    def step(self, client, secret):
        version, value = secret.acknowledged
        self.count += 1
        if value is not None and self.random.random() < 0.15:
            secret.under_way = (version, None)
            status, answer = client.call("DELETE", "/v1/secrets/" + secret.path)
            fits = status == 204
        else:
            filler = "x" * (self.random.randrange(40_000) if self.random.random() < 0.1 else self.random.randrange(200))
            value = {"n": self.count, "path": secret.path, "filler": filler, "end": self.count}
            secret.under_way = (version + 1, value)
            status, answer = client.call("PUT", "/v1/secrets/" + secret.path, {"data": value})
            fits = status in (200, 201) and answer.get("version") == version + 1
        if fits:
            secret.acknowledged, secret.under_way = secret.under_way, None
            self.acknowledged += 1
        elif status >= 500:
            # in doubt: the secret rests until the next look
            self.refused.append("{} {}".format(status, answer.get("kind")))
        else:
            raise Wrong("{}: {} {} after version {}".format(secret.path, status, answer, version))


class Source:
    """Changes secrets at the server that the proxy only copies, and knows every state each of them has had."""

    def __init__(self, options, proxy, seed):
        self.options, self.proxy, self.random, self.count = options, proxy, random.Random(seed), 0
        self.states = {"copied/w/p{}".format(number): [ABSENT] for number in range(PATHS)}
        self.served = dict.fromkeys(self.states, 0)  # the version that was read last
        self.wrong = None

    def begin(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def end(self):
        self.over.set()
        self.thread.join(30)
        if self.thread.is_alive():
            raise Wrong("the source hangs")
        if self.wrong:
            raise self.wrong

    def run(self):
        client = at_server(self.options)
        while not self.over.is_set():
            path = self.random.choice(sorted(self.states))
            version, value = self.states[path][-1]
            self.count += 1
            if value is not None and self.random.random() < 0.15:
                method, body, state = "DELETE", None, (version, None)
            else:
                value = {"n": self.count, "path": path, "filler": "x" * self.random.randrange(200), "end": self.count}
                method, body, state = "POST", {"data": value}, (version + 1, value)
            # the proxy may see it before we are told that it is done
            self.states[path].append(state)
            status, answer = client.call(method, "/v1/" + remote_name(self.proxy, path), body)
            if status not in (200, 204):
                self.wrong = Wrong("{} at the server: {} {}".format(path, status, answer))
                return
            pause()

    def look(self, client):
        """Every copy is a state of the server's, no older than before, and catches up."""
        for path, states in self.states.items():
            deadline = time.monotonic() + SETTLE_SECONDS
            while True:
                found = seen(client, path)
                if found not in states:
                    raise Wrong("{} reads {}, which the server never had".format(path, shown(found)))
                if found[0] < self.served[path]:
                    raise Wrong("{} reads {} after version {}".format(path, shown(found), self.served[path]))
                self.served[path] = found[0]
                if found == states[-1]:
                    break
                if time.monotonic() > deadline:
                    raise Wrong("{} stays {}, the server has {}".format(path, shown(found), shown(states[-1])))
                order(client, self.proxy)
                pause()
            del states[:-1]


class Orders:
    """Has one sync after the other made until the process is gone, so that it is killed in the middle of one."""

    def __init__(self, proxy):
        self.proxy, self.count = proxy, 0

    def begin(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def end(self):
        self.thread.join(30)
        if self.thread.is_alive():
            raise Wrong("whoever orders syncs hangs")

    def run(self):
        client = Client(self.proxy.data)
        try:
            while order(client, self.proxy):
                self.count += 1
                pause()
        except OSError:
            pass  # killed


def order(client, proxy):
    """Orders a sync of everything."""
    if proxy.backend is None:
        proxy.backend = client.call("GET", "/v1/federation/backends")[1]["backends"][0]["id"]
    status, answer = client.call("POST", "/v1/federation/backends/{}/sync".format(proxy.backend), {})
    if status != 202:
        raise Wrong("a sync is answered {} {}".format(status, answer))
    return True


def remote_name(proxy, path):
    """What the server calls a path."""
    folder, rest = path.split("/", 1)
    return "secret/data/{}{}/{}".format(proxy.prefix, "-copied" if folder == "copied" else "", rest)


def at_server(options):
    return Client(urllib.parse.urlsplit(options.bao).netloc, {"X-Vault-Token": options.bao_token})


def seen(client, path):
    """What the proxy has under a path: version and value."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        status, answer = client.call("GET", "/v1/secrets/" + path)
        if status == 200:
            return answer["version"], answer["data"]
        if status != 404:
            raise Wrong("{}: {} {}".format(path, status, answer))
        status, answer = client.call("GET", "/v1/secrets/" + path + "?versions=true")
        if status == 404:
            return ABSENT
        if status != 200:
            raise Wrong("{} (versions): {} {}".format(path, status, answer))
        states = {one["version"]: one["state"] for one in answer["versions"]}
        if states.get(answer["current_version"]) != "current":
            return answer["current_version"], None
        # a sync came between the two looks
    raise Wrong("{} has no value to read, and its version {} is current".format(path, answer["current_version"]))


def remote(options, proxy, path):
    """What the server behind it has."""
    status, answer = at_server(options).call("GET", "/v1/" + remote_name(proxy, path))
    found = answer.get("data") or {}
    if status not in (200, 404):
        raise Wrong("{} at the server: {} {}".format(path, status, answer))
    version = (found.get("metadata") or {}).get("version", 0)
    return (version, found.get("data")) if status == 200 else (version, None)


def look(options, proxy, writers):
    """Holds every secret against the ledger, and takes what is there as acknowledged from now on."""
    client = Client(proxy.data)
    kept = lost = 0
    for writer in writers:
        for secret in writer.secrets:
            expected, found = secret.may_be(), seen(client, secret.path)
            if secret.path.startswith("through/"):
                found = agreed(options, proxy, client, secret, expected, found)
            if found not in expected:
                raise Wrong("{} reads {}, expected one of {}".format(secret.path, shown(found), [shown(one) for one in expected]))
            if secret.under_way is not None:
                kept, lost = kept + (found == secret.under_way), lost + (found != secret.under_way)
            secret.acknowledged, secret.under_way = found, None
    return kept, lost


def agreed(options, proxy, client, secret, expected, found):
    """Waits until the copy and the server say the same; each may only ever be one of what is expected."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        there = remote(options, proxy, secret.path)
        for what, state in (("the copy", found), ("the server", there)):
            if state not in expected:
                raise Wrong("{}: {} has {}, expected one of {}".format(
                    secret.path, what, shown(state), [shown(one) for one in expected]))
        if found == there:
            return found
        if time.monotonic() > deadline:
            raise Wrong("{}: the copy stays {}, the server has {}".format(secret.path, shown(found), shown(there)))
        pause()
        found = seen(client, secret.path)


def listed(proxy, writers):
    """Every secret that was ever written is in its folder's list."""
    deadline = time.monotonic() + START_SECONDS
    for writer in writers:
        folder = writer.secrets[0].path.rsplit("/", 1)[0]
        while True:
            status, answer = Client(proxy.data).call("GET", "/v1/secrets/{}?list=true".format(folder))
            if status in (200, 404) or time.monotonic() > deadline:
                break
            pause()  # names are still being read
        names = set(answer.get("names", []))
        expected = {secret.path.rsplit("/", 1)[1] for secret in writer.secrets if secret.acknowledged[1] is not None}
        if (status, expected) != (404, set()) and (status != 200 or not expected <= names):
            raise Wrong("the list of {} is {} {}, expected {}".format(folder, status, sorted(names), sorted(expected)))


def shown(state):
    version, value = state
    return "version {} {}".format(version, "without a value" if value is None else "number {}".format(value.get("n")))


def pause():
    threading.Event().wait(0.01)


def free_address():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return "127.0.0.1:{}".format(one.getsockname()[1])


def main():
    arguments = argparse.ArgumentParser(description="Kill a proxy under writes and look at what is left.")
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--rounds", type=int, default=2000)
    arguments.add_argument("--bao", metavar="URL", help="a server with KV version 2 at secret/: write-through and sync as well")
    arguments.add_argument("--bao-token", default="")
    arguments.add_argument("--seed", type=int, default=0, help="0: another one every time")
    arguments.add_argument("--dir", help="where to work; kept afterwards (default: a temporary directory)")
    options = arguments.parse_args()
    options.binary = os.path.abspath(options.binary)
    seed = options.seed or int.from_bytes(os.urandom(4), "big")
    place = os.path.abspath(options.dir) if options.dir else tempfile.mkdtemp(prefix="kill-loop-")
    proxy = Proxy(options, place)
    try:
        print(json.dumps({"seed": seed, **loop(options, proxy, random.Random(seed))}))
    except Wrong as wrong:
        print("kill_loop: seed {}: {}\nkill_loop: left in {}".format(seed, wrong, place), file=sys.stderr)
        return 1
    finally:
        if proxy.child and proxy.child.poll() is None:
            proxy.kill()
    if not options.dir:
        shutil.rmtree(place)
    return 0


def loop(options, proxy, rng):
    began = time.monotonic()
    folders = ["apps/w{}".format(number) for number in range(WRITERS)]
    if options.bao:
        folders += ["through/w{}".format(number) for number in range(WRITERS // 2)]
    writers = [Writer(proxy, folder, rng.random()) for folder in folders]
    source, orders = (Source(options, proxy, rng.random()), Orders(proxy)) if options.bao else (None, None)
    others = [other for other in (source, orders) if other]
    done = {"rounds": 0, "acknowledged": 0, "under_way_kept": 0, "under_way_lost": 0, "killed_while_starting": 0}
    slowest = proxy.start()
    for number in range(options.rounds):
        before = sum(writer.acknowledged for writer in writers)
        for one in [*writers, *others]:
            one.begin()
        wanted, deadline = rng.randrange(1, 60), time.monotonic() + START_SECONDS
        while sum(writer.acknowledged for writer in writers) < before + wanted:
            if time.monotonic() > deadline or not any(writer.thread.is_alive() for writer in writers):
                refused = [text for writer in writers for text in writer.refused + [str(writer.wrong)]]
                raise Wrong("round {}: writes no longer go through: {}\n{}".format(number, refused[:8], proxy.said()))
            threading.Event().wait(0.001)
        proxy.kill()
        for one in [*writers, *others]:
            one.end()
        if number % 3 == 2:
            proxy.spawn()
            try:
                ended = proxy.child.wait(timeout=rng.uniform(0, 0.4))
                raise Wrong("round {}: it does not start ({}):\n{}".format(number, ended, proxy.said()))
            except subprocess.TimeoutExpired:
                proxy.kill()
                done["killed_while_starting"] += 1
        slowest = max(slowest, proxy.start())
        kept, lost = look(options, proxy, writers)
        if source:
            source.look(Client(proxy.data))
        listed(proxy, writers)
        done["under_way_kept"] += kept
        done["under_way_lost"] += lost
        done["rounds"] += 1
    proxy.stop()
    done["acknowledged"] = sum(writer.acknowledged for writer in writers)
    done["changed_at_the_server"], done["syncs_ordered"] = (source.count, orders.count) if source else (0, 0)
    done["slowest_start_ms"] = round(slowest * 1000)
    done["seconds"] = round(time.monotonic() - began, 1)
    done["store_bytes"] = os.path.getsize(os.path.join(proxy.place, "store/store.redb"))
    return done


if __name__ == "__main__":
    sys.exit(main())

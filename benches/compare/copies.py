"""Sealed copies of an OpenBao's secrets: filling the server, starting a proxy that copies, and its runs."""

import base64
import json
import random
import socket
import threading
import time

from process import Failed
from product import CLIENT_TOKEN, product

ROOT_TOKEN = "bench-root"
HANDS = 8
RUN_SECONDS = 600


def name_of(number):
    """Of a secret of a folder: a hundred to a folder below it."""
    return "team-{:03}/s{:06}".format(number // 100, number)


def fill(lab, folder, secrets, begin=0):
    """Writes the lab's secret under many names below a folder of the OpenBao, over a few connections."""
    host, port = lab.openbao().url.removeprefix("http://").split(":")
    body = json.dumps({"data": lab.secret}).encode()
    failures = []

    def write(numbers):
        try:
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                for number in numbers:
                    put(connection, "/v1/secret/data/{}/{}".format(folder, name_of(number)), body)
        except (OSError, Failed) as failure:
            failures.append(failure)

    hands = [threading.Thread(target=write, args=(range(begin + hand, secrets, HANDS),)) for hand in range(HANDS)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    if failures:
        raise Failed("OpenBao cannot be filled: {}".format(failures[0]))


def put(connection, path, body):
    """One write on a connection that is kept open; http.client takes three times as long."""
    head = "POST {} HTTP/1.1\r\nHost: bench\r\nX-Vault-Token: {}\r\nContent-Length: {}\r\n\r\n"
    connection.sendall(head.format(path, ROOT_TOKEN, len(body)).encode() + body)
    got = b""
    while b"\r\n\r\n" not in got:
        got += more(connection)
    head, _, rest = got.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise Failed("{} was answered {}".format(path, head.split(b"\r\n")[0].decode()))
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(rest) < length:
        rest += more(connection)


def more(connection):
    got = connection.recv(65536)
    if not got:
        raise Failed("OpenBao hung up")
    return got


def copier(lab, name, folder, store=None, listener=None, access_key=None):
    """A proxy with a sealed store, empty yet, whose `apps/FOLDER/**` are copies of the OpenBao's `FOLDER/**`."""
    backend = {
        "name": "openbao", "type": "hashicorp-vault", "mode": "sync", "sync_interval": "24h",
        "config": {"endpoint": lab.openbao().url, "auth_method": "token", "auth_config_path": "infra/openbao"},
        "path_mapping": [{"from": "apps/{}/**".format(folder), "to": "secret/data/{}/**".format(folder)}],
    }
    token = lab.file("openbao-token.json", json.dumps({"token": ROOT_TOKEN}))
    key = lab.file(name + "-key", base64.b64encode(random.Random(lab.seed).randbytes(32)).decode() + "\n")
    return product(lab, name, {
        "backends": [backend], "secrets": {"infra/openbao": {"file": str(token)}},
        "seal": {"provider": "file", "path": str(key)},
        "store": {"path": str(lab.directory / name / "store" / "store.redb"), **(store or {})},
    }, listener, access_key)


def run(made):
    """Orders a run over everything; its report, or the first run's if that had begun by itself and did the work."""
    backend = made.call("GET", "federation/backends")["backends"][0]["id"]
    base = "federation/backends/{}".format(backend)
    made.call("POST", base + "/sync", {})
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        runs = made.call("GET", base + "/syncs")["syncs"]
        # a run that is queued or under way is in no list, or says so
        if runs and made.call("GET", base + "/status")["running"] is None and all(
                one["outcome"] != "running" for one in runs):
            failed = [one for one in runs if one["outcome"] != "completed"]
            if failed:
                raise Failed("{}: a run was not completed: {}".format(made.name, failed[0]))
            return max(runs, key=lambda one: one["created"])
        time.sleep(0.02)
    raise Failed("{}: a run took more than {} s".format(made.name, RUN_SECONDS))


def start_sync_hit(lab):
    """One copied secret, which stays in the read cache."""
    made = copier(lab, "sync-hit", "bench")
    return lab.vault_row("scaivault-proxy, copy, in the read cache", made.server, token=CLIENT_TOKEN,
                         prepare=lambda: copied(made, 1), audit=made.audit)


MISSED = 2_000


def start_sync_miss(lab):
    """Many copied secrets, asked for in turn, and a read cache that holds none of them."""
    fill(lab, "missed", MISSED)
    made = copier(lab, "sync-miss", "missed", {"cache_bytes": 1})
    spread = ["/v1/secret/data/missed/" + name_of(number) for number in range(MISSED)]
    return lab.vault_row("scaivault-proxy, copy, read from its file", made.server, token=CLIENT_TOKEN,
                         prepare=lambda: copied(made, MISSED), audit=made.audit, spread=spread)


def copied(made, secrets):
    report = run(made)
    if report["created"] != secrets:
        raise Failed("{}: {} of {} secrets were copied".format(made.name, report["created"], secrets))
    return report

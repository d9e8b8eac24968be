"""This proxy as the comparison starts it: token identity, one permit, a required audit file, two wires."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from process import Failed, Server, ask, free_port

CLIENT_TOKEN = "bench-client-0123456789abcdef0123456789abcdef"
POLICY = """
@id("bench")
permit (
  principal in Group::"bench",
  action in [Action::"read", Action::"write", Action::"administer"],
  resource in Folder::"apps"
);
"""


@dataclass
class Product:
    """One running proxy and where its parts are."""

    name: str
    command: list
    port: int
    server: Server
    audit: Path
    api: str
    admin: str

    def call(self, method, path, body=None):
        """A call to its own API, below /v1/."""
        headers = {"Authorization": "Bearer " + CLIENT_TOKEN, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        status, answer = ask("{}/v1/{}".format(self.api, path), method, headers, data)
        if not 200 <= status < 300:
            raise Failed("{}: {} {}: status {}: {}".format(self.name, method, path, status, answer[:300]))
        return json.loads(answer) if answer.strip() else {}

    def start_again(self, lab):
        """Ends it and starts it over the same files; how many milliseconds until it is ready."""
        self.server.stop()
        began = time.monotonic()
        self.server = lab.spawn(self.name, self.command, self.port)
        while True:
            try:
                if ask(self.admin + "/readyz")[0] == 200:
                    return (time.monotonic() - began) * 1000
            except OSError:
                pass
            if self.server.child.poll() is not None or time.monotonic() > began + 60:
                raise Failed("{} does not become ready\n{}".format(self.name, self.server.tail()))
            time.sleep(0.001)


def product(lab, name, more, listener=None, access_key=None):
    """Starts one with further keys at the top level of its configuration, a further listener and an access key."""
    vault, scaivault, admin = free_port(), free_port(), free_port()
    directory = lab.directory / name
    directory.mkdir(mode=0o700)
    audit = directory / "audit.jsonl"
    token = lab.file(name + "-token", CLIENT_TOKEN)
    policy = lab.file(name + ".cedar", POLICY)
    local = "127.0.0.1:{}".format
    client = {"principal": "bench/client", "groups": ["bench"], "folders": ["apps/bench"], "file": str(token)}
    config = {
        "version": 1,
        "audit": {"durability": "write", "sinks": [{"type": "file", "path": str(audit)}]},
        "admin": {"address": local(admin)},
        "listeners": [
            {"wire": "vault", "address": local(vault), "mounts": {"secret": {"kv": 2}},
             "paths": [{"from": "secret/**", "to": "apps/**"}]},
            {"wire": "scaivault", "address": local(scaivault)},
            *([listener] if listener else []),
        ],
        "identity": {"tokens": [client], **({"access_keys": [access_key]} if access_key else {})},
        "policies": [str(policy)],
        **more,
    }
    path = lab.file(name + ".yaml", json.dumps(config, indent=2))
    command = [lab.tools["scaivault-proxy"], "serve", "--config", path]
    server = lab.start(name, command, vault)
    made = Product(name, command, vault, server, audit, "http://" + local(scaivault), "http://" + local(admin))
    server.wait_until("started", lambda: ask(made.admin + "/startupz")[0] == 200)
    return made

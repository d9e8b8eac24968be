"""The rows of the comparison: what is started for each, and the one request it is asked.

Every row serves the same 300-byte secret. Logs of requests are off everywhere, except for the product's audit trail,
which is what it is for. Each row is a process of its own, so that its CPU time and memory are nobody else's.
"""

import json
import random
import string
import time
from dataclasses import dataclass

from aws import start_aws_hit
from copies import ROOT_TOKEN, start_sync_hit, start_sync_miss
from process import Failed, Server, ask, free_port
from product import CLIENT_TOKEN, product

SECRET_BYTES = 300
SETTLE_SECONDS = 1.0
AGENT_TOKEN = "bench-agent"
VAULT_PATH = "/v1/secret/data/bench/db"
REGION = "eu-west-1"


@dataclass
class Row:
    """One measured server. `value` finds the secret in an answer; `spread` are paths asked in turn. With a
    `body` it is a POST. `renew` makes headers that only hold for a while."""

    title: str
    server: Server
    path: str
    headers: dict
    value: object
    rss_idle: float
    audit: object = None
    spread: tuple = ()
    body: str = ""
    renew: object = None

    def check(self, secret):
        """Whether the answer is right now: status and value."""
        if self.renew:
            self.headers = self.renew()
        if self.body:
            status, body = ask(self.server.url + self.path, "POST", self.headers, self.body.encode())
        else:
            status, body = ask(self.server.url + self.path, headers=self.headers)
        if status != 200:
            raise Failed("{}: status {}: {}".format(self.title, status, body[:300].decode(errors="replace")))
        if self.value(json.loads(body)) != secret:
            raise Failed("{}: the answer does not hold the secret".format(self.title))
        return True


class Lab:
    """A directory, the tools, and every server started so far; leaving it ends them all, newest first."""

    def __init__(self, directory, tools, seed):
        self.directory = directory
        self.tools = tools
        self.seed = seed
        self.servers = []
        letters = random.Random(seed).choices(string.ascii_letters + string.digits, k=SECRET_BYTES - len('{"value":""}'))
        self.secret = {"value": "".join(letters)}
        self.bao = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in reversed(self.servers):
            server.stop()

    def start(self, name, command, port, environment=None):
        server = self.spawn(name, command, port, environment)
        server.wait_listening()
        return server

    def spawn(self, name, command, port, environment=None):
        """As `start`, without waiting for anything."""
        server = Server(name, command, port, self.directory, environment)
        self.servers.append(server)
        return server

    def file(self, name, text):
        """A file only we can read."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def row(self, title, server, path, headers, value, prepare=None, audit=None, spread=(), body="", renew=None):
        """Takes the memory at rest, then waits until the server answers rightly."""
        time.sleep(SETTLE_SECONDS)
        row = Row(title, server, spread[0] if spread else path, headers, value, server.rss_mib(), audit, tuple(spread),
                  body, renew)
        if prepare:
            prepare()
        server.wait_until("answering rightly", lambda: row.check(self.secret))
        return row

    def vault_row(self, title, server, token=ROOT_TOKEN, **more):
        headers = {"X-Vault-Token": token}
        return self.row(title, server, VAULT_PATH, headers, lambda body: body["data"]["data"], **more)

    def openbao(self):
        """The one OpenBao behind every proxied row, with the secret in it."""
        if self.bao is None:
            port = free_port()
            self.bao = self.start(
                "openbao",
                [self.tools["bao"], "server", "-dev", "-dev-root-token-id=" + ROOT_TOKEN, "-dev-no-store-token",
                 "-dev-listen-address=127.0.0.1:{}".format(port), "-log-level=error"],
                port, {"HOME": str(self.directory)},
            )
            self.bao.wait_until("active", lambda: ask(self.bao.url + "/v1/sys/health")[0] == 200)
            url, headers = self.bao.url + VAULT_PATH, {"X-Vault-Token": ROOT_TOKEN}
            body = json.dumps({"data": self.secret}).encode()
            self.bao.wait_until("writable", lambda: ask(url, "POST", headers, body)[0] == 200)
        return self.bao


def start_openbao(lab):
    return lab.vault_row("OpenBao itself", lab.openbao())


def start_nginx_proxy(lab):
    port = free_port()
    upstream = lab.openbao().url.removeprefix("http://")
    server = nginx(lab, "nginx-proxy", port, """
  upstream openbao {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://openbao; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}""".format(upstream=upstream, port=port))
    return lab.vault_row("nginx proxy_pass -> OpenBao", server)


def start_nginx_fixed(lab):
    port = free_port()
    metadata = {"created_time": "2026-01-01T00:00:00.000000000Z", "custom_metadata": None, "deletion_time": "",
                "destroyed": False, "version": 1}
    envelope = {"request_id": "00000000-0000-0000-0000-000000000000", "lease_id": "", "renewable": False,
                "lease_duration": 0, "data": {"data": lab.secret, "metadata": metadata}, "wrap_info": None,
                "warnings": None, "auth": None}
    body = json.dumps(envelope, separators=(",", ":"))
    server = nginx(lab, "nginx-fixed", port, """
  server {{
    listen 127.0.0.1:{port};
    location / {{ default_type application/json; return 200 '{body}'; }}
  }}""".format(port=port, body=body))
    return lab.vault_row("nginx fixed reply", server)


def nginx(lab, name, port, servers):
    directory = lab.directory / name
    directory.mkdir()
    temporary = "\n".join(
        "  {}_temp_path {};".format(kind, directory / kind) for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = lab.file(name + ".conf", """
worker_processes auto;
daemon off;
pid {directory}/pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 100000000;
{temporary}{servers}
}}
""".format(directory=directory, temporary=temporary, servers=servers))
    return lab.start(name, [lab.tools["nginx"], "-c", config, "-e", directory / "error.log", "-p", directory], port)


def start_bao_proxy(lab):
    port = free_port()
    config = lab.file("bao-proxy.hcl", """
vault {{ address = "{}" }}
listener "tcp" {{
  address = "127.0.0.1:{}"
  tls_disable = true
}}
""".format(lab.openbao().url, port))
    command = [lab.tools["bao"], "proxy", "-config=" + str(config), "-log-level=error"]
    return lab.vault_row("bao proxy -> OpenBao", lab.start("bao-proxy", command, port, {"HOME": str(lab.directory)}))


def start_pingora(lab):
    port = free_port()
    upstream = lab.openbao().url.removeprefix("http://")
    server = lab.start("pingora", [lab.tools["pingora"], "127.0.0.1:{}".format(port), upstream], port)
    return lab.vault_row("pingora ProxyHttp -> OpenBao", server)


def start_agent(lab):
    moto_port, port = free_port(), free_port()
    moto = lab.start("moto", [lab.tools["moto_server"], "-H", "127.0.0.1", "-p", moto_port], moto_port)
    headers = {"X-Amz-Target": "secretsmanager.CreateSecret", "Content-Type": "application/x-amz-json-1.1",
               "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/{}/secretsmanager/aws4_request, "
                                "SignedHeaders=host, Signature=0".format(REGION)}
    body = json.dumps({"Name": "bench-db", "SecretString": json.dumps(lab.secret, separators=(",", ":")),
                       "ClientRequestToken": "00000000-0000-4000-8000-000000000000"}).encode()
    status, answer = ask(moto.url + "/", "POST", headers, body)
    if status != 200:
        raise Failed("moto does not take the secret: status {}: {}".format(status, answer[:300]))
    config = lab.file("agent.toml", 'http_port = {}\nregion = "{}"\nttl_seconds = 3600\n'.format(port, REGION))
    environment = {"AWS_TOKEN": AGENT_TOKEN, "AWS_ENDPOINT_URL": moto.url, "AWS_ACCESS_KEY_ID": "bench",
                   "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
    server = lab.start("agent", [lab.tools["agent"], "--config", config], port, environment)
    headers = {"X-Aws-Parameters-Secrets-Token": AGENT_TOKEN}
    path = "/secretsmanager/get?secretId=bench-db"
    return lab.row("AWS Secrets Manager Agent, cached", server, path, headers, lambda body: json.loads(body["SecretString"]))


def start_proxied(lab):
    backend = {
        "name": "openbao", "type": "hashicorp-vault", "mode": "proxy",
        "config": {"endpoint": lab.openbao().url, "auth_method": "token", "auth_config_path": "infra/openbao"},
        "path_mapping": [{"from": "apps/**", "to": "secret/data/**"}],
    }
    token = lab.file("openbao-token.json", json.dumps({"token": ROOT_TOKEN}))
    made = product(lab, "proxied", {"backends": [backend], "secrets": {"infra/openbao": {"file": str(token)}}})
    return lab.vault_row("scaivault-proxy -> OpenBao", made.server, token=CLIENT_TOKEN, audit=made.audit)


def start_local(lab):
    made = product(lab, "local", {"store": {"local": ["apps"]}})

    def put():
        made.call("PUT", "secrets/apps/bench/db", {"data": lab.secret, "secret_type": "json"})

    return lab.vault_row("scaivault-proxy, local store", made.server, token=CLIENT_TOKEN, prepare=put, audit=made.audit)


# Name on the command line: the tools it needs, and what starts it. In the order of the table.
ROWS = {
    "openbao": ({"bao"}, start_openbao),
    "nginx-proxy": ({"bao", "nginx"}, start_nginx_proxy),
    "pingora": ({"bao", "pingora"}, start_pingora),
    "bao-proxy": ({"bao"}, start_bao_proxy),
    "proxied": ({"bao", "scaivault-proxy"}, start_proxied),
    "nginx-fixed": ({"nginx"}, start_nginx_fixed),
    "agent": ({"agent", "moto_server"}, start_agent),
    "local": ({"scaivault-proxy"}, start_local),
    "sync-hit": ({"bao", "scaivault-proxy"}, start_sync_hit),
    "sync-miss": ({"bao", "scaivault-proxy"}, start_sync_miss),
    "aws-hit": ({"bao", "scaivault-proxy"}, start_aws_hit),
}

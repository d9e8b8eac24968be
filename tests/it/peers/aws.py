"""One stand-in for AWS that lives as long as its starter does: moto, or ministack with every signature verified.

    python aws.py --kind moto|ministack [--log FILE] [--fill REGION=COUNT]... [--account ID]     (the interpreter of `install.py`)

moto knows what the service means and looks at no credential. ministack verifies signatures, session tokens and IAM policies,
and is rougher about the rest. WIRES.md lists what is wrong with either.

Regions are apart from each other, so a test that lists takes a region of its own. `us-east-1` holds what `aws_seed.py` puts
there for the sessions; `--fill` (moto only) puts secrets `bulk/0/app-0`, `bulk/1/app-1`, … into another region. `--account`
(ministack only) is whose account it is.

The first line on stdout is JSON: `addr`, `pid`, `kind`, `account`, `root`, `backend` and `app` (credentials as the proxy takes
them; moto takes any), `role_arn` (a role that `backend` may assume and that may read `prod/` only), `external_id` (which that one
asks for), `plain_role_arn` (one that asks for none, and may do what the federation chapter says is enough) and `plan`.
The server is killed when stdin closes, so also when the test process that holds the other end dies. Nothing of the caller's
environment reaches it: neither credentials nor endpoints nor certificates, and nothing is written to the home directory.
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True  # nothing beside the sources

PR_SET_PDEATHSIG = 1
START_SECONDS = 60
START_ATTEMPTS = 3
ACCOUNTS = {"moto": "123456789012", "ministack": "000000000000"}
FOLDERS = 20


def main():
    arguments = argparse.ArgumentParser(description="Start and seed a stand-in for AWS.")
    arguments.add_argument("--kind", choices=sorted(ACCOUNTS), required=True)
    arguments.add_argument("--log", metavar="FILE", default=os.devnull)
    arguments.add_argument("--fill", action="append", default=[], metavar="REGION=COUNT")
    arguments.add_argument("--account", metavar="ID")
    arguments.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.fill and options.kind != "moto":
        arguments.error("--fill needs --kind moto")
    if options.account and options.kind != "ministack":
        arguments.error("--account needs --kind ministack")
    options.account = options.account or ACCOUNTS[options.kind]
    if options.serve:
        return serve_moto(options.serve, options.fill)
    # A test that is cancelled sends TERM: leave through `finally`, or the server would outlive us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    home = tempfile.mkdtemp(prefix="aws-peer-")
    try:
        server, address = launch(options, home)
        try:
            print(json.dumps(dict(seeded(options.kind, address, options.account), pid=server.pid)), flush=True)
            while sys.stdin.buffer.read(4096):
                pass
        finally:
            end(server)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0


def serve_moto(port, fill):
    """Is the server: moto with these regions filled, in this process."""
    from moto.server import main as moto
    if fill:
        from moto.secretsmanager.models import secretsmanager_backends
        for word in fill:
            region, count = word.split("=")
            store = secretsmanager_backends[ACCOUNTS["moto"]][region]
            for at in range(int(count)):
                store.create_secret(
                    name="bulk/{}/app-{}".format(at % FOLDERS, at), secret_string=json.dumps({"name": "app-{}".format(at)}),
                    secret_binary=None, description=None, tags=[], kms_key_id=None, client_request_token=None,
                    replica_regions=[], force_overwrite=False,
                )
    moto(["-H", "127.0.0.1", "-p", str(port)])


def launch(options, home):
    """Starts a server, on another port if somebody took the first one meanwhile."""
    for _ in range(START_ATTEMPTS):
        port = free_port()
        address = "http://127.0.0.1:{}".format(port)
        server = start(options, port, home)
        try:
            if wait_until_it_answers(address, server):
                return server, address
        except BaseException:
            end(server)
            raise
        end(server)
    raise OSError("no server answered in {} attempts, see its log in {} (--log)".format(START_ATTEMPTS, options.log))


def start(options, port, home):
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8",
                   "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    if options.kind == "moto":
        command = [sys.executable, os.path.abspath(__file__), "--kind", "moto", "--serve", str(port)]
        command += [word for fill in options.fill for word in ("--fill", fill)]
        environment.update(AWS_ACCESS_KEY_ID="nobody", AWS_SECRET_ACCESS_KEY="nobody", AWS_EC2_METADATA_DISABLED="true")
    else:
        command = [os.path.join(os.path.dirname(sys.executable), "ministack")]
        # without BIND_HOST it listens on every interface
        environment.update(BIND_HOST="127.0.0.1", GATEWAY_PORT=str(port), SERVICES="secretsmanager,sts,iam", AUTH="true",
                           PERSIST_STATE="0", STATE_DIR=home, MINISTACK_ACCOUNT_ID=options.account,
                           # these would listen too, on every interface
                           IOT_MTLS_ENABLED="false", SFTP_ENABLED="false")
    with open(options.log, "ab") as output:
        return subprocess.Popen(
            command, env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_with_parent,
        )


def die_with_parent():
    """Linux: the server also goes when this script is killed outright. Elsewhere the script must end by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end(server):
    server.kill()
    server.wait()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_until_it_answers(address, server):
    """False when the server ended (somebody took its port) or did not answer in time."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            opener.open(address + "/", timeout=2).close()
            return server.poll() is None
        except urllib.error.HTTPError:
            return server.poll() is None
        except OSError:
            time.sleep(0.05)
    return False


def seeded(kind, address, account):
    """What the test process is told."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
            del os.environ[name]
    os.environ.update(AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull,
                      NO_PROXY="127.0.0.1")
    import aws_seed
    return dict(aws_seed.fill(kind, address, account), addr=address, kind=kind, account=account)


if __name__ == "__main__":
    sys.exit(main())

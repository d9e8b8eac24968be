"""One seeded OpenBao development server that lives as long as its starter does.

    python3 openbao.py --bao PATH        starts a server on a free loopback port, seeds it, ends it with stdin
    python3 openbao.py --addr URL        starts nothing: only seeds the server that is there
    python3 openbao.py --bao PATH --data DIR --port P --cluster-port C
                                         starts a server that keeps what it is told in DIR, and seeds nothing: killed and
                                         started again over the same directory and ports, it is the same server

The first line on stdout is JSON: what `seed.py` answers, with `addr`, `root_token` and `pid` (null with `--addr`). The
server is killed when stdin closes, so also when the test process that holds the other end dies. Its log goes to the
file of `--log`, else nowhere. Nothing is written to the home directory.
"""

import argparse
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

sys.dont_write_bytecode = True  # nothing beside the sources
import seed  # noqa: E402

PR_SET_PDEATHSIG = 1
START_SECONDS = 30
START_ATTEMPTS = 3

KEPT = """
storage "raft" {{
  path = "{data}"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
unsafe_allow_api_audit_creation = true
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
"""


def main():
    arguments = argparse.ArgumentParser(description="Start and seed an OpenBao development server.")
    which = arguments.add_mutually_exclusive_group(required=True)
    which.add_argument("--bao", metavar="PATH", help="the OpenBao binary to start")
    which.add_argument("--addr", metavar="URL", help="a running server to seed")
    arguments.add_argument("--root-token", default="root", metavar="TOKEN")
    arguments.add_argument("--port", type=int, default=0, help="default: a free one")
    arguments.add_argument("--log", metavar="FILE", default=os.devnull)
    arguments.add_argument("--data", metavar="DIR", help="where a server keeps what it is told; needs both ports")
    arguments.add_argument("--cluster-port", type=int, default=0)
    options = arguments.parse_args()
    if options.data and not (options.bao and options.port and options.cluster_port):
        arguments.error("--data needs --bao, --port and --cluster-port")
    # A test that is cancelled sends TERM: leave through `finally`, or the server would outlive us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    server = None
    try:
        if options.data:
            server, answer = launch_kept(options)
        else:
            server, address = launch(options) if options.bao else (None, options.addr)
            answer = {"addr": address, "root_token": options.root_token, **seed.seed(address, options.root_token)}
        print(json.dumps({**answer, "pid": server.pid if server else None}), flush=True)
        if server:
            sys.stdin.buffer.read()
        return 0
    except (seed.Refused, OSError) as error:
        print("openbao: {}".format(error), file=sys.stderr)
        return 1
    finally:
        if server:
            end(server)


def launch(options):
    """Starts a server, on another port if somebody took the first one meanwhile."""
    for _ in range(START_ATTEMPTS):
        port = options.port or free_port()
        address = "http://127.0.0.1:{}".format(port)
        server = start(options.bao, port, options.root_token, options.log)
        try:
            if wait_until_active(address, server):
                return server, address
        except BaseException:
            end(server)
            raise
        end(server)
    raise OSError("no server became active in {} attempts, see its log in {} (--log)".format(START_ATTEMPTS, options.log))


def launch_kept(options):
    """Starts a server over the files in a directory, which are made with the first start."""
    os.makedirs(options.data, mode=0o700, exist_ok=True)
    address = "http://127.0.0.1:{}".format(options.port)
    config = os.path.join(options.data, "server.hcl")
    with open(config, "w") as file:
        file.write(KEPT.format(data=options.data, port=options.port, cluster_port=options.cluster_port))
    server = spawn([options.bao, "server", "-config=" + config], options.log)
    try:
        keys = unlock(address, server, os.path.join(options.data, "keys.json"))
        if not wait_until_active(address, server):
            raise OSError("the server did not become active, see its log in {} (--log)".format(options.log))
        return server, {"addr": address, "root_token": keys["root_token"]}
    except BaseException:
        end(server)
        raise


def unlock(address, server, kept):
    """Unseals the server, which is initialised first if its keys are not in the file yet."""
    anybody = seed.Server(address, "")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            is_new = not anybody.call("GET", "sys/init")["initialized"]
            break
        except (seed.Refused, OSError):
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    if is_new:
        keys = anybody.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        with open(kept, "w") as file:
            json.dump(keys, file)
    with open(kept) as file:
        keys = json.load(file)
    anybody.call("PUT", "sys/unseal", {"key": keys["keys"][0]})
    return keys


def end(server):
    server.kill()
    server.wait()


def free_port():
    """A port that was free a moment ago, and the one after it too: that is where OpenBao's cluster listener goes."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def start(bao, port, root_token, log):
    return spawn(
        [bao, "server", "-dev", "-dev-root-token-id=" + root_token, "-dev-no-store-token",
         "-dev-listen-address=127.0.0.1:{}".format(port)],
        log,
    )


def spawn(command, log):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "BAO_"))}
    with open(log, "ab") as output:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_with_parent,
        )


def die_with_parent():
    """Linux: the server also goes when this script is killed outright. Elsewhere the script must end by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until_active(address, server):
    """False when the server ended (somebody took its port) or was not active in time."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(address + "/v1/sys/health", timeout=2) as answer:
                if answer.status == 200 and server.poll() is None:
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main())

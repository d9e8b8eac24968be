"""Child processes: started with a clean environment, watched, measured from outside and always ended.

CPU time and memory are those of the whole process tree, all threads included, as the kernel counts them.
"""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 30
STOP_SECONDS = 5
PR_SET_PDEATHSIG = 1
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
# What would send a peer elsewhere than to the address it is given.
FOREIGN = ("VAULT_", "BAO_", "AWS_")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failed(Exception):
    """What went wrong, in words for the person at the terminal."""


class Server:
    """One running peer. `url` is where it listens."""

    def __init__(self, name, command, port, directory, environment=None):
        self.name = name
        self.url = "http://127.0.0.1:{}".format(port)
        self.log = Path(directory) / (name + ".log")
        with open(self.log, "wb") as output:
            self.child = subprocess.Popen(
                [str(word) for word in command], cwd=directory, env=clean(environment), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, preexec_fn=die_with_parent,
            )

    def wait_until(self, what, holds):
        """Polls until `holds()` is true. Its last OSError is part of the message when the time is up."""
        deadline = time.monotonic() + START_SECONDS
        last = None
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise Failed("{} ended with code {}\n{}".format(self.name, self.child.returncode, self.tail()))
            try:
                if holds():
                    return
            except (OSError, Failed) as error:
                last = error
            time.sleep(0.05)
        raise Failed("{}: not {} within {} s ({})\n{}".format(self.name, what, START_SECONDS, last, self.tail()))

    def wait_listening(self):
        port = int(self.url.rsplit(":", 1)[1])
        self.wait_until("listening", lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close() is None)

    def tail(self):
        """The end of its log, for messages."""
        return self.log.read_bytes()[-2000:].decode(errors="replace")

    def stop(self):
        """Ends it, politely first."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()

    def cpu_us(self):
        """CPU time used since its start, in microseconds."""
        return sum(ticks(pid) for pid in tree(self.child.pid)) * TICK_US

    def rss_mib(self):
        """Resident memory now."""
        return sum(rss_kib(pid) for pid in tree(self.child.pid)) / 1024


def clean(extra):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FOREIGN) and not name.lower().endswith("_proxy")
    }
    return {**kept, **(extra or {})}


def die_with_parent():
    """Linux: the peer also goes when this program is killed outright. A killed nginx leaves its workers behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def tree(root):
    """A process and everything below it."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def stat(pid):
    """The fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        text = Path("/proc/{}/stat".format(pid)).read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def ticks(pid):
    fields = stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def own_cpu_us():
    """CPU time of this program and everything it started, also what has ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(ticks(pid) for pid in tree(os.getpid())) * TICK_US + (ended.ru_utime + ended.ru_stime) * 1_000_000


def machine_cpu_us():
    """CPU time of all programs of the machine. Interrupts are nobody's and not in it."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) * TICK_US


def rss_kib(pid):
    """From smaps_rollup, which is exact; from statm where the process does not let itself be looked into."""
    try:
        for line in Path("/proc/{}/smaps_rollup".format(pid)).read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1])
    except OSError:
        pass
    try:
        return int(Path("/proc/{}/statm".format(pid)).read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except OSError:
        return 0


def free_port():
    """A loopback port that was free a moment ago, and the one after it too: OpenBao takes both."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def ask(url, method="GET", headers=None, body=None):
    """Status and body of one request; a refused connection is an OSError."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with DIRECT.open(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def run(command, what, directory, seconds=3600):
    """Runs a command to its end with its output on our stderr."""
    print("compare: {}: {}".format(what, " ".join(str(word) for word in command)), file=sys.stderr, flush=True)
    try:
        done = subprocess.run([str(word) for word in command], cwd=directory, stdout=sys.stderr, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed("{}: {}".format(what, error)) from error
    if done.returncode != 0:
        raise Failed("{} failed (exit {})".format(what, done.returncode))

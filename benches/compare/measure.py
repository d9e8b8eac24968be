"""Load on one row at a time, and what it cost.

Client and server share the machine, so throughput is that of both together; CPU per request is the server's alone,
from its process tree before and after. A run with a single failed request is no measurement, and one during which
other programs were busy is a poor one: their share of the machine is kept with the figures.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from statistics import median

from process import Failed, machine_cpu_us, own_cpu_us

CONNECTIONS = 32
CLIENT_THREADS = 2
WARM_SECONDS = 1
SCRIPT = Path(__file__).resolve().parent / "load.lua"
METRICS = ("requests_per_second", "p50_us", "p99_us", "cpu_us")


def load(wrk, row, seconds):
    """One run of wrk against a row: what load.lua prints."""
    command = [
        str(wrk), "--threads", str(CLIENT_THREADS), "--connections", str(CONNECTIONS), "--duration", "{}s".format(seconds),
        "--timeout", "5s", "--script", str(SCRIPT), row.server.url + row.path, "--",
        *("{}: {}".format(name, value) for name, value in row.headers.items()), *row.spread,
        *(["POST " + row.body] if row.body else []),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed("{}: wrk did not end".format(row.title)) from error
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode != 0 or not lines:
        raise Failed("{}: wrk: {}".format(row.title, (done.stderr or done.stdout)[-500:]))
    result = json.loads(lines[-1].removeprefix("RESULT "))
    if result["failed"] or not result["requests"]:
        raise Failed("{}: {failed} of {requests} requests failed\n{}".format(row.title, row.server.tail(), **result))
    return result


def measure(wrk, row, seconds, secret):
    """One round of one row. The answer is checked before and after, and never during."""
    row.check(secret)
    warm = load(wrk, row, WARM_SECONDS)["requests"]
    before = counters(row)
    result = load(wrk, row, seconds)
    used, own, machine, wall = (after - earlier for earlier, after in zip(before, counters(row)))
    row.check(secret)
    requests = result["requests"]
    return {
        "requests": requests,
        "requests_in_all": requests + warm + 2,
        "requests_per_second": requests / (result["duration_us"] / 1_000_000),
        "p50_us": result["p50_us"],
        "p99_us": result["p99_us"],
        "cpu_us": used / requests,
        "rss_loaded_mib": row.server.rss_mib(),
        "others_share": max(0.0, (machine - own) / (wall * os.cpu_count())),
    }


def counters(row):
    """What is read before and after a run, all in microseconds: CPU of the row, of us all, of the machine; the time."""
    return row.server.cpu_us(), own_cpu_us(), machine_cpu_us(), time.monotonic() * 1_000_000


def summary(row, rounds):
    """The medians of a row's rounds; memory under load is the most that was seen."""
    return {
        "title": row.title,
        **{metric: median(one[metric] for one in rounds) for metric in METRICS},
        "rss_idle_mib": row.rss_idle,
        "rss_loaded_mib": max(one["rss_loaded_mib"] for one in rounds),
        "rounds": rounds,
    }


def check_audit(row, rounds):
    """A row that keeps a trail must have a line for every request it was asked."""
    if row.audit is None:
        return None
    with open(row.audit, "rb") as trail:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: trail.read(1 << 20), b""))
    asked = sum(one["requests_in_all"] for one in rounds)
    if lines < asked:
        raise Failed("{}: {} audit lines for {} requests: the audit was not on".format(row.title, lines, asked))
    return lines

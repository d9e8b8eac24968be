"""What copying costs: how fast a run asks, what many copies weigh, how soon a proxy with them is ready.

    python3 benches/compare/sync.py [--secrets 10000,100000] [--rounds 3] [--seed 1] [--gate] [--build]

Prints tables and writes sync.json beside this file. For every number of secrets an OpenBao is filled, then, round by
round, a fresh proxy makes its first run (16 calls at once) between two turns of a bare client (wrk, 16 connections, the
same lists, metadata and values), and a second run between two turns for metadata only, which is all such a run asks for.
The ratio of their calls per second is the median over the rounds. The proxy of the last round is weighed and started.
The gates are about 10,000 secrets; without that number they were not measured.

`--build` and the exit codes as in run.py. 100,000 secrets take about ten minutes. Only the standard library is used.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.dont_write_bytecode = True  # nothing beside the sources
from copies import ROOT_TOKEN, copied, copier, fill, name_of, run  # noqa: E402
from measure import SCRIPT  # noqa: E402
from peers import SECRET_BYTES, SETTLE_SECONDS, Lab  # noqa: E402
from process import Failed, machine_cpu_us, own_cpu_us  # noqa: E402
from product import CLIENT_TOKEN  # noqa: E402
from report import QUIET_SHARE, gate_lines, is_green, layout, verdict  # noqa: E402
from run import bounded, git, machine, say  # noqa: E402
from tools import HERE, build, locate  # noqa: E402

RESULT = HERE / "sync.json"
BARE = HERE / "bare.lua"
AT_ONCE = 16
GATED = 10_000
STARTS = 7
WANTED = {"wrk", "bao", "scaivault-proxy"}


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        if not sys.platform.startswith("linux"):
            raise Failed("CPU time and memory are read from /proc: this runs on Linux only")
        if options.build:
            build(WANTED)
        tools = locate(WANTED)
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        figures = []
        for secrets in options.secrets:
            with tempfile.TemporaryDirectory(prefix="scaivault-bench-") as directory:
                with Lab(Path(directory), tools, options.seed) as lab:
                    figures.append(measure(lab, secrets, options.rounds))
    except Failed as failure:
        print("sync: {}".format(failure), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 2
    found = gates(next((one for one in figures if one["secrets"] == GATED), None))
    RESULT.write_text(json.dumps({
        "commit": git("rev-parse", "HEAD"), "uncommitted_changes": bool(git("status", "--porcelain")),
        "started": started, "machine": machine(), "seed": options.seed, "rounds": options.rounds,
        "load": {"at_once": AT_ONCE, "secret_bytes": SECRET_BYTES}, "figures": figures, "gates": found,
    }, indent=2) + "\n")
    print("\n" + table(figures) + "\n\n" + gate_lines(found) + "\n" + warning(figures), end="")
    return 1 if options.gate and not is_green(found) else 0


def arguments():
    parser = argparse.ArgumentParser(description="Measure what copying costs.")
    parser.add_argument("--secrets", type=numbers, default=[GATED, 100_000], help="how many, in turn (10000,100000)")
    parser.add_argument("--rounds", type=bounded(1, 9), default=3, help="the rate is the median of their ratios (3)")
    parser.add_argument("--seed", type=int, default=1, help="of the secret (1)")
    parser.add_argument("--gate", action="store_true", help="exit with 1 unless every gate is green")
    parser.add_argument("--build", action="store_true", help="build and install what is needed first")
    return parser.parse_args()


def numbers(text):
    return [bounded(100, 1_000_000)(number) for number in text.split(",")]


def measure(lab, secrets, rounds):
    """Everything about one number of secrets."""
    say("filling OpenBao with {:,} secrets".format(secrets))
    fill(lab, "many", secrets)
    done, made = [], None
    for number in range(1, rounds + 1):
        if made:
            made.server.stop()
        made = copier(lab, "copies-{}".format(number), "many")
        one = {"idle_mib": at_rest(made)}
        for which, wanted, order in (("first", "all", copied), ("second", "metadata", second_run)):
            one[which] = between(lab, secrets, wanted, lambda: order(made, secrets))
            say("round {} of {}: {} run {calls_per_second:,.0f} calls/s, bare {bare:,.0f}: {ratio:.2f}x, others "
                "{others_share:.0%}".format(number, rounds, which, **one[which]))
        done.append({**one, "after_runs_mib": at_rest(made)})
    starts = [made.start_again(lab) for _ in range(STARTS)]
    started = at_rest(made)
    read_all(lab, made, secrets)
    return {
        "secrets": secrets, "rounds": done, "ready_ms": median(starts), "starts_ms": starts,
        "store_mib": (lab.directory / made.name / "store" / "store.redb").stat().st_size / (1 << 20),
        "idle_mib": max(one["idle_mib"] for one in done), "after_runs_mib": max(one["after_runs_mib"] for one in done),
        "started_mib": started, "all_read_mib": at_rest(made),
    }


def between(lab, secrets, wanted, order):
    """A run, and the bare client before and after it: whatever else slows the machine slows both."""
    started = own_cpu_us(), machine_cpu_us(), time.monotonic() * 1_000_000
    before = ask_as_fast_as_possible(lab, secrets, wanted)
    report = order()
    after = ask_as_fast_as_possible(lab, secrets, wanted)
    own, all_of_it, wall = (now - then for then, now in zip(
        started, (own_cpu_us(), machine_cpu_us(), time.monotonic() * 1_000_000)))
    rate, bare = report["calls"] / (report["duration_ms"] / 1000), (before + after) / 2
    return {"calls": report["calls"], "duration_ms": report["duration_ms"], "calls_per_second": rate,
            "bare_before": before, "bare_after": after, "bare": bare, "ratio": rate / bare,
            "values_read": report["read"], "others_share": max(0.0, (all_of_it - own) / (wall * os.cpu_count()))}


def second_run(made, secrets):
    """A run over what has not changed."""
    before = {one["id"] for one in runs(made)}
    run(made)
    report = next(one for one in runs(made) if one["id"] not in before)
    if report["read"] or report["unchanged"] != secrets:
        raise Failed("{}: the second run read {} values".format(made.name, report["read"]))
    return report


def runs(made):
    backend = made.call("GET", "federation/backends")["backends"][0]["id"]
    return made.call("GET", "federation/backends/{}/syncs".format(backend))["syncs"]


def at_rest(made):
    time.sleep(SETTLE_SECONDS)
    return made.server.rss_mib()


def ask_as_fast_as_possible(lab, secrets, wanted):
    """Calls per second of the bare client, over about as many calls as a run makes."""
    seconds = min(20, max(2, secrets // 5000))
    words = wrk(lab, BARE, AT_ONCE, 1, seconds, lab.openbao().url, [ROOT_TOKEN, "many", secrets, wanted])
    return words["requests"] / (words["duration_us"] / 1_000_000)


def read_all(lab, made, secrets):
    """Reads every copy over the vault wire, several times over."""
    for begin in range(0, secrets, 10_000):
        names = [name_of(number) for number in range(begin, min(begin + 10_000, secrets))]
        paths = ["/v1/secret/data/many/" + name for name in names]
        wrk(lab, SCRIPT, AT_ONCE, 1, 3, made.server.url, ["X-Vault-Token: " + CLIENT_TOKEN, *paths])


def wrk(lab, script, connections, threads, seconds, url, further):
    command = [lab.tools["wrk"], "--threads", threads, "--connections", connections,
               "--duration", "{}s".format(seconds), "--timeout", "5s", "--script", script, url + "/", "--", *further]
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode != 0 or not lines:
        raise Failed("wrk: {}".format((done.stderr or done.stdout)[-500:]))
    words = json.loads(lines[-1].removeprefix("RESULT "))
    if words["failed"] or not words["requests"]:
        raise Failed("wrk: {failed} of {requests} requests failed".format(**words))
    return words


def ratio(figure, which):
    return median(one[which]["ratio"] for one in figure["rounds"])


def gates(figure):
    """PRODUCT section 10: the verdicts about one number of secrets."""
    rows = [
        ("sync, calls/s against a bare client", figure and ratio(figure, "first"), "x", 0.8, 0.95, True),
        ("ready with 10,000 sealed secrets", figure and figure["ready_ms"], " ms", 200, 100, False),
        ("RSS with 10,000, after runs", figure and figure["after_runs_mib"], " MiB", 45, 30, False),
        ("RSS with 10,000, all read", figure and figure["all_read_mib"], " MiB", 45, 30, False),
    ]
    found = []
    for what, value, unit, gate, goal, at_least in rows:
        met = [None if value is None else value >= limit if at_least else value <= limit for limit in (gate, goal)]
        words = ["{} {}{}".format(">=" if at_least else "<=", limit, unit) for limit in (gate, goal)]
        found.append(verdict(what, value, unit, words, met))
    return found


def table(figures):
    head = ["copies", "first run calls/s", "bare", "ratio", "second run calls/s", "bare", "ratio", "ready ms", "store MiB",
            "RSS idle", "after runs", "started", "all read"]
    cells = [head]
    for figure in figures:
        row = ["{:,}".format(figure["secrets"])]
        for which in ("first", "second"):
            for name in ("calls_per_second", "bare"):
                row.append("{:,.0f}".format(median(one[which][name] for one in figure["rounds"])))
            row.append("{:.2f}x".format(ratio(figure, which)))
        row += ["{:.0f}".format(figure["ready_ms"]), "{:.1f}".format(figure["store_mib"])]
        row += ["{:.1f}".format(figure[name]) for name in ("idle_mib", "after_runs_mib", "started_mib", "all_read_mib")]
        cells.append(row)
    return "\n".join(layout(cells))


def warning(figures):
    """What the reader must know of the machine; empty when it was ours."""
    shares = [one[which]["others_share"] for figure in figures for one in figure["rounds"] for which in ("first", "second")]
    if max(shares) <= QUIET_SHARE:
        return ""
    return "note: other programs took up to {:.0%} of the machine; measure again when it is quiet\n".format(max(shares))


if __name__ == "__main__":
    sys.exit(main())

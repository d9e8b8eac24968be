"""What this proxy costs beside others, measured in one run on one machine.

    python3 benches/compare/run.py [--seconds 10] [--rounds 3] [--seed 1] [--only ROW,ROW] [--gate] [--build]

Prints a table and writes result.json beside this file. `--build` first builds the product, pingora's bare proxy and
the AWS agent and installs OpenBao and moto into target/peers, one command after the other; without it nothing is
built. wrk and nginx come from the system's packages. Everything else is started here, on free loopback ports, and
ended here. Exit code: 0; 1 with `--gate` when a gate of PRODUCT section 10 is red or was not measured; 2 when the
measurement itself failed.

Only the standard library is used.
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # nothing beside the sources
import report  # noqa: E402
from measure import CLIENT_THREADS, CONNECTIONS, check_audit, measure, summary  # noqa: E402
from peers import ROWS, SECRET_BYTES, Lab  # noqa: E402
from process import Failed  # noqa: E402
from tools import HERE, ROOT, build, locate  # noqa: E402

RESULT = HERE / "result.json"


def main():
    options = arguments()
    # A run that is told to end leaves through the `finally`s, which end the peers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        if not sys.platform.startswith("linux"):
            raise Failed("CPU time and memory are read from /proc: this runs on Linux only")
        wanted = {"wrk"}.union(*(ROWS[name][0] for name in options.only))
        if options.build:
            build(wanted)
        tools = locate(wanted)
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with tempfile.TemporaryDirectory(prefix="scaivault-bench-") as directory:
            rows = compare(Path(directory), tools, options)
    except Failed as failure:
        print("compare: {}".format(failure), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 2
    found = report.gates(rows)
    write(rows, found, started, options)
    print("\n" + report.table(rows))
    print(report.gate_lines(found) + "\n" + report.warning(rows), end="")
    return 1 if options.gate and not report.is_green(found) else 0


def arguments():
    parser = argparse.ArgumentParser(description="Measure this proxy beside others.")
    parser.add_argument("--seconds", type=bounded(1, 120), default=10, help="of load in each round of each row (10)")
    parser.add_argument("--rounds", type=bounded(1, 9), default=3, help="interleaved; the figures are medians (3)")
    parser.add_argument("--seed", type=int, default=1, help="of the secret and of the order within rounds (1)")
    parser.add_argument("--only", type=row_names, default=list(ROWS), metavar="ROW,ROW", help="of: " + ", ".join(ROWS))
    parser.add_argument("--gate", action="store_true", help="exit with 1 unless every gate is green")
    parser.add_argument("--build", action="store_true", help="build and install what the rows need first")
    return parser.parse_args()


def bounded(low, high):
    def parse(text):
        number = int(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError("must be {} to {}".format(low, high))
        return number

    return parse


def row_names(text):
    names = text.split(",")
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise argparse.ArgumentTypeError("no such row: {}; there are {}".format(", ".join(unknown), ", ".join(ROWS)))
    return names


def compare(directory, tools, options):
    """Starts every row, measures them round by round in changing order, and ends them."""
    order = random.Random(options.seed)
    rounds = {name: [] for name in ROWS if name in options.only}
    with Lab(directory, tools, options.seed) as lab:
        rows = {}
        for name in rounds:
            say("starting " + name)
            rows[name] = ROWS[name][1](lab)
        for number in range(1, options.rounds + 1):
            names = list(rounds)
            order.shuffle(names)
            for name in names:
                one = measure(tools["wrk"], rows[name], options.seconds, lab.secret)
                rounds[name].append(one)
                say("round {} of {}: {:<12} {:>9,.0f} req/s {:>7.1f} us CPU, others {:.0%}".format(
                    number, options.rounds, name, one["requests_per_second"], one["cpu_us"], one["others_share"]))
    for name, row in rows.items():
        check_audit(row, rounds[name])
    return {name: summary(rows[name], rounds[name]) for name in rounds}


def write(rows, found, started, options):
    """One file with everything a figure depends on; never edited by hand."""
    result = {
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain")),
        "started": started,
        "machine": machine(),
        "seed": options.seed,
        "duration": {"seconds": options.seconds, "rounds": options.rounds},
        "load": {"connections": CONNECTIONS, "client_threads": CLIENT_THREADS, "secret_bytes": SECRET_BYTES},
        "rows": rows,
        "gates": found,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


def git(*words):
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def machine():
    """What it ran on, without the machine's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
    }


def say(words):
    print("compare: " + words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

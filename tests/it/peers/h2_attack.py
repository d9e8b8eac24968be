"""Tries what HTTP/2 lets a hostile client do (THREATS group T), and what becomes of an ordinary client meanwhile.

    python3 h2_attack.py --clear HOST:PORT --plain HOST:PORT --tls HOST:PORT --token T --path /v1/... \
        --streams N --list-bytes N --requests N --deadline SECONDS

`--clear` speaks HTTP/2 without TLS, `--plain` must not, `--tls` offers it by ALPN. The numbers are the caps the server is
set up with. Each row is one line of JSON on stdout: `id note ok detail`. The exit code is 0 once every row was tried,
however it went: judging is the caller's business. Frames are made by hand, since a library would refuse to send them.
"""

import argparse
import json
import socket
import struct
import sys
import time

sys.dont_write_bytecode = True  # nothing beside the sources
from h2_frames import (  # noqa: E402
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PATIENCE, PING, PREFACE, PRIORITY, RST, SETTINGS, WINDOW, Connection, frame,
    integer, integer_rest, is_refusal,
)


class Attack:
    def __init__(self, options):
        self.o = options

    def row(self, id, note, ok, detail=""):
        print(json.dumps({"id": id, "note": note, "ok": bool(ok), "detail": str(detail)}), flush=True)

    def connect(self, settings=b"", **more):
        return Connection(self.o.clear, settings, **more)

    def good(self, address=None, tls=False):
        """An ordinary client, on a connection of its own: its status and how long it took."""
        begun = time.monotonic()
        try:
            connection = Connection(address or self.o.clear, tls=tls)
            stream = connection.get(self.o.path, self.o.token)
            outcome = connection.settle(stream)
            connection.close()
        except OSError as error:
            outcome = error
        return outcome, time.monotonic() - begun

    def check_good(self, id, note):
        outcome, took = self.good()
        self.row(id, "an ordinary client beside " + note, outcome == 200 and took < 5, "{} in {:.2f} s".format(outcome, took))

    def ended(self, id, note, connection, at_most=PATIENCE):
        """The server must have had enough of the connection."""
        connection.read(lambda c: c.goaway, at_most)
        self.row(id, note, connection.goaway or connection.closed, connection.outcome(0))
        connection.close()

    # -- the rows ------------------------------------------------------------------------------------------------------

    def announced(self):
        connection = self.connect()
        connection.read(lambda c: c.acks and c.settings)
        streams, size = connection.settings.get(3), connection.settings.get(6)
        self.row("T05", "streams announced", streams == self.o.streams, streams)
        self.row("T04", "header list announced", size == self.o.list_bytes, size)
        self.row("T01", "push is never used", connection.settings.get(2) in (None, 0), connection.settings.get(2))
        connection.close()

    def rapid_reset(self):
        connection = self.connect()
        for _ in range(20):
            burst = b""
            for _ in range(500):
                stream = connection.stream()
                burst += frame(HEADERS, END_HEADERS | END_STREAM, stream, connection.head(self.o.path, self.o.token))
                burst += frame(RST, 0, stream, struct.pack(">I", 8))
            connection.send(burst)
            connection.read(lambda c: c.goaway, 0.05)
            if connection.goaway or connection.closed:
                break
        self.ended("T01", "10,000 streams opened and reset", connection)
        self.check_good("T01", "rapid resets")

    def made_resets(self):
        connection = self.connect()
        for _ in range(1000):
            stream = connection.stream()
            connection.send(
                frame(HEADERS, END_HEADERS, stream, connection.head(self.o.path, self.o.token, "POST"))
                + frame(WINDOW, 0, stream, struct.pack(">I", 0))
            )
            connection.read(lambda c: c.goaway, 0.001)
            if connection.goaway or connection.closed:
                break
        self.ended("T02", "1,000 streams the server must reset", connection)
        self.check_good("T02", "provoked resets")

    def bombs(self):
        # one entry of 4,000 bytes in the table, then a reference of one byte to it, again and again
        connection = self.connect()
        entry = b"\x40" + integer(6, 7) + b"x-bomb" + integer(3900, 7) + b"b" * 3900
        stream = connection.stream()
        block = connection.head(self.o.path, self.o.token) + entry + b"\xbe" * 16000
        connection.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, block[:16384]) if len(block) <= 16384 else
                        frame(HEADERS, END_STREAM, stream, block[:16384]) + frame(CONTINUATION, END_HEADERS, stream, block[16384:]))
        outcome = connection.settle(stream)
        self.row("T04", "62 MB of header list in 20 KB", outcome == 431 or is_refusal(outcome), outcome)
        connection.close()
        connection = self.connect()
        stream = connection.get(self.o.path, self.o.token, extra=[("x-{}".format(n), "v" * 1000) for n in range(40)])
        outcome = connection.settle(stream)
        self.row("T04", "a header list past the cap", outcome == 431 or is_refusal(outcome), outcome)
        connection.close()
        connection = self.connect()
        stream = connection.stream()
        connection.send(frame(HEADERS, END_STREAM, stream, connection.head(self.o.path, self.o.token)))
        for _ in range(2000):
            connection.send(frame(CONTINUATION, 0, stream, connection.block([("x", "v" * 1000)])))
            if connection.closed:
                break
        self.ended("T04", "continuations without an end", connection)
        connection = self.connect()
        stream = connection.stream()
        for _ in range(5000):
            connection.send(frame(CONTINUATION if _ else HEADERS, 0, stream, b""))
            if connection.closed:
                break
        self.ended("T04", "empty continuations without an end", connection)
        self.check_good("T04", "header bombs")

    def stalled(self):
        # answers nobody takes: no window, on as many streams as there may be
        connections = []
        for _ in range(10):
            connection = self.connect(struct.pack(">HI", 4, 0))
            for _ in range(self.o.streams):
                connection.get(self.o.path, self.o.token)
            connections.append(connection)
        self.check_good("T05", "200 stalled streams")
        for connection in connections:
            connection.read(lambda c: len(c.status) == self.o.streams, 5)
        served = sum(len(connection.status) for connection in connections)
        self.row("T05", "stalled streams have at most heads", served <= 10 * self.o.streams, served)
        for connection in connections:
            connection.close()

    def tables(self):
        connection = self.connect(struct.pack(">HI", 1, 0xFFFFFFFF))
        outcome = connection.settle(connection.get(self.o.path, self.o.token))
        self.row("T06", "a table of 4 GiB is offered", outcome == 200, outcome)
        stream = connection.stream()
        connection.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x3f" + integer_rest(1 << 30) + connection.head(self.o.path, self.o.token)))
        outcome = connection.settle(stream)
        self.row("T06", "a table of 1 GiB is asked for", is_refusal(outcome), outcome)
        connection.close()
        connection = self.connect()
        for _ in range(2000):
            connection.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 1, _ % 4096)))
            if connection.closed:
                break
        self.bounded("T06", "2,000 resizes of the table", connection)

    def bounded(self, id, note, connection):
        """Either the server ended it, or it still serves on it."""
        outcome = connection.settle(connection.get(self.o.path, self.o.token))
        self.row(id, note, outcome == 200 or is_refusal(outcome) or connection.goaway, outcome)
        connection.close()

    def floods(self):
        for note, payload in (
            ("5,000 pings", frame(PING, 0, 0, b"12345678")),
            ("5,000 settings", frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535))),
            ("5,000 window updates", frame(WINDOW, 0, 0, struct.pack(">I", 1))),
            ("5,000 priorities", frame(PRIORITY, 0, 3, struct.pack(">IB", 1, 16))),
            ("5,000 unknown frames", frame(0x2A, 0, 0, b"x")),
        ):
            connection = self.connect()
            for _ in range(50):
                connection.send(payload * 100)
                connection.read(lambda c: c.goaway, 0.001)
                if connection.closed or connection.goaway:
                    break
            self.bounded("T07", note, connection)
        for note, payload in (("empty data", b""), ("data of one byte", b"x")):
            connection = self.connect()
            stream = connection.get(self.o.path, self.o.token, END_HEADERS, method="POST")
            for _ in range(50):
                connection.send(frame(DATA, 0, stream, payload) * 100)
                connection.read(lambda c: c.goaway or stream in c.status or stream in c.resets, 0.001)
                if connection.closed or connection.goaway or stream in connection.status or stream in connection.resets:
                    break
            connection.send(frame(DATA, END_STREAM, stream, b""))
            outcome = connection.settle(stream)
            self.row("T07", "5,000 frames of " + note, outcome != 200 and outcome != "silence", outcome)
            connection.close()
        self.check_good("T07", "floods")

    def refused(self, id, note, fields, body=None, allowed=()):
        """A request that must not be served: a stream error, a connection error or a 4xx."""
        connection = self.connect()
        stream = connection.stream()
        flags = END_HEADERS | (0 if body is not None else END_STREAM)
        connection.send(frame(HEADERS, flags, stream, connection.block(fields)))
        for data, last in body or ():
            connection.send(frame(DATA, END_STREAM if last else 0, stream, data))
        outcome = connection.settle(stream)
        fine = is_refusal(outcome) or (isinstance(outcome, int) and 400 <= outcome < 500) or outcome in allowed
        self.row(id, note, fine, outcome)
        connection.close()

    def malformed(self):
        path, token, host = self.o.path, self.o.token, self.o.clear
        method, scheme, authority, where = (":method", "GET"), (":scheme", "http"), (":authority", host), (":path", path)
        own = ("x-vault-token", token)
        whole = [method, scheme, authority, where, own]
        for note, fields in (
            ("no :path", [method, scheme, authority, own]),
            ("two :path", [method, scheme, authority, where, where, own]),
            ("an empty :path", [method, scheme, authority, (":path", ""), own]),
            (":path *", [method, scheme, authority, (":path", "*"), own]),
            ("a :path without a slash", [method, scheme, authority, (":path", path[1:]), own]),
            ("an absolute :path", [method, scheme, authority, (":path", "http://other" + path), own]),
            ("a :path with dots", [method, scheme, authority, (":path", "/v1/secret/data/../../sys/mounts"), own]),
            ("a :path with two slashes", [method, scheme, authority, (":path", "/" + path), own]),
            ("no :method", [scheme, authority, where, own]),
            ("two :method", [method, (":method", "DELETE"), scheme, authority, where, own]),
            (":method in lower case", [(":method", "get"), scheme, authority, where, own]),
            (":method with a blank", [(":method", "GET /"), scheme, authority, where, own]),
            ("no :scheme", [method, authority, where, own]),
            ("an empty :scheme", [method, (":scheme", ""), authority, where, own]),
            ("a pseudo header behind others", [method, scheme, authority, own, where]),
            ("an unknown pseudo header", whole[:4] + [(":secret", "x"), own]),
            (":status in a request", whole[:4] + [(":status", "200"), own]),
            ("an upper-case name", whole + [("X-Upper", "x")]),
            ("an empty name", whole + [("", "x")]),
            ("a name with a blank", whole + [("x y", "x")]),
            ("a name with a colon", whole + [("x:y", "x")]),
            ("CONNECT with a path", [(":method", "CONNECT"), scheme, authority, where, own]),
        ):
            self.refused("T09", note, fields)
        # the library drops a fragment before anybody sees it: what is left names the same secret for everyone
        self.refused("T09", "a :path with a fragment", [method, scheme, authority, (":path", path + "#x"), own], allowed=(200,))
        for name, value in (("connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "websocket"), ("te", "gzip"),
                            ("keep-alive", "timeout=5"), ("proxy-connection", "close")):
            self.refused("T10", name + ": " + value, whole + [(name, value)])
        post = [(":method", "POST"), scheme, authority, where, own]
        for note, fields, body in (
            ("content-length 5, no body", whole + [("content-length", "5")], None),
            ("content-length 5, 3 bytes", post + [("content-length", "5")], [(b"abc", True)]),
            ("content-length 5, 8 bytes", post + [("content-length", "5")], [(b"abcde", False), (b"fgh", True)]),
            ("two content-lengths", post + [("content-length", "3"), ("content-length", "5")], [(b"abc", True)]),
            ("content-length +3", post + [("content-length", "+3")], [(b"abc", True)]),
            ("content-length with a list", post + [("content-length", "3, 5")], [(b"abc", True)]),
            ("a body past the cap", post, [(b"x" * 16384, False)] * 3 + [(b"x", False)]),
        ):
            self.refused("T11", note, fields, body)
        for note, fields in (
            ("CR LF in a value", whole + [("x-a", "b\r\nx-vault-token: c")]),
            ("LF in a value", whole + [("x-a", "b\nc")]),
            ("NUL in a value", whole + [("x-a", "b\0c")]),
            ("CR LF in :path", [method, scheme, authority, (":path", path + " HTTP/1.1\r\nx: y"), own]),
            ("a blank in :path", [method, scheme, authority, (":path", path + " x"), own]),
            (":authority with a path", [method, scheme, (":authority", host + "/x"), where, own]),
            (":authority with a user", [method, scheme, (":authority", "a@" + host), where, own]),
            (":authority and another host", whole + [("host", "other")]),
            ("no :authority", [method, scheme, where, own]),
            ("two tokens", whole + [own]),
        ):
            self.refused("T12", note, fields)
        self.check_good("T09", "malformed requests")

    def too_many(self):
        connection = self.connect()
        # before the settings arrive a client may open as many as it likes; what is above the cap is refused, not queued
        connection.read(lambda c: c.acks and c.settings)
        streams = [connection.get(self.o.path, self.o.token, END_HEADERS, method="POST") for _ in range(self.o.streams + 30)]
        connection.read(lambda c: len(c.resets) >= 30 or c.goaway, 5)
        refused = sum(1 for stream in streams if connection.resets.get(stream) == "REFUSED_STREAM")
        self.row("T05", "more streams than allowed", refused >= 30 or connection.goaway or connection.closed, "{} refused".format(refused))
        connection.close()
        self.check_good("T05", "too many streams")

    def worn_out(self):
        connection = self.connect()
        served, outcome = 0, None
        while served < self.o.requests * 2:
            outcome = connection.settle(connection.get(self.o.path, self.o.token))
            if outcome != 200:
                break
            served += 1
            if connection.goaway:
                break
        fine = connection.goaway and self.o.requests - 2 <= served <= self.o.requests + 2
        self.row("R02", "requests on one connection", fine, "{} served, then {}".format(served, connection.goaway or outcome))
        connection.close()
        self.check_good("R02", "a worn-out connection")

    def cancelled(self):
        for _ in range(50):
            connection = self.connect()
            for _ in range(self.o.streams):
                connection.get(self.o.path, self.o.token)
            connection.close()
        self.check_good("T22", "1,000 calls nobody waits for")

    def slow(self):
        limit = self.o.deadline + 6
        for note, preface, first in (
            ("three bytes of a preface", False, b"PRI"),
            ("half a preface", False, PREFACE[:12]),
            ("a body that stops", True, None),
        ):
            connection = self.connect(preface=preface)
            stream = 0
            if first is None:
                stream = connection.get(self.o.path, self.o.token, END_HEADERS, method="POST")
                connection.send(frame(DATA, 0, stream, b"{"))
            else:
                connection.send(first)
            begun = time.monotonic()
            connection.read(lambda c: c.goaway or stream in c.resets or stream in c.status, limit)
            took = time.monotonic() - begun
            ended = connection.closed or connection.goaway or connection.outcome(stream) != "silence"
            self.row("R01" if first is not None else "R02", "HTTP/2: " + note, ended, "{} after {:.1f} s".format(connection.outcome(stream), took))
            connection.close()
        # behind the preface only the idle deadline ends a connection; until then it is in nobody's way
        held = []
        for note, preface, first in (
            ("prefaces without settings", False, PREFACE),
            ("half heads", True, frame(HEADERS, 0, 1, b"\x82")),
            ("half frames", True, frame(HEADERS, END_HEADERS, 1, b"\x82" * 50)[:20]),
        ):
            for _ in range(40):
                held.append(self.connect(preface=preface))
                held[-1].send(first)
            self.check_good("R01", "40 " + note)
        for connection in held:
            connection.close()

    def not_offered(self):
        connection = Connection(self.o.plain)
        connection.read(lambda c: c.settings, 3)
        said = connection.buffer[:12]
        self.row("T14", "HTTP/2 on a listener without it", not connection.settings and (said.startswith(b"HTTP/1.") or connection.closed), said)
        connection.close()
        for address in (self.o.plain, self.o.clear):
            host, port = address.rsplit(":", 1)
            sock = socket.create_connection((host, int(port)), timeout=PATIENCE)
            sock.sendall("GET {} HTTP/1.1\r\nHost: {}\r\nX-Vault-Token: {}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                         "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n".format(self.o.path, address, self.o.token).encode())
            sock.settimeout(5)
            said = sock.recv(64)
            self.row("T14", "an upgrade to HTTP/2", said.startswith(b"HTTP/1.1 200"), said[:20])
            sock.close()

    def over_tls(self):
        outcome, _ = self.good(self.o.tls, tls=True)
        self.row("T14", "HTTP/2 by ALPN", outcome == 200, outcome)
        connection = Connection(self.o.tls, tls=True)
        connection.read(lambda c: c.acks and c.settings)
        found = (connection.settings.get(3), connection.settings.get(6))
        self.row("T05", "the caps over TLS", found == (self.o.streams, self.o.list_bytes), found)
        connection.close()


def main():
    arguments = argparse.ArgumentParser(description="Try hostile HTTP/2.")
    for name in ("clear", "plain", "tls", "token", "path"):
        arguments.add_argument("--" + name, required=True)
    for name in ("streams", "list-bytes", "requests"):
        arguments.add_argument("--" + name, required=True, type=int)
    arguments.add_argument("--deadline", required=True, type=float)
    attack = Attack(arguments.parse_args())
    for step in (attack.announced, attack.rapid_reset, attack.made_resets, attack.bombs, attack.stalled, attack.tables, attack.floods,
                 attack.malformed, attack.too_many, attack.worn_out, attack.cancelled, attack.slow, attack.not_offered, attack.over_tls):
        step()
    return 0


if __name__ == "__main__":
    sys.exit(main())

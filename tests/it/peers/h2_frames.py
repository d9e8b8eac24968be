"""Frames and connections of HTTP/2 by hand: what a library would refuse to send can be sent, and what a server says is kept
by stream. Used by `h2_attack.py`."""

import socket
import ssl
import struct
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
ACK = END_STREAM = 1
END_HEADERS = 4
PATIENCE = 15.0
REASONS = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
           "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Connection:
    """One HTTP/2 connection: sends any bytes, and keeps what the server says by stream."""

    def __init__(self, address, settings=b"", tls=False, preface=True):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.authority = address
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer = b""
        self.closed = False
        self.goaway = None
        self.settings = {}
        self.acks = 0
        self.pongs = 0
        self.status = {}
        self.resets = {}
        self.ended = set()
        self.next = 1
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            self.closed = True

    def stream(self):
        self.next += 2
        return self.next - 2

    def head(self, path, token, method="GET", extra=()):
        fields = [(":method", method), (":scheme", "http"), (":authority", self.authority), (":path", path)]
        if token:
            fields.append(("x-vault-token", token))
        return self.block(fields + list(extra))

    def block(self, fields):
        """The fields as literals that touch no table: what is sent does not depend on what was sent before."""
        out = b""
        for name, value in fields:
            name = name.encode("latin-1") if isinstance(name, str) else name
            value = value.encode("latin-1") if isinstance(value, str) else value
            out += b"\x00" + integer(len(name), 7) + name + integer(len(value), 7) + value
        return out

    def get(self, path, token, flags=END_STREAM | END_HEADERS, extra=(), method="GET"):
        stream = self.stream()
        self.send(frame(HEADERS, flags, stream, self.head(path, token, method, extra)))
        return stream

    def read(self, until, at_most=PATIENCE):
        """Reads frames until the condition holds, the connection ends or time is up."""
        deadline = time.monotonic() + at_most
        while not until(self) and not self.closed:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except (TimeoutError, socket.timeout):
                return until(self)
            except OSError:
                self.closed = True
                break
            if not data:
                self.closed = True
                break
            self.buffer += data
            self.frames()
        return until(self)

    def frames(self):
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                return
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
            self.frame(kind, flags, stream, payload)

    def frame(self, kind, flags, stream, payload):
        if kind == SETTINGS and flags & ACK:
            self.acks += 1
        elif kind == SETTINGS:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at:at + 6])
                self.settings[name] = value
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and flags & ACK:
            self.pongs += 1
        elif kind == GOAWAY:
            code = struct.unpack(">I", payload[4:8])[0]
            self.goaway = REASONS[code] if code < len(REASONS) else str(code)
        elif kind == RST:
            code = struct.unpack(">I", payload)[0]
            self.resets[stream] = REASONS[code] if code < len(REASONS) else str(code)
        elif kind == HEADERS:
            fields = dict(self.decoder.decode(payload))
            if ":status" in fields:
                self.status[stream] = int(fields[":status"])
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self.ended.add(stream)

    def close(self):
        self.sock.close()

    def outcome(self, stream):
        """What became of a stream, or of the connection."""
        if stream in self.status:
            return self.status[stream]
        if stream in self.resets:
            return "RST " + self.resets[stream]
        if self.goaway:
            return "GOAWAY " + self.goaway
        return "closed" if self.closed else "silence"

    def settle(self, stream, at_most=PATIENCE):
        self.read(lambda c: stream in c.status or stream in c.resets or c.goaway, at_most)
        return self.outcome(stream)


def integer(value, bits):
    """An HPACK integer whose first octet has no other bits."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([value])
    out, value = [limit], value - limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def integer_rest(value):
    """The octets behind a five-bit prefix that is full."""
    value -= 31
    out = []
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def is_refusal(outcome):
    return outcome == "closed" or (isinstance(outcome, str) and outcome.startswith(("RST", "GOAWAY")))

"""Turns the record of a session into lines that are equal whenever the sessions behaved equally.

    VAULT_ADDR=URL python3 normalise.py PLAN.json < record.json > lines

One line a step, in order: compact JSON with sorted keys. Two runs, against whatever servers, can be compared line by
line. Only the standard library is used.

What changes from run to run becomes a placeholder, and only if it has the right shape: a request id that is no UUID, or
a time that is not RFC 3339, stays as it is and so shows up as a difference. Empty stays empty, null stays null and zero
stays zero, because clients read meaning from those.

1. By key, anywhere (`BY_KEY`), in JSON as well as in the rows of the CLI's tables: request ids, tokens, accessors,
   entity ids, times, time-to-live counters. `lease_duration` counts only inside `auth`: that of a value is compared.
2. In all text: the server's address, the plan's own ids and writable prefix, anything with the shape of a token or of a
   time, the part of a JSON parser's message that depends on the parser, the width of the CLI's headings (`IN_TEXT`).
3. Steps in which a server describes itself keep only the fields that clients use (`KEEP`).
"""

import json
import os
import re
import sys

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"(?!0001-)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
# 1h2m3s as the CLI writes a duration; 0s stays.
DURATION = re.compile(r"(?!0s$)(\d+h)?(\d+m)?(\d+s)?(?<=[hms])")


def text_of(pattern):
    return lambda value: isinstance(value, str) and pattern.fullmatch(value)


def filled(value):
    return isinstance(value, str) and value not in ("", "n/a", "<nil>")


def a_string(value):
    return isinstance(value, str)


def counter(value):
    """A positive number of seconds, also as the CLI writes it."""
    if isinstance(value, str):
        return DURATION.fullmatch(value) or (value.isdigit() and int(value) > 0)
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def epoch(value):
    """Seconds since 1970 that lie in this century."""
    number = int(value) if isinstance(value, str) and value.isdigit() else value
    return isinstance(number, int) and not isinstance(number, bool) and number > 946_684_800


# key -> (has it the right shape?, placeholder). A second pair is tried when the first does not fit.
TIMES = [(text_of(TIME), "<time>"), (epoch, "<epoch>")]
BY_KEY = {
    "request_id": [(text_of(UUID), "<uuid>")],
    "uuid": [(text_of(UUID), "<uuid>")],
    # A server without entities sends none, and no client in these sessions looks at it.
    "entity_id": [(a_string, "<entity>")],
    "client_token": [(filled, "<token>")],
    "token": [(filled, "<token>")],
    "id": [(filled, "<token>")],
    "accessor": [(filled, "<accessor>")],
    "token_accessor": [(filled, "<accessor>")],
    "wrapped_accessor": [(filled, "<accessor>")],
    "wrapping_token": [(filled, "<token>")],
    "wrapping_accessor": [(filled, "<accessor>")],
    "created_time": TIMES,
    "updated_time": TIMES,
    "deletion_time": TIMES,
    "creation_time": TIMES,
    "issue_time": TIMES,
    "expire_time": TIMES,
    "last_renewal": TIMES,
    "last_renewal_time": TIMES,
    "ttl": [(counter, "<seconds>")],
    "creation_ttl": [(counter, "<seconds>")],
    "explicit_max_ttl": [(counter, "<seconds>")],
    "token_duration": [(counter, "<seconds>")],
    "wrapping_token_ttl": [(counter, "<seconds>")],
}

IN_TEXT = [
    (TIME, "<time>"),
    (re.compile(r"\b(s|b|hvs|hvb)\.[A-Za-z0-9_-]{20,}(\.[A-Za-z0-9]+)?"), "<token>"),
    (re.compile(r"(failed to decode JSON input): .*"), r"\1: <detail>"),
    # A heading of the CLI is as wide as the longest path below it.
    (re.compile(r"^={2,} (.+) ={2,}$", re.MULTILINE), r"== \1 =="),
]

# step name -> the fields kept of the object that describes the server. Where the client returns a whole answer, that
# object is its `data`.
KEEP = {
    "health": ("initialized", "sealed", "standby"),
    "seal_status": ("initialized", "sealed"),
    "leader": ("ha_enabled",),
    "preflight_mount": ("path", "type", "options"),
    "preflight_path": ("path", "type", "options"),
    "preflight_kv1": ("path", "type", "options"),
}


def normalise(steps, plan, address):
    """Answers one line a step."""
    own = own_texts(plan, address)
    lines = []
    for step in steps:
        step = dict(step)
        if step["step"] in KEEP and isinstance(step["data"], dict):
            step["data"] = described(step["data"], KEEP[step["step"]])
        lines.append(json.dumps(cleaned(step, own), sort_keys=True, ensure_ascii=False, separators=(",", ":")))
    return lines


def own_texts(plan, address):
    """What this run was told and another is told differently, longest first so that no part hides the whole."""
    approle = plan.get("approle") or {}
    pairs = [
        (address.rstrip("/"), "<addr>"), (plan.get("writable_prefix"), "<writable>"), (plan.get("token"), "<token>"),
        (approle.get("role_id"), "<role-id>"), (approle.get("secret_id"), "<secret-id>"),
    ]
    # A short one (the token `root`) is too likely to be a word of something else.
    return sorted(((own, name) for own, name in pairs if own and len(own) >= 8), key=lambda pair: -len(pair[0]))


def described(data, keep):
    inner = data.get("data")
    if isinstance(inner, dict):
        return {**data, "data": {key: inner[key] for key in keep if key in inner}}
    return {key: data[key] for key in keep if key in data}


def cleaned(value, own, key=None, parent=None):
    for fits, placeholder in rules(key, parent):
        if fits(value):
            return placeholder
    if isinstance(value, dict):
        return {plain(name, own): cleaned(item, own, name, key) for name, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item, own) for item in value]
    if isinstance(value, str):
        return plain("".join(table_row(line) for line in value.splitlines(keepends=True)), own)
    return value


def rules(key, parent):
    if key == "lease_duration" and parent == "auth":
        return [(counter, "<seconds>")]
    return BY_KEY.get(key, ())


def table_row(line):
    """Applies the rules by key to `key    value`, the rows of the CLI's tables."""
    row = re.fullmatch(r"(\w+)(\s{2,})(\S.*?)(\s*)", line, re.DOTALL)
    if row:
        for fits, placeholder in BY_KEY.get(row[1], ()):
            if fits(row[3]):
                return row[1] + row[2] + placeholder + row[4]
    return line


def plain(text, own):
    for mine, name in own:
        text = text.replace(mine, name)
    for pattern, name in IN_TEXT:
        text = pattern.sub(name, text)
    return text


def main():
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            plan = json.load(file)
        address = os.environ["VAULT_ADDR"]
        steps = json.load(sys.stdin)
    except (IndexError, KeyError, OSError, ValueError) as error:
        print("usage: VAULT_ADDR=URL normalise.py PLAN.json < record.json ({!r})".format(error), file=sys.stderr)
        return 2
    for line in normalise(steps, plan, address):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

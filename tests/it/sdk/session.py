"""What the two Python sessions share: the plan, the record of steps, and the sample values.

The Node and Go sessions follow the same conventions; `normalise.py` reads the output of all four.

Plan (a JSON file, the last argument of every session; the address is in VAULT_ADDR, and the CA settings of the
environment count as in any application; the token and the namespace of the environment do not):
  approle           {"role_id", "secret_id", "mount"?: "approle"} | null   logs in and uses that token
  token             a token; used when `approle` is null, else only looked up and used for one read; null = send none
  namespace         sent with every request | null: none
  kv2_mount         mount of the KV v2 store
  kv1_mount         mount of a KV v1 store | null: no KV v1 steps. It holds `<readonly_prefix>/one`
  readonly_prefix   folder on both mounts as `peers/seed.py` fills it: db, api, nested/deep, gone, destroyed
  writable_prefix   folder on both mounts where this session may do everything | null: no writing steps
  denied_path       path on the KV v2 mount that exists and may not be read
  unknown_mount     name of a mount that does not exist
  expect_readonly   writes below `readonly_prefix` must be refused | must work
  expect_wrap       X-Vault-Wrap-TTL must be honoured (and is unwrapped) | must be answered 400
  child_policies    policies of a child token: a subset of the session's that may read `<readonly_prefix>/db`
                    and must not write below `writable_prefix` | null: no child token steps
  skip              names of steps to leave out

Output: one JSON array, one object a step:
  step      its name, the same over all sessions for the same thing
  ok        the client reported success
  status    HTTP status of the last answer | null (the CLI shows none for a success)
  data      what the client returned; for an error the body's `data` where the client keeps it, else null
  errors    list of error texts; empty for a success
  raised    name of the client's error class | null (the CLI: its exit code)
  expected  the outcome is one that the plan asks for
Exit code 0: every step came out as expected. 1: the names of those that did not are on stderr. 2: no session at all.
"""

import json
import os
import sys

REFUSED = (403, 405)  # a read-only place: by policy, or by the wire's way to say so

FIRST = {
    "user": "app",
    "password": "made-up-first",
    "unicode": "grüße, 雪 & <tags>",
    "lines": "one\ntwo\ttabbed \"quoted\" \\ back",
    "number": 1234567890123,
    "fraction": 0.25,
    "flag": True,
    "nothing": None,
    "empty": "",
    "nested": {"list": [1, "two", {"three": 3}], "object": {}},
}
SECOND = {"user": "app", "password": "made-up-second"}
PATCH = {"password": "made-up-patched", "added": "by-patch"}
CUSTOM_METADATA = {"owner": "sdk-session", "rotation": "30d"}
CUSTOM_METADATA_PATCH = {"rotation": "7d", "extra": "yes"}
KV1_VALUE = {"user": "one", "password": "made-up-kv1", "number": 7}
UNKNOWN_TOKEN = "s.unknownunknownunknownun"
UNKNOWN_SECRET_ID = "00000000-0000-4000-8000-000000000000"


class Answer(Exception):
    """How a client's call ended; raised by the session's glue for an error, returned for a success."""

    def __init__(self, status, data, errors=(), raised=None):
        super().__init__(raised)
        self.status, self.data, self.errors, self.raised = status, data, list(errors), raised


class Session:
    """The plan and the steps recorded so far. `call` runs one step and turns its end into an Answer."""

    def __init__(self, call):
        try:
            self.address = os.environ["VAULT_ADDR"]
            with open(sys.argv[1], encoding="utf-8") as file:
                self.plan = json.load(file)
        except (KeyError, IndexError, OSError, ValueError) as error:
            print("usage: VAULT_ADDR=URL {} PLAN.json ({!r})".format(sys.argv[0], error), file=sys.stderr)
            sys.exit(2)
        self.steps = []
        self.call = call

    def step(self, name, want, function, *arguments, **named):
        """Records one step; `want` lists the statuses that are expected. Answers the data of a success, else None."""
        if name in self.plan.get("skip", ()):
            return None
        try:
            answer, ok = self.call(function, *arguments, **named), True
        except Answer as refused:
            answer, ok = refused, False
        want = (want,) if isinstance(want, int) else want
        # The CLI shows no status for a success, nor for something that is not there.
        expected = answer.status in want if answer.status else (any(status < 300 for status in want) if ok else 404 in want)
        self.steps.append({
            "step": name, "ok": ok, "status": answer.status, "data": answer.data, "errors": answer.errors,
            "raised": answer.raised, "expected": expected,
        })
        return answer.data if ok else None

    def finish(self):
        """Prints the record and answers the exit code."""
        json.dump(self.steps, sys.stdout, indent=1, ensure_ascii=False)
        print()
        wrong = [step for step in self.steps if not step["expected"]]
        for step in wrong:
            print("{step}: status {status}, {errors}".format(**step), file=sys.stderr)
        return 1 if wrong else 0

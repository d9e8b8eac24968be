"""What the two Python sessions for AWS share, and the one that uses boto3.

    python aws_session.py PLAN.json        (the interpreter that `peers/install.py` made)

All four sessions (boto3, the AWS CLI in `aws_cli_session.py`, `aws_session.js`, `awsgo`) walk through `aws_steps.json`: one list
of calls, each with what the real service answers, so that what they recorded can be compared. A step is
  step      its name                    call      the operation
  in        its parameters; `${app}` `${own}` `${denied}` `${region}` `${account}` `${token}` are the plan's, `${step.Field}` is from
            what an earlier step returned
  want      `ok`, or the error codes that the real service may answer        text      its words, where recordings of it are known
  as        whose keys: `unknown` to the server, or `wrong` (a known id with another secret); else the plan's
  paginate  by the client's own paginator, all pages together
  only      `proxied`: would spoil what the stand-in holds for everybody     ordered   the order of a list counts

Plan (a JSON file, the last argument; endpoint, region and credentials are in the AWS_* environment, as in any application):
  region account readonly_prefix writable_prefix denied  what the placeholders stand for; `token` is made of writable_prefix
  is_proxied  every step must come out as the real service would have it; a stand-in's flaws are only recorded
  client, reference  names for the normaliser

Output: one JSON array, one object a step: step, ok, status (HTTP; null where the client shows none), data, code, message,
raised (the client's error class), retries (null where the client shows none), has_request_id, expected.
Exit code 0: every step that had to came out as expected. 1: those that did not are on stderr. 2: no session at all.
"""

import base64
import datetime
import hashlib
import json
import os
import re
import sys

sys.dont_write_bytecode = True  # nothing beside the sources

STEPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "aws_steps.json")
REFERENCE = re.compile(r"\$\{([a-z_]+)(?:\.([A-Za-z]+))?\}")


class Unknown(Exception):
    """A step refers to what an earlier one did not return."""


class Refused(Exception):
    """A call ended in an error."""

    def __init__(self, code, message, raised, status=None, retries=None, has_request_id=None):
        super().__init__(code)
        self.record = {"code": code, "message": message, "raised": raised, "status": status, "retries": retries,
                       "has_request_id": has_request_id}


class Plan:
    """The plan, and what the steps returned so far."""

    def __init__(self):
        try:
            with open(sys.argv[-1], encoding="utf-8") as file:
                self.plan = json.load(file)
            with open(STEPS, encoding="utf-8") as file:
                self.steps = json.load(file)
        except (IndexError, OSError, ValueError) as error:
            print("usage: {} PLAN.json ({!r})".format(sys.argv[0], error), file=sys.stderr)
            sys.exit(2)
        plan = self.plan
        # a ClientRequestToken's first 24 characters, different for every session
        self.words = {"app": plan["readonly_prefix"], "own": plan["writable_prefix"], "denied": plan["denied"],
                      "region": plan["region"], "account": plan["account"], "token": token_prefix(plan["writable_prefix"])}
        self.returned = {}

    def filled(self, value):
        if isinstance(value, dict):
            return {name: self.filled(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        return REFERENCE.sub(self.word, value) if isinstance(value, str) else value

    def word(self, match):
        name, field = match.groups()
        if not field:
            return self.words[name]
        value = (self.returned.get(name) or {}).get(field)
        if not isinstance(value, str):
            raise Unknown("{}.{}".format(name, field))
        return value

    def run(self, call):
        """`call(step, parameters)` answers (data, status, retries, has_request_id) or raises Refused. Answers the exit code."""
        records = []
        for step in self.steps:
            if step.get("only") == "proxied" and not self.plan["is_proxied"]:
                continue
            records.append(self.record(step, call))
        json.dump(records, sys.stdout, indent=1, ensure_ascii=False)
        print()
        wrong = [record for record in records if not record["expected"]] if self.plan["is_proxied"] else []
        for record in wrong:
            print("{step}: status {status}, code {code}, {message}".format(**record), file=sys.stderr)
        return 1 if wrong else 0

    def record(self, step, call):
        record = {"step": step["step"], "ok": False, "status": None, "data": None, "code": None, "message": None, "raised": None,
                  "retries": None, "has_request_id": None}
        try:
            data, record["status"], record["retries"], record["has_request_id"] = call(step, self.filled(step["in"]))
            self.returned[step["step"]] = data
            record.update(ok=True, data=data)
        except Refused as refused:
            record.update(refused.record)
        except Unknown as unknown:
            record.update(raised="Unknown", message="{} was not returned".format(unknown))
        wants = [step["want"]] if isinstance(step["want"], str) else step["want"]
        outcome = "ok" if record["ok"] else record["code"]
        record["expected"] = outcome in wants and (record["ok"] or step.get("text") in (None, record["message"]))
        return record


def token_prefix(own):
    """`xxxxxxxx-xxxx-4xxx-8xxx`, to which a step adds `-000000000001`."""
    digits = hashlib.sha256(own.encode()).hexdigest()
    return "{}-{}-4{}-8{}".format(digits[:8], digits[8:12], digits[12:15], digits[15:18])


def plain(value):
    """What boto3 returns as JSON."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if name != "ResponseMetadata"}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def main():
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    own = os.environ["AWS_ACCESS_KEY_ID"]
    clients = {
        None: boto3.client("secretsmanager"),
        "unknown": boto3.client("secretsmanager", aws_access_key_id="AKIAUNKNOWNUNKNOWN00", aws_secret_access_key="made-up-unknown"),
        "wrong": boto3.client("secretsmanager", aws_access_key_id=own, aws_secret_access_key="made-up-wrong"),
    }

    def call(step, parameters):
        client = clients[step.get("as")]
        method = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", step["call"]).lower()
        if "SecretBinary" in parameters:
            parameters["SecretBinary"] = base64.b64decode(parameters["SecretBinary"])
        try:
            if step.get("paginate"):
                size = {"PageSize": parameters.pop("MaxResults")}
                answer = client.get_paginator(method).paginate(PaginationConfig=size, **parameters).build_full_result()
                return plain(answer), None, None, None
            answer = getattr(client, method)(**parameters)
        except ClientError as error:
            about = error.response["ResponseMetadata"]
            message = error.response["Error"].get("Message")
            raise Refused(error.response["Error"]["Code"], message, type(error).__name__, about["HTTPStatusCode"],
                          about["RetryAttempts"], bool(about.get("RequestId")))
        except BotoCoreError as error:
            raise Refused(None, str(error), type(error).__name__)
        about = answer["ResponseMetadata"]
        return plain(answer), about["HTTPStatusCode"], about["RetryAttempts"], bool(about.get("RequestId"))

    return Plan().run(call)


if __name__ == "__main__":
    sys.exit(main())

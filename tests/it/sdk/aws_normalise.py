"""Turns the record of an AWS session into lines that are equal whenever the sessions behaved equally.

    python3 aws_normalise.py PLAN.json < record.json > lines

One line a step: compact JSON with sorted keys. What changes from run to run becomes a placeholder, and only if it has the right
shape, so that anything else shows up as a difference:

1. version ids: `<STEP.1>`, `<STEP.2>`, … by the step that showed one first, so that a version that is shown under two ids, or
   two under one, differs;
2. ARNs: `<arn REGION ACCOUNT NAME>`, if they end in a hyphen and six letters or digits;
3. times under the keys that hold times: `<time>`, if they lie in this century; paging tokens; random passwords by length and
   by whether they are as asked;
4. the writable prefix, which is another for every session.

5. `ok` and `code` become one `outcome`.

Lists whose order the service leaves open are sorted. What is empty, null or false is left out, since the real service sends no
such field, and so is LastAccessedDate, which it keeps by the day. The words of errors are not compared: the steps say which
words the real service uses. `expected` is not compared either.
"""

import json
import re
import string
import sys

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ARN = re.compile(r"arn:aws:secretsmanager:([a-z0-9-]+):(\d{12}):secret:([A-Za-z0-9/_+=.@-]+)-[A-Za-z0-9]{6}")
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
TIMES = ("CreatedDate", "LastChangedDate", "LastAccessedDate", "LastRotatedDate", "NextRotationDate", "DeletedDate", "DeletionDate")
BY_STAGES = ("VersionIdsToStages", "SecretVersionsToStages")
LEFT_OUT = ("expected", "message", "ok", "code")


class Session:
    def __init__(self, plan, steps):
        self.own = plan["writable_prefix"]
        self.ordered = {step["step"] for step in steps if step.get("ordered")}
        self.rules = {step["step"]: step["in"] for step in steps if step["call"] == "GetRandomPassword"}
        self.versions = {}
        self.step = None
        self.met = 0

    def line(self, record):
        self.step, self.met = record["step"], 0
        outcome = "ok" if record["ok"] else record["code"] or "no answer"
        record = dict({key: item for key, item in record.items() if key not in LEFT_OUT}, outcome=outcome)
        if record["data"] is not None:
            data = self.sorted(record["data"], record["step"] in self.ordered)
            record["data"] = self.cleaned(data, None)
        return json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    def sorted(self, data, ordered):
        data = dict(data)
        if "Tags" in data:
            data["Tags"] = sorted(data["Tags"], key=lambda tag: tag["Key"])
        for key, by in (("SecretValues", "Name"), ("Errors", "SecretId"), ("SecretList", "Name")):
            if isinstance(data.get(key), list):
                inner = [self.sorted(item, ordered) for item in data[key]]
                data[key] = inner if ordered else sorted(inner, key=lambda item: item[by])
        if isinstance(data.get("Versions"), list):
            data["Versions"] = sorted(data["Versions"], key=lambda version: (sorted(version.get("VersionStages") or []), str(version["VersionId"])))
        return data

    def cleaned(self, value, key):
        if isinstance(value, dict):
            if key in BY_STAGES:
                value = dict(sorted(value.items(), key=lambda item: sorted(item[1])))
            if "ErrorCode" in value:
                value = {name: item for name, item in value.items() if name != "Message"}
            kept = ((name, item) for name, item in value.items() if name != "LastAccessedDate" and item not in (None, False, "", [], {}))
            return {self.text(name): self.cleaned(item, name) for name, item in kept}
        if isinstance(value, list):
            items = [self.cleaned(item, key) for item in value]
            return sorted(items) if key in ("VersionStages", "KmsKeyIds") or all(isinstance(item, str) for item in items) else items
        if key in TIMES:
            return "<time>" if is_time(value) else value
        if key == "NextToken":
            return "<token>" if value else value
        if key == "RandomPassword":
            return password(value, self.rules.get(self.step, {}))
        return self.text(value) if isinstance(value, str) else value

    def text(self, text):
        text = ARN.sub(r"<arn \1 \2 \3>", text)
        if UUID.fullmatch(text):
            if text not in self.versions:
                self.met += 1
                self.versions[text] = "<{}.{}>".format(self.step, self.met)
            return self.versions[text]
        return text.replace(self.own, "<own>")


def is_time(value):
    if isinstance(value, str):
        return TIME.fullmatch(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 946_684_800


def password(value, rules):
    """Its length, and whether it is what was asked for."""
    forbidden = rules.get("ExcludeCharacters", "")
    forbidden += string.punctuation if rules.get("ExcludePunctuation") else ""
    forbidden += string.ascii_uppercase if rules.get("ExcludeUppercase") else ""
    forbidden += "" if rules.get("IncludeSpace") else " "
    kinds = [string.ascii_lowercase, string.digits] + ([] if rules.get("ExcludeUppercase") else [string.ascii_uppercase])
    fits = not set(value) & set(forbidden) and all(set(value) & set(kind) for kind in kinds)
    return "<{} characters, {}>".format(len(value), "as asked" if fits else "not as asked")


def main():
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            plan = json.load(file)
        with open(__file__.rsplit("/", 1)[0] + "/aws_steps.json", encoding="utf-8") as file:
            steps = json.load(file)
        records = json.load(sys.stdin)
    except (IndexError, OSError, ValueError) as error:
        print("usage: aws_normalise.py PLAN.json < record.json ({!r})".format(error), file=sys.stderr)
        return 2
    session = Session(plan, steps)
    # a stand-in is not asked what would spoil it: there is nothing to compare with
    own = {step["step"] for step in steps if step.get("only") == "proxied"}
    for record in records:
        if record["step"] not in own:
            print(session.line(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The AWS command line: every step is one command of it, run in this process so that Python does not start over for each.

    python aws_cli_session.py PLAN.json        (the interpreter that `peers/install.py` made)

Plan, steps and output: `aws_session.py`. A command is `aws secretsmanager CALL --cli-input-json PARAMETERS`; it shows neither the
HTTP status nor the request id, and of an error its code and words. What this client depends on: the same as boto3, and that the
paginator of `list-secrets`, which is on unless told otherwise, gets every page.
"""

import contextlib
import io
import json
import os
import re
import sys

sys.dont_write_bytecode = True  # nothing beside the sources
from aws_session import Plan, Refused  # noqa: E402

ERROR = re.compile(r"An error occurred \((\S+)\) when calling the \S+ operation(?: \(reached max retries: \d+\))?: (.*)", re.DOTALL)


def main():
    from awscli.clidriver import create_clidriver

    own = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    keys = {None: own, "unknown": {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN00", "AWS_SECRET_ACCESS_KEY": "made-up-unknown"},
            "wrong": dict(own, AWS_SECRET_ACCESS_KEY="made-up-wrong")}
    driver = {}

    def call(step, parameters):
        who = step.get("as")
        os.environ.update(keys[who])
        driver.setdefault(who, create_clidriver())
        command = ["secretsmanager", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", step["call"]).lower()]
        if step.get("paginate"):
            command += ["--page-size", str(parameters.pop("MaxResults"))]
        command += ["--output", "json", "--cli-input-json", json.dumps(parameters)]
        said, complained = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
            try:
                code = driver[who].main(command)
            except SystemExit as end:
                code = end.code
        if code != 0:
            words = complained.getvalue().strip()
            known = ERROR.search(words)
            raise Refused(known and known[1], known[2] if known else words, "exit {}".format(code))
        return json.loads(said.getvalue() or "{}"), None, None, None

    return Plan().run(call)


if __name__ == "__main__":
    sys.exit(main())

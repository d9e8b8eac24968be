"""AWS's own cache for Python (`aws-secretsmanager-caching`), as its documentation uses it.

    python aws_cache_session.py PLAN.json        (the interpreter that `peers/install.py` made)

Plan: `aws_session.py`. Prints one JSON object: what the cache returned, and how many calls of each kind it made.
What this client depends on: DescribeSecret with VersionIdsToStages, and GetSecretValue by VersionId that it found there.
"""

import json
import sys

import botocore.session
from aws_secretsmanager_caching import InjectKeywordedSecretString, InjectSecretString, SecretCache, SecretCacheConfig
from botocore.exceptions import ClientError


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    app, own = plan["readonly_prefix"], plan["writable_prefix"] + "-cache"
    client = botocore.session.get_session().create_client("secretsmanager")
    calls = {}
    client.meta.events.register("before-call.secrets-manager.*", lambda model, **_: calls.update({model.name: calls.get(model.name, 0) + 1}))
    cache = SecretCache(config=SecretCacheConfig(), client=client)
    result = {"string": [cache.get_secret_string(app + "/db") for _ in range(20)][-1], "previous": cache.get_secret_string(app + "/db", "AWSPREVIOUS"),
              "binary": list(cache.get_secret_binary(app + "/binary"))}
    result["calls_of_22_reads"] = dict(calls)

    @InjectSecretString(app + "/text", cache)
    def by_argument(text):
        return text

    @InjectKeywordedSecretString(secret_id=app + "/db", cache=cache, user="user", password="password")
    def by_keyword(user, password):
        return [user, password]

    result["injected"] = [by_argument(), by_keyword()]
    client.create_secret(Name=own, SecretString="made-up-before")
    result["before"] = cache.get_secret_string(own)
    client.put_secret_value(SecretId=own, SecretString="made-up-after")
    result["cached"] = cache.get_secret_string(own)
    result["refreshed"] = [cache.refresh_secret_now(own), cache.get_secret_string(own)]
    client.delete_secret(SecretId=own, ForceDeleteWithoutRecovery=True)
    try:
        result["missing"] = cache.get_secret_string(app + "/missing")
    except ClientError as error:
        result["missing"] = error.response["Error"]["Code"]
    json.dump(result, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    sys.exit(main())

"""Fills a stand-in for AWS: who may do what, and what the sessions of `sdk/` read.

`fill(kind, address, account)` answers what `aws.py` prints. In `us-east-1` stand afterwards, under the read-only prefix `app/`:
`db` (JSON; two versions, tags, a description), `text`, `binary`, `nested/deep` and `gone` (deleted, restorable); `other/hidden`,
which the user `app` may not read; and `prod/orders/db`, which the role may read.
"""

import json

import boto3
from botocore.config import Config

REGION = "us-east-1"
EXTERNAL_ID = "made-up-external-id"
# as the federation chapter calls it
PLAIN_ROLE = "scaivault-sm-reader"
FIRST = '{"user": "app", "password": "made-up-1"}'
SECOND = '{"user":"app","password":"made-up-2","port":5432,"note":"gr\\u00fc\\u00dfe, \u96ea & <tags>"}'
TAGS = [{"Key": "owner", "Value": "team-one"}, {"Key": "rotation", "Value": "30d"}]


def client(service, address, key="test", secret="test"):
    """`test` is ministack's root, whose signature it does not look at."""
    return boto3.client(
        service, endpoint_url=address, region_name=REGION, aws_access_key_id=key, aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def fill(kind, address, account):
    root = {"access_key_id": "test", "secret_access_key": "test"}
    people = who(address, account) if kind == "ministack" else {"backend": root, "app": root}
    secrets(client("secretsmanager", address))
    role = "arn:aws:iam::{}:role/".format(account)
    return dict(people, root=root, role_arn=role + "reader", external_id=EXTERNAL_ID, plain_role_arn=role + PLAIN_ROLE,
                plan=plan(kind, account))


def who(address, account):
    """Two users with keys, and two roles that one of them may assume."""
    iam = client("iam", address)
    everything = {"Effect": "Allow", "Action": ["secretsmanager:*", "sts:*"], "Resource": "*"}
    hidden = {"Effect": "Deny", "Action": "secretsmanager:*", "Resource": "arn:aws:secretsmanager:*:*:secret:other/*"}
    prod = {"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "arn:aws:secretsmanager:*:*:secret:prod/*"}
    lists = {"Effect": "Allow", "Action": ["secretsmanager:ListSecrets", "secretsmanager:BatchGetSecretValue"], "Resource": "*"}
    people = {}
    for name, statements in (("backend", [everything]), ("app", [everything, hidden])):
        user = iam.create_user(UserName=name)["User"]
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        people[name] = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
        if name == "backend":
            trust = {"Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": "sts:AssumeRole",
                     "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}}
            iam.create_role(RoleName="reader", AssumeRolePolicyDocument=policy([trust]))
            del trust["Condition"]
            iam.create_role(RoleName=PLAIN_ROLE, AssumeRolePolicyDocument=policy([trust]))
    iam.put_role_policy(RoleName="reader", PolicyName="own", PolicyDocument=policy([prod, lists]))
    enough = [dict(prod, Action="secretsmanager:GetSecretValue"), dict(lists, Action="secretsmanager:ListSecrets")]
    iam.put_role_policy(RoleName=PLAIN_ROLE, PolicyName="own", PolicyDocument=policy(enough))
    return people


def policy(statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def secrets(manager):
    manager.create_secret(Name="app/db", SecretString=FIRST, Description="The database of the application", Tags=TAGS)
    manager.put_secret_value(SecretId="app/db", SecretString=SECOND)
    manager.create_secret(Name="app/text", SecretString="made-up text, no object")
    manager.create_secret(Name="app/binary", SecretBinary=bytes(range(256)))
    manager.create_secret(Name="app/nested/deep", SecretString='{"deep":"made-up-deep"}')
    manager.create_secret(Name="app/gone", SecretString='{"gone":"made-up-gone"}')
    manager.delete_secret(SecretId="app/gone", RecoveryWindowInDays=7)
    manager.create_secret(Name="other/hidden", SecretString='{"hidden":"made-up-hidden"}')
    manager.create_secret(Name="prod/orders/db", SecretString='{"password":"made-up-prod"}', Tags=TAGS)


def plan(kind, account):
    return {
        "region": REGION, "account": account, "readonly_prefix": "app", "writable_prefix": "scratch/session", "denied": "other/hidden",
        # what the stand-in would let happen to the secrets of everybody
        "is_proxied": False, "reference": kind,
    }

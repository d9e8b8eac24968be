"""The aws wire in front of a copied secret: every request is verified by its signature."""

import hashlib
import hmac
import json
import time

from copies import copied, copier
from process import free_port

KEY_ID, KEY, REGION, ACCOUNT = "AKIABENCHBENCHBENCH1", "bench/secret+access/key/of/forty/chars00", "eu-west-1", "123456789012"
TARGET = "secretsmanager.GetSecretValue"
TYPE = "application/x-amz-json-1.1"
BODY = json.dumps({"SecretId": "bench/db"})


def signed(port):
    """The headers of one request of now, which a server takes for five minutes."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    host, day = "127.0.0.1:{}".format(port), stamp[:8]
    names = "content-type;host;x-amz-date;x-amz-target"
    values = "content-type:{}\nhost:{}\nx-amz-date:{}\nx-amz-target:{}\n".format(TYPE, host, stamp, TARGET)
    digest = hashlib.sha256(BODY.encode()).hexdigest()
    request = "\n".join(["POST", "/", "", values, names, digest])
    scope = "{}/{}/secretsmanager/aws4_request".format(day, REGION)
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + KEY).encode()
    for part in (day, REGION, "secretsmanager", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return {
        "Host": host, "Content-Type": TYPE, "X-Amz-Date": stamp, "X-Amz-Target": TARGET,
        "Authorization": "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}".format(
            KEY_ID, scope, names, signature),
    }


def start_aws_hit(lab):
    """One copied secret, which stays in the read cache, asked for on the aws wire."""
    port = free_port()
    key = lab.file("access-key.json", json.dumps({"access_key_id": KEY_ID, "secret_access_key": KEY}))
    listener = {"wire": "aws", "address": "127.0.0.1:{}".format(port), "account": ACCOUNT, "region": REGION,
                "paths": [{"from": "**", "to": "apps/**"}]}
    client = {"principal": "bench/client", "groups": ["bench"], "folders": ["apps/bench"], "file": str(key)}
    made = copier(lab, "aws-hit", "bench", listener=listener, access_key=client)
    made.server.url = "http://127.0.0.1:{}".format(port)
    return lab.row("scaivault-proxy, copy, aws wire, signature verified", made.server, "/", signed(port),
                   # text comes out of the object the other store wrapped it in
                   lambda body: {"value": body["SecretString"]}, prepare=lambda: copied(made, 1), audit=made.audit,
                   body=BODY, renew=lambda: signed(port))

"""What schemathesis must know of the sidecar beyond its OpenAPI document.

Loaded by schemathesis (SCHEMATHESIS_HOOKS), which host-tests/src/schemathesis.rs runs.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import time

import schemathesis
from requests.auth import AuthBase, HTTPBasicAuth

# Things that exist, by their names in a path or a form.
KNOWN = json.loads(os.environ["WARDGATE_KNOWN"])
FEED_SECRET = os.environ["WARDGATE_FEED_SECRET"]
# Id and secret of a registered client, if there is one.
CLIENT = json.loads(os.environ["WARDGATE_CLIENT"])
# Readers of JSON need not agree on what is near the end of double precision.
GREATEST = 1e300


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Half of the names become those of things that exist: behind a name that nobody has there is
    not much to find."""
    if not isinstance(path_parameters, dict):
        return path_parameters
    return {name: known(name, value) for name, value in path_parameters.items()}


def known(name, value):
    names = KNOWN.get(name)
    if names and isinstance(value, str) and len(value) % 2 == 0:
        return names[len(value) // 2 % len(names)]
    return value


@schemathesis.hook
def map_body(context, body):
    """To JSON Schema 95.0 is a whole number, and to the reader it is not: what the schema calls a
    whole number is written as one. And no number is greater than what 64 bits can hold."""
    if isinstance(body, dict):
        return {name: map_body(context, value) for name, value in body.items()}
    if isinstance(body, list):
        return [map_body(context, value) for value in body]
    if isinstance(body, (int, float)) and not isinstance(body, bool) and abs(body) > GREATEST:
        return 0
    if isinstance(body, float) and body.is_integer():
        return int(body)
    return body


@schemathesis.hook
def before_call(context, case, kwargs):
    """Half of the forms are those of a client that authenticates in one way only, and show tokens
    that exist."""
    form = case.body
    if not case.path.startswith("/oauth2/") or not isinstance(form, dict) or len(form) % 2:
        return
    for name in ("client_id", "client_secret", "client_assertion", "client_assertion_type"):
        form.pop(name, None)
    for name, value in form.items():
        form[name] = known(name, value)


class FeedMac(AuthBase):
    """The MAC of docs/internal-protocol.md."""

    def __call__(self, request):
        body = request.body or b""
        if isinstance(body, str):
            body = body.encode()
        now, nonce = int(time.time()), os.urandom(16)
        parts = [
            b"wardgate internal request v1",
            request.method.encode(),
            request.path_url.encode(),
            struct.pack(">Q", now),
            nonce,
            body,
        ]
        mac = hmac.new(decoded(FEED_SECRET), digestmod=hashlib.sha256)
        for part in parts:
            mac.update(struct.pack(">Q", len(part)) + part)
        value = f"v1,t={now},n={encoded(nonce)},m={encoded(mac.digest())}"
        request.headers["x-wardgate-mac"] = value
        return request


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


schemathesis.auth.set_from_requests(FeedMac()).apply_to(path_regex="^/internal/")
if CLIENT:
    schemathesis.auth.set_from_requests(HTTPBasicAuth(*CLIENT)).apply_to(path_regex="^/oauth2/")


@schemathesis.check
def what_the_schema_allows_is_not_malformed(context, response, case):
    """A body of the form that the document describes may be refused for what it says; never for its
    form. What filters send has one reason for both."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.path.startswith("/internal/"):
        return
    if response.status_code == 400 and reason(response) == "malformed":
        raise AssertionError(f"refused as malformed: {response.text}")


def reason(response):
    try:
        return response.json().get("reason")
    except (ValueError, AttributeError):
        return None

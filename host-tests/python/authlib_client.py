"""The PyPI package Authlib drives every grant, binding, revocation and introspection.

Reads addresses, clients and users as JSON from the standard input and writes a report of steps: what
was expected, and what came.
"""

import base64
import hashlib
import json
import secrets
import sys
import time

import requests
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import ECKey

SETTINGS = json.load(sys.stdin)
CLIENTS, USER = SETTINGS["clients"], SETTINGS["user"]
RESOURCE = SETTINGS["resource"]
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
STEPS = []


def step(name, expected, act):
    """Does something, and notes what was expected and what came."""
    try:
        got = act()
    except OAuthError as error:
        got = error.error
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
    STEPS.append({"step": name, "expected": expected, "got": got, "passed": got == expected})


def until(expected, ask):
    """Asks until the answer is the expected one, and gives the last."""
    deadline = time.monotonic() + 30
    while True:
        got = ask()
        if got == expected or time.monotonic() > deadline:
            return got
        time.sleep(0.02)


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(token):
    """The claims of a JWT, unverified: only to look at."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class Proofs(requests.auth.AuthBase):
    """Proofs of possession (RFC 9449), which Authlib does not make: wraps its authentication."""

    def __init__(self, inner=None, token=None):
        self.key = ECKey.generate_key("P-256")
        self.inner, self.token, self.nonce = inner, token, None

    def wrap(self, inner=None, token=None):
        self.inner, self.token = inner, token
        return self

    def proof(self, method, url):
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.as_dict(private=False)}
        payload = {"jti": secrets.token_urlsafe(12), "htm": method, "htu": url, "iat": int(time.time())}
        if self.nonce:
            payload["nonce"] = self.nonce
        if self.token:
            payload["ath"] = unpadded(hashlib.sha256(self.token.encode()).digest())
        return jwt.encode(header, payload, self.key)

    def __call__(self, request):
        if self.inner:
            request = self.inner(request)
        if self.token:
            request.headers["Authorization"] = f"DPoP {self.token}"
        request.headers["DPoP"] = self.proof(request.method, request.url)
        return request

    def twice(self, send):
        """Sends once more when the first answer brings a nonce (RFC 9449 §8, §9)."""
        first = send()
        nonce = first.headers.get("DPoP-Nonce")
        asked = first.status_code in (400, 401) and nonce and nonce != self.nonce
        self.nonce = nonce or self.nonce
        return send() if asked else first


class Connection:
    """A registered client, talking by way of Authlib."""

    def __init__(self, entry):
        method = entry["token_endpoint_auth_method"]
        secret = entry.get("client_secret")
        if method == "private_key_jwt":
            secret = ECKey.import_key(entry["private_jwk"])
        # Authlib has no name for it: with mutual TLS the request only says which client it is.
        known = "none" if method == "tls_client_auth" else method
        self.entry = entry
        self.session = OAuth2Session(
            entry["client_id"],
            secret,
            token_endpoint_auth_method=known,
            revocation_endpoint_auth_method=known,
        )
        self.session.verify = SETTINGS["ca"]
        # Or a variable of the environment would name another authority.
        self.session.trust_env = False
        if "certificate_file" in entry:
            self.session.cert = (entry["certificate_file"], entry["key_file"])
        self.server = self.session.get(
            SETTINGS["issuer"] + "/.well-known/oauth-authorization-server", withhold_token=True
        ).json()
        if method == "private_key_jwt":
            audience = self.server["token_endpoint"]
            self.session.register_client_auth_method(PrivateKeyJWT(audience, alg="ES256"))

    def grant(self, grant_type, **parameters):
        return self.session.fetch_token(
            self.server["token_endpoint"], grant_type=grant_type, **parameters
        )

    def client_credentials(self, **parameters):
        return self.grant("client_credentials", **parameters)

    def refresh(self, token):
        return self.session.refresh_token(self.server["token_endpoint"], refresh_token=token)

    def exchange(self, **parameters):
        return self.grant(EXCHANGE, **parameters)

    def introspect(self, token):
        answer = self.session.introspect_token(self.server["introspection_endpoint"], token)
        return answer.json() if answer.ok else answer.status_code

    def revoke(self, token):
        return self.session.revoke_token(self.server["revocation_endpoint"], token).status_code

    def resource(self, token):
        self.session.token = {"access_token": token, "token_type": "Bearer"}
        return self.session.get(RESOURCE)

    def visit(self, token):
        return visit(self.resource(token))

    def bound(self, proofs):
        """A token bound to the key of the proofs."""
        inner = self.session.client_auth(self.session.token_endpoint_auth_method)
        answers = []
        self.session.register_compliance_hook(
            "access_token_response", lambda answer: answers.append(answer) or answer
        )

        def send():
            try:
                self.grant("client_credentials", auth=proofs.wrap(inner))
            except OAuthError as error:
                if error.error != "use_dpop_nonce":
                    raise
            return answers[-1]

        return proofs.twice(send).json()


def visit(answer):
    """What gate and upstream make of a request: the upstream answers with what it saw."""
    if answer.status_code != 200:
        return answer.status_code
    headers = dict(answer.json()["headers"])
    return {"subject": headers.get("x-wardgate-subject"), "authorization": headers.get("authorization")}


def visitor(subject):
    return {"subject": subject, "authorization": None}


def login(entry, password=None, **how):
    body = {"client_id": entry["client_id"], "name": USER["name"], "password": password or USER["password"]}
    if "client_secret" in entry:
        body["client_secret"] = entry["client_secret"]
    url = SETTINGS["issuer"] + "/auth/login"
    return requests.post(url, json=body, verify=SETTINGS["ca"], timeout=30, **how)


def authentication():
    for method in ("client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"):
        entry = CLIENTS[method]
        connection = Connection(entry)
        tokens = []

        def get():
            tokens.append(connection.client_credentials(scope="api:read"))
            return {"type": tokens[0]["token_type"], "sub": claims(tokens[0]["access_token"])["sub"]}

        step(f"client_credentials with {method}", {"type": "Bearer", "sub": entry["client_id"]}, get)
        step(
            f"the gate knows who {method} is",
            visitor(entry["client_id"]),
            lambda: connection.visit(tokens[0]["access_token"]),
        )
    wrong = Connection({**CLIENTS["client_secret_basic"], "client_secret": "wrong"})
    step("a wrong secret", "invalid_client", lambda: wrong.client_credentials())
    other = ECKey.generate_key("P-256").as_dict(private=True)
    forged = Connection({**CLIENTS["private_key_jwt"], "private_jwk": other})
    step("a key that is not the registered one", "invalid_client", lambda: forged.client_credentials())


def refreshing():
    entry = CLIENTS["first_party"]
    connection = Connection(entry)
    pair = login(entry).json()
    known = visitor(USER["id"])
    step("login with a wrong password", 400, lambda: login(entry, "wrong").status_code)
    step("the gate knows the user", known, lambda: connection.visit(pair["access_token"]))
    nexts = []

    def rotate():
        nexts.append(dict(connection.refresh(pair["refresh_token"])))
        return nexts[0]["refresh_token"] != pair["refresh_token"]

    step("refresh_token gives another pair", True, rotate)
    step(
        "a lost answer is given again",
        True,
        lambda: connection.refresh(pair["refresh_token"])["refresh_token"] == nexts[0]["refresh_token"],
    )

    def succeed():
        nexts.append(dict(connection.refresh(nexts[0]["refresh_token"])))
        return connection.visit(nexts[1]["access_token"])

    step("the successor is good", known, succeed)
    step("a token from before the last is reuse", "invalid_grant", lambda: connection.refresh(pair["refresh_token"]))
    step("and ends the family", "invalid_grant", lambda: connection.refresh(nexts[1]["refresh_token"]))
    step(
        "and its access tokens",
        401,
        lambda: until(401, lambda: connection.resource(nexts[1]["access_token"]).status_code),
    )


def revoking():
    entry = CLIENTS["first_party"]
    connection, inspector = Connection(entry), Connection(CLIENTS["introspector"])
    pair = login(entry).json()
    access, refresh = pair["access_token"], pair["refresh_token"]

    def look(token):
        found = inspector.introspect(token)
        return {"active": found["active"], "sub": found.get("sub")}

    step("introspection of an access token", {"active": True, "sub": USER["id"]}, lambda: look(access))
    step("introspection of a refresh token", {"active": True, "sub": USER["id"]}, lambda: look(refresh))
    step("introspection of nonsense", {"active": False}, lambda: inspector.introspect("nonsense"))

    def revoke():
        connection.revoke(access)
        return until(401, lambda: connection.resource(access).status_code)

    step("revocation of an access token", 401, revoke)
    step("it is not active", {"active": False}, lambda: inspector.introspect(access))
    step("revocation of a refresh token", 200, lambda: connection.revoke(refresh))
    step("it refreshes nothing", "invalid_grant", lambda: connection.refresh(refresh))
    step("revocation of nonsense is no error", 200, lambda: connection.revoke("nonsense"))


def exchanging():
    app, entry = CLIENTS["first_party"], CLIENTS["exchanger"]
    service = Connection(entry)
    pair = login(app).json()
    subject = {"subject_token": pair["access_token"], "subject_token_type": ACCESS_TOKEN}
    answers = []

    def narrow():
        answers.append(dict(service.exchange(scope="api:read", **subject)))
        found = claims(answers[0]["access_token"])
        return {"type": answers[0]["issued_token_type"], "sub": found["sub"], "scope": found["scope"]}

    step(
        "token exchange: the user, by the service",
        {"type": ACCESS_TOKEN, "sub": USER["id"], "scope": "api:read"},
        narrow,
    )
    step("the gate knows the user", visitor(USER["id"]), lambda: service.visit(answers[0]["access_token"]))

    def act():
        own = dict(service.client_credentials())
        answer = service.exchange(
            actor_token=own["access_token"], actor_token_type=ACCESS_TOKEN, **subject
        )
        return claims(answer["access_token"])["act"]["sub"]

    step("with the service as the actor", entry["client_id"], act)
    other = Connection(CLIENTS["client_secret_basic"])
    step("who may not exchange", "unauthorized_client", lambda: other.exchange(**subject))


def bound():
    entry = CLIENTS["client_secret_basic"]
    connection, proofs = Connection(entry), Proofs()
    answer = connection.bound(proofs)
    token = answer.get("access_token", "")
    send = lambda how: how.twice(
        lambda: requests.get(RESOURCE, auth=how.wrap(token=token), verify=SETTINGS["ca"], timeout=30)
    )
    step("DPoP: a token bound to a key", "DPoP", lambda: answer["token_type"])
    step("it is good with proofs of the key", visitor(entry["client_id"]), lambda: visit(send(proofs)))
    step("not with another key", 401, lambda: send(Proofs()).status_code)
    step("not as a plain bearer", 401, lambda: connection.resource(token).status_code)


def main():
    step("no token", 401, lambda: requests.get(RESOURCE, verify=SETTINGS["ca"], timeout=30).status_code)
    for part in (authentication, refreshing, revoking, exchanging, bound):
        # A part that cannot even begin is a step that failed, and the others still run.
        try:
            part()
        except Exception as error:
            STEPS.append({"step": part.__name__, "expected": None, "got": repr(error), "passed": False})
    json.dump(STEPS, sys.stdout)


main()

"""Judges tokens with another library.

Reads JSON lines: first the rules and the keys, then batches of tokens, each ended by an empty line.
Answers each token with its claims, or null when it is refused.
"""

import json
import sys
import types
from datetime import datetime


def pyjwt(rules, key_of):
    import jwt

    class Clock(datetime):
        """The clock of the library, standing at the second of the token."""

        second = 0

        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(cls.second, tz)

    jwt.api_jwt.datetime = Clock
    keys = [key_of(jwt, signer) for signer in rules["signers"]]
    required = {"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True}

    def judge(signer, now, token):
        Clock.second = now
        return jwt.decode(
            token,
            keys[signer],
            algorithms=rules["signers"][signer]["algorithms"],
            audience=rules["audiences"],
            issuer=rules["issuer"],
            leeway=rules["leeway_seconds"],
            options=required,
        )

    return judge


def key_as_jwk(jwt, signer):
    return jwt.PyJWK(signer["jwk"], algorithm=signer["algorithm"])


def key_as_pem(jwt, signer):
    if signer["pem"] is None:
        return jwt.utils.base64url_decode(signer["jwk"]["k"])
    return signer["pem"]


def jwcrypto(rules):
    import jwcrypto.jwk
    import jwcrypto.jwt

    clock = types.SimpleNamespace(time=lambda: clock.second, second=0)
    jwcrypto.jwt.time = clock
    keys = [jwcrypto.jwk.JWKSet(keys=jwcrypto.jwk.JWK(**one["jwk"])) for one in rules["signers"]]
    wanted = {"iss": rules["issuer"], "aud": rules["audiences"], "exp": None, "sub": None}

    def validate(signer, token, claims):
        reader = jwcrypto.jwt.JWT(
            algs=rules["signers"][signer]["algorithms"],
            check_claims=claims,
            expected_type="JWS",
            strict_serialization=True,
        )
        reader.leeway = rules["leeway_seconds"]
        reader.deserialize(token, keys[signer])
        return json.loads(reader.claims)

    def judge(signer, now, token):
        clock.second = now
        claims = validate(signer, token, wanted)
        # Named among the claims to check, it would have to be there.
        if "nbf" in claims:
            validate(signer, token, {**wanted, "nbf": None})
        return claims

    return judge


JUDGES = {
    "PyJWT with a JWK": lambda rules: pyjwt(rules, key_as_jwk),
    "PyJWT with PEM": lambda rules: pyjwt(rules, key_as_pem),
    "jwcrypto": jwcrypto,
}


def answer(judge, line):
    case = json.loads(line)
    try:
        claims = judge(case["signer"], case["now"], case["token"])
    # Whatever a library raises, a service that called it has not let the request in.
    except Exception:
        return "null"
    return json.dumps(claims)


def main():
    lines = iter(sys.stdin)
    judge = JUDGES[sys.argv[1]](json.loads(next(lines)))
    batch = []
    for line in lines:
        if line.strip():
            batch.append(line)
            continue
        sys.stdout.write("".join(answer(judge, one) + "\n" for one in batch))
        sys.stdout.flush()
        batch = []


main()

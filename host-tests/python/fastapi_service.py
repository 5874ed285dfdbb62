"""A service behind the gate: who asks stands in headers that only the gate writes."""

import os
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request


@dataclass(frozen=True)
class Caller:
    kind: str
    issuer: str | None
    subject: str | None
    roles: frozenset[str]
    scopes: frozenset[str]


def caller(request: Request) -> Caller:
    """Who the gate says is asking. Values are percent-encoded, so that no name can break a header."""

    def one(name: str) -> str | None:
        value = request.headers.get(f"x-wardgate-{name}")
        return None if value is None else unquote(value)

    def several(name: str, separator: str | None) -> frozenset[str]:
        value = request.headers.get(f"x-wardgate-{name}", "")
        return frozenset(unquote(item) for item in value.split(separator) if item)

    kind = one("auth")
    if kind is None:
        # The gate always says how it authenticated. Who got here without it went around Envoy.
        raise HTTPException(500, "this service must be reached through the gate")
    return Caller(kind, one("issuer"), one("subject"), several("roles", ","), several("scopes", None))


app = FastAPI()


@app.get("/things/{thing}")
def thing(thing: str, caller: Annotated[Caller, Depends(caller)]) -> dict:
    # A user is issuer and subject together: another issuer may have a user of the same name.
    owner = [caller.issuer, caller.subject]
    return {"thing": thing, "owner": owner, "may_edit": "editor" in caller.roles}


if __name__ == "__main__":
    # A Unix socket that only Envoy may open: nobody can go around the gate.
    uvicorn.run(app, uds=os.environ["SERVICE_SOCKET"], log_level="warning")

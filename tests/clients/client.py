"""Authlib as the client, PyJWT and joserfc as the services that verify: they read the metadata,
get tokens in every way there is, and hold them against the published keys. Then the same by
openid-client and jose, in client.mjs."""

import os
import subprocess
import sys
import time

import jwt
import requests
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt as jose_jwt
from joserfc.jwk import KeySet

from engine import Engine

DOCS = "https://docs.example"
WIKI = "https://wiki.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

# Where alice usually sits, and what with.
ALICE = {
    "ip": "10.10.4.7",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "device": {"id": "alice-laptop"},
}


class World:
    """An engine, its metadata, and the clients of the stories."""

    def __init__(self, engine):
        self.engine = engine
        self.report = engine.client("nightly-report", "service")
        self.intranet = engine.client("intranet", "service", "--audience", WIKI)
        self.docs = engine.client("docs", "service", "--audience", DOCS)
        self.web = engine.client("web", "gateway")
        place = engine.issuer + "/.well-known/oauth-authorization-server"
        self.metadata = requests.get(place, timeout=10).json()
        assert self.metadata["issuer"] == engine.issuer
        # A key that signs at once is one that nobody had time to fetch, so no cool-down.
        self.verifier = jwt.PyJWKClient(self.metadata["jwks_uri"], cooldown_duration=0)

    def session(self, client, method="client_secret_basic"):
        """Authlib's client."""
        assert method in self.metadata["token_endpoint_auth_methods_supported"]
        return OAuth2Session(client.id, client.secret, token_endpoint_auth_method=method)

    def token(self, client, **asked):
        """Asks the token endpoint."""
        return self.session(client).fetch_token(self.metadata["token_endpoint"], **asked)

    def verify(self, token, audience):
        """As a service does that knows the issuer and itself, twice: by PyJWT and by joserfc."""
        key = self.verifier.get_signing_key_from_jwt(token)
        claims = jwt.decode(
            token,
            key,
            algorithms=["ES256"],
            audience=audience,
            issuer=self.engine.issuer,
            options={"require": ["iss", "sub", "aud", "client_id", "iat", "exp", "jti"]},
        )
        assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
        keys = KeySet.import_key_set(requests.get(self.metadata["jwks_uri"], timeout=10).json())
        read = jose_jwt.decode(token, keys, algorithms=["ES256"])
        assert read.header["typ"] == "at+jwt" and read.claims == claims
        return claims

    def introspect(self, client, token):
        """What the engine tells this client of a token."""
        place = self.metadata["introspection_endpoint"]
        return self.session(client).introspect_token(place, token=token).json()

    def open_session(self, audience, scope):
        """Alice has signed in at the web application, which opens a session for her."""
        wish = {
            "subject": {"type": "User", "id": "alice"},
            "context": {**ALICE, "token": {"audience": audience, "scope": scope}},
        }
        headers = {"Authorization": f"Bearer {self.web.key}"}
        place = self.engine.issuer + "/v1/sessions"
        answer = requests.post(place, json=wish, headers=headers, timeout=10)
        assert answer.status_code == 201, answer.text
        return answer.json()


def a_service_gets_a_token_for_itself(world):
    for method in ("client_secret_basic", "client_secret_post"):
        got = world.session(world.report, method).fetch_token(
            world.metadata["token_endpoint"],
            grant_type="client_credentials",
            audience=DOCS,
            scope="read",
        )
        assert got["token_type"] == "Bearer" and got["expires_in"] <= 60, got
        assert "refresh_token" not in got
        claims = world.verify(got["access_token"], DOCS)
        assert claims["sub"] == "Service/nightly-report", claims
        assert claims["client_id"] == world.report.id and claims["scope"] == "read"


def a_token_is_good_for_its_audience_alone(world):
    got = world.token(
        world.report, grant_type="client_credentials", audience=DOCS, scope="read"
    )
    try:
        world.verify(got["access_token"], WIKI)
    except jwt.InvalidAudienceError:
        pass
    else:
        raise AssertionError("a token for one service was good at another")
    refused = world.session(world.report).post(
        world.metadata["token_endpoint"],
        data={"grant_type": "client_credentials", "scope": "read"},
        auth=(world.report.id, world.report.secret),
        withhold_token=True,
    )
    assert refused.json()["error"] == "invalid_target", refused.text


def a_session_is_refreshed(world):
    opened = world.open_session(WIKI, ["read"])
    first = opened["token"]
    claims = world.verify(first["access_token"], WIKI)
    assert claims["sub"] == "User/alice" and claims["sid"] == opened["id"], claims
    second = world.session(world.web).refresh_token(
        world.metadata["token_endpoint"], refresh_token=first["refresh_token"]
    )
    assert second["refresh_token"] != first["refresh_token"]
    again = world.verify(second["access_token"], WIKI)
    assert again["sid"] == opened["id"] and again["jti"] != claims["jti"]


def a_token_is_exchanged_for_the_next_service(world):
    token = world.open_session(WIKI, ["read"])["token"]["access_token"]
    original = world.verify(token, WIKI)
    got = world.token(
        world.intranet,
        grant_type=EXCHANGE,
        subject_token=token,
        subject_token_type=ACCESS_TOKEN,
        audience=DOCS,
        scope="read",
    )
    assert got["issued_token_type"] == ACCESS_TOKEN and "refresh_token" not in got
    claims = world.verify(got["access_token"], DOCS)
    assert claims["sub"] == "User/alice" and claims["act"]["sub"] == "Service/intranet"
    assert claims["original_jti"] == original["jti"] and claims["sid"] == original["sid"]
    assert claims["exp"] <= original["exp"]


def tokens_are_introspected_by_whom_they_are_for(world):
    got = world.token(
        world.report, grant_type="client_credentials", audience=DOCS, scope="read"
    )
    told = world.introspect(world.docs, got["access_token"])
    assert told["active"] is True and told["sub"] == "Service/nightly-report", told
    assert world.introspect(world.intranet, got["access_token"]) == {"active": False}
    assert world.introspect(world.docs, "nonsense") == {"active": False}


def what_is_revoked_ends_at_once(world):
    place = world.metadata["revocation_endpoint"]
    got = world.token(
        world.report, grant_type="client_credentials", audience=DOCS, scope="read"
    )
    done = world.session(world.report).revoke_token(place, token=got["access_token"])
    assert done.status_code == 200, done.text
    assert world.introspect(world.docs, got["access_token"]) == {"active": False}
    opened = world.open_session(WIKI, ["read"])["token"]
    done = world.session(world.web).revoke_token(place, token=opened["refresh_token"])
    assert done.status_code == 200, done.text
    assert world.introspect(world.intranet, opened["access_token"]) == {"active": False}


def keys_are_rotated_under_their_feet(world):
    asked = {"grant_type": "client_credentials", "audience": DOCS, "scope": "read"}
    before = world.token(world.report, **asked)["access_token"]
    world.verify(before, DOCS)
    old_key = jwt.get_unverified_header(before)["kid"]
    world.engine.command("signing-keys", "rotate", "--now")
    for _ in range(100):
        after = world.token(world.report, **asked)["access_token"]
        world.verify(after, DOCS)
        if jwt.get_unverified_header(after)["kid"] != old_key:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the new key does not sign")
    # What the old key signed holds until it ends.
    world.verify(before, DOCS)
    # The client's own key too: with the new secret it is the same client.
    made = world.engine.command("keys", "rotate", world.report.id)
    secret = made["key"].split(".", 1)[1]
    session = OAuth2Session(made["key_id"], secret)
    claims = world.verify(
        session.fetch_token(world.metadata["token_endpoint"], **asked)["access_token"], DOCS
    )
    assert claims["client_id"] == world.report.id


STORIES = [
    a_service_gets_a_token_for_itself,
    a_token_is_good_for_its_audience_alone,
    a_session_is_refreshed,
    a_token_is_exchanged_for_the_next_service,
    tokens_are_introspected_by_whom_they_are_for,
    what_is_revoked_ends_at_once,
    keys_are_rotated_under_their_feet,
]


def main():
    binary, node = sys.argv[1:]
    with Engine(binary) as engine:
        world = World(engine)
        for story in STORIES:
            story(world)
            print(f"authlib, PyJWT, joserfc: {story.__name__} ... ok", flush=True)
        clients = {
            "ISSUER": engine.issuer,
            "BINARY": binary,
            "CONFIG": engine.config,
            "REPORT": engine.client("nightly-report", "service").key,
            "INTRANET": world.intranet.key,
            "DOCS": world.docs.key,
            "WEB": world.web.key,
        }
        done = subprocess.run(["node", node], env={**os.environ, **clients}, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()

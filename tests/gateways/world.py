"""What stands around the gateways: the engine, an identity provider, the app; and what is done to
them in the middle of a case."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from programs import Process, free_port, wait_until

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SHOP = "https://shop.example"
INVOICES = "https://invoices.shop.example"
IDP = "https://idp.example"
# Whose session that is. Nobody has more than five at a time, so the one that gets old is carol's.
SUBJECTS = {"alice": "alice", "early": "carol", "early-too": "carol", "mallory": "mallory"}


class World:
    """The engine with the shop's settings, at ports of its own."""

    def __init__(self, binary):
        self.binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="portreeve-gateways-"))
        self.port, self.grpc_port, self.app_port = free_port(), free_port(), free_port()
        # Without its tests: they would stop the policy that comes in the middle of traffic.
        shop = HERE / "shop" / "policies"
        shutil.copytree(shop, self.folder / "policies", ignore=shutil.ignore_patterns("tests"))
        self.proof_key = ec.generate_private_key(ec.SECP256R1())
        self.idp_key = ec.generate_private_key(ec.SECP256R1())
        key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.idp_key.public_key()))
        keys = {"keys": [{**key, "kid": "idp", "alg": "ES256", "use": "sig"}]}
        (self.folder / "idp.json").write_text(json.dumps(keys))
        settings = (HERE / "shop" / "shop.toml").read_text()
        issuer = (
            f'[[issuers]]\nissuer = "{IDP}"\njwks_file = "{self.folder}/idp.json"\n'
            f'audience = "{SHOP}"\n'
        )
        # HAProxy passes on the client's own certificate alone: who signed it has to be known here.
        own = HERE.parent / "certificates"
        roots = (own / "root.pem").read_text() + (own / "issuing.pem").read_text()
        (self.folder / "roots.pem").write_text(roots)
        certificates = (
            '[tokens]\nclient_cert_from = ["127.0.0.1/32"]\nspiffe_trust_domains = ["example.org"]\n'
            f'client_cert_roots = "{self.folder}/roots.pem"\n'
            '[gateway.callers.haproxy]\ncertificate_from = "client-cert"\n'
            '[gateway.callers.caddy]\ncertificate_from = "client-cert"\n'
            '[gateway.callers.apache]\ncertificate_from = "client-cert"\n'
            '[gateway.callers.envoy-http]\ncertificate_from = "x-forwarded-client-cert"\n'
        )
        (self.folder / "portreeve.toml").write_text(settings + issuer + certificates)
        self.env = {
            "PORTREEVE_LISTEN": f"127.0.0.1:{self.port}",
            "PORTREEVE_GRPC_LISTEN": f"127.0.0.1:{self.grpc_port}",
            "PORTREEVE_DATA_DIR": str(self.folder / "var"),
            "PORTREEVE_POLICIES__DIR": str(self.folder / "policies"),
            # Moments instead of minutes.
            "PORTREEVE_SESSIONS__ROTATE_HANDLE_EVERY": "10s",
            "PORTREEVE_SESSIONS__HANDLE_OVERLAP": "1s",
        }
        self.url = f"http://127.0.0.1:{self.port}"
        self.engine = None
        self.app = None
        self.impostor = None
        self.opened = {}

    def open(self):
        """Starts the app, and makes the keys."""
        python = [sys.executable, "-B", str(HERE / "upstream.py"), str(self.app_port)]
        self.app = Process("app", python, self.folder)
        self.app.wait_for(self.app_port)
        self.login = self.key("login", "gateway")
        self.robot = self.key("robot", "service")

    def close(self):
        for process in (self.engine, self.app, self.impostor):
            if process:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # The engine.

    def command(self, *args):
        """Runs a command beside the engine; what it printed, as JSON."""
        done = subprocess.run(
            [self.binary, "--config", str(self.folder / "portreeve.toml"), *args, "--json"],
            env={**os.environ, **self.env},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"portreeve {' '.join(args)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def key(self, name, role):
        made = self.command("keys", "create", "--name", name, "--role", role)
        return made["key"]

    def limit_engine(self):
        """It answers a subject once a second."""
        self.stop_engine()
        limits = {"SUBJECT_PER_SECOND": "1", "SUBJECT_BURST": "2"}
        self.start_engine({f"PORTREEVE_LIMITS__{name}": value for name, value in limits.items()})

    def start_engine(self, more=None):
        """Until it is ready."""
        if self.impostor:
            self.impostor.kill()
            self.impostor = None
        command = [self.binary, "--config", str(self.folder / "portreeve.toml"), "serve"]
        env = {**self.env, **(more or {})}
        self.engine = Process("engine", command, ROOT, env, logs=self.folder)
        self.engine.wait_for(self.port)
        wait_until("the engine is ready", lambda: self.ask("GET", "/readyz")[0] == 200)

    def stop_engine(self):
        self.engine.kill()

    def freeze_engine(self):
        """It still has its sockets, so that connections come about; nobody answers."""
        os.killpg(self.engine.child.pid, signal.SIGSTOP)

    def thaw_engine(self):
        os.killpg(self.engine.child.pid, signal.SIGCONT)

    def ask(self, method, path, body=None, key=None, form=False, more=None):
        """Asks the engine itself; status and JSON."""
        headers = {"Authorization": f"Bearer {key}"} if key and not form else {}
        data = None
        if form:
            user = b64encode(":".join(key.split(".", 1)).encode()).decode()
            headers["Authorization"] = f"Basic {user}"
            data = urllib.parse.urlencode(body).encode()
        elif body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        headers |= more or {}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        except OSError:
            return 0, None
        try:
            return status, json.loads(text)
        except ValueError:
            return status, None

    # Whoever asks.

    def session(self, name, fresh=False):
        """A session that the login page opened; by name, so that steps can share it."""
        subject = SUBJECTS[name]
        if fresh or name not in self.opened:
            wish = {
                "subject": {"type": "User", "id": subject},
                "context": {"ip": "127.0.0.1", "user_agent": "test/1", "assurance": {"level": 1}},
            }
            status, told = self.ask("POST", "/v1/sessions", wish, self.login)
            if status != 201:
                raise RuntimeError(f"no session: {status} {told}")
            self.opened[name] = {**told, "since": time.monotonic()}
        return self.opened[name]

    def idp_token(self, age_seconds, amr, life_seconds=300):
        """As an identity provider signs it."""
        now = int(time.time())
        claims = {
            "iss": IDP,
            "aud": SHOP,
            "sub": "alice",
            "client_id": "browser",
            "iat": now - 1,
            "exp": now + life_seconds,
            "jti": os.urandom(8).hex(),
            "auth_time": now - age_seconds,
            "amr": amr,
        }
        return jwt.encode(claims, self.idp_key, "ES256", {"kid": "idp", "typ": "at+jwt"})

    def proof(self, request):
        """That whoever sends this request has the key (RFC 9449); `old …` was made a while ago."""
        age = 3600 if request.startswith("old ") else 0
        method, url = request.removeprefix("old ").split(" ")
        jti = os.urandom(8).hex()
        claims = {"htm": method, "htu": url, "jti": jti, "iat": int(time.time()) - age}
        if "bound" in self.opened:
            token = self.opened["bound"]["token"].encode()
            claims["ath"] = urlsafe_b64encode(sha256(token).digest()).rstrip(b"=").decode()
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.proof_key.public_key()))
        return jwt.encode(claims, self.proof_key, "ES256", {"typ": "dpop+jwt", "jwk": jwk})

    def robot_token(self, bound_by=None):
        """One of ours, for the shop; bound to a key where a request is given to prove that by."""
        wish = {"grant_type": "client_credentials", "audience": SHOP, "scope": "orders.read"}
        def ask():
            more = {"DPoP": self.proof(bound_by)} if bound_by else {}
            return self.ask("POST", "/oauth2/token", wish, self.robot, form=True, more=more)

        status, told = ask()
        # An engine that has just started cannot tell whether a proof was used before that.
        while bound_by and "just started" in told.get("error_description", ""):
            time.sleep(0.5)
            status, told = ask()
        if status != 200:
            raise RuntimeError(f"no token: {status} {told}")
        return told["access_token"]

    def credential(self, who):
        """The header with which somebody comes. What is tried there is in the table."""
        if who in ("alice in Latin-1", "alice in UTF-8"):
            theme = "\u00e9".encode(who.rpartition(" ")[2]).decode("latin-1")
            return f"Cookie: theme={theme}; __Host-portreeve={self.session('alice')['handle']}"
        if who in ("alice", "early", "early-too"):
            return f"Cookie: theme=dark; __Host-portreeve={self.session(who)['handle']}"
        if who == "early before":
            return f"Cookie: __Host-portreeve={self.opened['early']['before']}"
        if who == "mallory":
            return f"Cookie: __Host-portreeve={self.session('mallory')['handle']}"
        if who == "alice's session id":
            return f"Cookie: __Host-portreeve={self.session('alice')['id']}"
        if who == "alice twice":
            one = self.session("alice")["handle"]
            return f"Cookie: __Host-portreeve={one}; __Host-portreeve={one}"
        if who == "idp password":
            return f"Authorization: Bearer {self.idp_token(3600, ['pwd'])}"
        if who == "idp second factor":
            return f"Authorization: Bearer {self.idp_token(1, ['pwd', 'otp', 'mfa'])}"
        if who == "idp expired":
            return f"Authorization: Bearer {self.idp_token(7200, ['pwd'], life_seconds=-120)}"
        if who == "robot":
            self.opened.setdefault("robot", {"token": self.robot_token()})
            return f"Authorization: Bearer {self.opened['robot']['token']}"
        if who in ("bound robot", "bound robot as bearer"):
            if "bound" not in self.opened:
                self.opened["bound"] = {"token": self.robot_token(f"POST {self.url}/oauth2/token")}
            scheme = "DPoP" if who == "bound robot" else "Bearer"
            return f"Authorization: {scheme} {self.opened['bound']['token']}"
        if who == "nonsense":
            return "Authorization: Bearer nonsense"
        raise RuntimeError(f"nobody is called {who!r}")

    def keep(self, who, cookie):
        """The handle that came in a `Set-Cookie`, as a browser keeps it."""
        session = self.opened[who]
        session["before"] = session["handle"]
        session["handle"] = cookie.split(";")[0].split("=", 1)[1]

    # What is done in the middle of a case, by the words of the table.

    def do(self, what):
        verb, _, rest = what.partition(" ")
        getattr(self, "do_" + verb.replace("-", "_"))(rest)

    def do_open(self, who):
        """`open alice`: a new session."""
        self.session(who, fresh=True)

    def do_step_up(self, rest):
        """`step-up alice 3`: the login page saw a second factor."""
        who, level = rest.split(" ")
        session = self.opened[who]
        path = f"/v1/sessions/{session['id']}/step-up"
        status, told = self.ask("POST", path, {"level": int(level)}, self.login)
        if status != 200:
            raise RuntimeError(f"no step-up: {status} {told}")
        if "handle" in told:
            session["handle"] = told["handle"]

    def do_end(self, who):
        """`end alice`: her session, at once."""
        path = f"/v1/sessions/{self.opened[who]['id']}"
        status, told = self.ask("DELETE", path, key=self.login)
        if status not in (200, 204):
            raise RuntimeError(f"not ended: {status} {told}")

    def do_revoke(self, who):
        """`revoke robot`: its token, at once."""
        token = {"token": self.opened[who]["token"]}
        status, told = self.ask("POST", "/oauth2/revoke", token, self.robot, form=True)
        if status != 200:
            raise RuntimeError(f"not revoked: {status} {told}")

    def do_forget(self, who):
        """`forget robot`: the next one comes anew."""
        self.opened.pop(who, None)

    def do_age(self, rest):
        """`age early 10.2`: until a session is as old as that."""
        who, seconds = rest.split(" ")
        age = time.monotonic() - self.session(who)["since"]
        time.sleep(max(0.0, float(seconds) - age))

    def do_wait(self, seconds):
        time.sleep(float(seconds))

    def do_engine(self, what):
        {
            "down": self.stop_engine,
            "up": self.start_engine,
            "limited": self.limit_engine,
            "hangs": self.freeze_engine,
            "goes-on": self.thaw_engine,
        }[what]()

    def do_impostor(self, manner):
        """`impostor says-yes`: somebody else where the engine was, until it is `engine up` again."""
        self.stop_engine()
        python = [sys.executable, "-B", str(HERE / "impostor.py"), str(self.port), manner]
        self.impostor = Process("impostor", python, self.folder)
        self.impostor.wait_for(self.port)

    def do_office(self, _):
        """The engine, asked without a gateway, lets somebody in the office in."""
        told = {
            "Portreeve-Key": self.login,
            "X-Forwarded-Method": "GET",
            "X-Forwarded-Uri": "/office",
            "X-Forwarded-Host": "shop.example",
            "X-Forwarded-For": "203.0.113.5",
            "Cookie": self.credential("alice").removeprefix("Cookie: "),
        }
        request = urllib.request.Request(self.url + "/gateway/forward-auth", headers=told)
        urllib.request.urlopen(request, timeout=20).close()

    def do_rotate(self, _):
        """`rotate signing-keys`."""
        self.command("signing-keys", "rotate", "--now")

    def do_forbid(self, action):
        """`forbid orders.read`: by a policy that comes into the folder."""
        text = (
            '@id("closed")\n@reason("The shop is closed.")\n@severity("low")\n'
            f'forbid (principal, action == Action::"{action}", resource);\n'
        )
        (self.folder / "policies" / "closed.cedar").write_text(text)
        self.reload()

    def do_permit(self, _):
        """`permit again`."""
        (self.folder / "policies" / "closed.cedar").unlink()
        self.reload()

    def mend(self):
        """After a case that failed: the world as the next one expects it."""
        if self.engine.ended():
            self.start_engine()
        self.thaw_engine()
        if (self.folder / "policies" / "closed.cedar").exists():
            self.do_permit("again")
        self.opened.clear()

    def reload(self):
        os.kill(self.engine.child.pid, signal.SIGHUP)

    # What the app saw.

    def times_seen(self, case):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.app_port}/-/seen/{case}") as told:
            return json.load(told)["times"]

    def token_key(self, token):
        """The key that signed a token for the app; an error if it is not good there."""
        kid = jwt.get_unverified_header(token)["kid"]
        _, keys = self.ask("GET", "/.well-known/jwks.json")
        key = next(jwt.PyJWK(key) for key in keys["keys"] if key["kid"] == kid)
        claims = jwt.decode(token, key, ["ES256"], audience=INVOICES, issuer=self.url)
        assert claims["sub"] == "User/alice" and claims["scope"] == "invoices.read", claims
        return kid

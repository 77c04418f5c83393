"""An OpenID Connect issuer on this machine: a discovery document, a key set, and tokens, right and wrong."""

import base64
import hashlib
import hmac
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

AUDIENCE = "https://clarion.example"
NOW = 1_700_000_000
DISCOVERY, JWKS = "/.well-known/openid-configuration", "/keys"
KEYS: dict[str, Key] = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
}


GZIP = b"\x1f\x8b"


class Issuer:
    """Serves what `documents` says; `asked` counts the requests for each path."""

    def __init__(self) -> None:
        self.keys = dict(KEYS)
        self.documents: dict[str, tuple[int, bytes]] = {}
        self.asked: Counter[str] = Counter()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()
        self.publish()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """On the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Nobody answers on the port any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def publish(self, **changes: Any) -> None:
        """The documents, of the keys that there are."""
        keys = [key.as_dict(private=False) for key in self.keys.values()]
        self.say(DISCOVERY, {"issuer": self.url, "jwks_uri": f"{self.url}{JWKS}"} | changes)
        self.say(JWKS, {"keys": keys})

    def say(self, path: str, document: Any, status: int = 200) -> None:
        octets = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.documents[path] = status, octets

    def token(self, algorithm: str = "RS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Signed and right, but for the claims that are stated; None leaves one out."""
        key = self.keys["RS256" if algorithm == "PS256" else algorithm]
        stated = {"alg": algorithm, "kid": key.kid, "typ": "JWT"} | (header or {})
        stated = {name: value for name, value in stated.items() if value is not None}
        signed = f"{_base64(stated)}.{_base64(self.claims(**claims))}"
        model = jws.JWSRegistry.algorithms[algorithm]
        return f"{signed}.{_text(model.sign(signed.encode(), key))}"

    def unsigned(self, algorithm: str = "none", **claims: Any) -> str:
        """A token whose algorithm says that nobody signed it."""
        return f"{_base64({'alg': algorithm, 'kid': 'rsa'})}.{_base64(self.claims(**claims))}."

    def hmac(self) -> str:
        """HS256 with the public key as the secret, for a verifier that takes the algorithm from the token."""
        key = self.keys["RS256"]
        assert isinstance(key, RSAKey)
        signed = f"{_base64({'alg': 'HS256', 'kid': 'rsa'})}.{_base64(self.claims())}"
        digest = hmac.new(key.as_pem(private=False), signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{_text(digest)}"

    def claims(self, **changes: Any) -> dict[str, Any]:
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "4711", "iat": NOW, "nbf": NOW, "exp": NOW + 300}
        return {name: value for name, value in (usual | changes).items() if value is not None}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked[self.path] += 1
                status, octets = issuer.documents.get(self.path, (404, b"{}"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(octets)))
                if octets.startswith(GZIP):  # though nobody asked for it
                    self.send_header("Content-Encoding", "gzip")
                if 300 <= status < 400:
                    self.send_header("Location", octets.decode())
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, *_: Any) -> None: ...

        return Handler


def _base64(tree: dict[str, Any]) -> str:
    return _text(json.dumps(tree).encode())


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()

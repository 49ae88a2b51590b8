"""The key pair that the EHR's token endpoint knows us by: SMART backend services, for a client without a shared secret.

Here: what the private half signs, and the public half as it is registered there. Not here: where the key lies
(`settings`), and asking for a token (`wire`).
"""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIVES_SECONDS: Final = 240
"""SMART allows five minutes; the server's clock may be behind ours."""
SHORTEST_RSA: Final = 2048


class UnfitKey(ValueError):
    """No key that SMART asks for; the message says what is wanted, and nothing of what was given."""


def new_key() -> str:
    """A private key (EC P-384) as PEM."""
    made = generate_private_key(SECP384R1())
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


class ClientKey:
    """A private key of one of the two kinds that SMART asks each server to know: RSA (RS384), EC P-384 (ES384)."""

    def __init__(self, pem: str) -> None:
        """UnfitKey for anything else, and for a key behind a password: nobody is there to tell it."""
        try:
            private = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError):  # their texts may quote it
            raise UnfitKey("The key for the EHR is no private key in PEM that opens without a password.") from None
        if isinstance(private, RSAPrivateKey) and private.key_size >= SHORTEST_RSA:
            self._private, self._algorithm = private, "RS384"
            jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        elif isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP384R1):
            self._private, self._algorithm = private, "ES384"
            jwk = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        else:
            raise UnfitKey(
                f"The key for the EHR must be RSA of {SHORTEST_RSA} bits or more, or EC P-384, as SMART asks."
            )
        self._public = _named(jwk) | {"alg": self._algorithm, "use": "sig", "key_ops": ["verify"]}

    def assertion(self, client_id: str, audience: str) -> str:
        """That it is us who ask for a token at this address, for some minutes and for once."""
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "exp": int(time.time()) + LIVES_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self._private, self._algorithm, headers={"kid": self._public["kid"]})

    def form(self, client_id: str, token_url: str) -> dict[str, str]:
        """What a token is asked with, beside what is asked for."""
        return {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion(client_id, token_url),
        }

    def registered(self) -> dict[str, Any]:
        """The public half as a JWK Set."""
        return {"keys": [self._public]}


def _named(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """What a key is, with its thumbprint of RFC 7638 as its name: the same wherever it is asked for."""
    what = {name: jwk[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in jwk}
    digest = hashlib.sha256(orjson.dumps(what, option=orjson.OPT_SORT_KEYS)).digest()
    return what | {"kid": base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")}

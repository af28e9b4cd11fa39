"""Signed tokens (JWT, RFC 7519) by which push services know who asks: RS256 and ES256."""

import base64
import json
from collections.abc import Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sipgram.errors import SettingsError

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def load_key(pem: bytes, *, of: str) -> SigningKey:
    """Read a private key, RSA or of the curve P-256.

    Raises:
        SettingsError: it is none.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{of}: no private key in PEM form") from error
    if isinstance(key, rsa.RSAPrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise SettingsError(f"{of}: neither an RSA key nor one of the curve P-256")


def signed(
    key: SigningKey, claims: Mapping[str, object], *, header: Mapping[str, object] | None = None
) -> str:
    """Return the compact form of a token."""
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    head = {"alg": algorithm, "typ": "JWT", **(header or {})}
    text = f"{_coded(json.dumps(head).encode())}.{_coded(json.dumps(dict(claims)).encode())}"
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{text}.{_coded(signature)}"


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

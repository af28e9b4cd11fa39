"""A certificate of our own making, so that TLS works at the first start (RFC 5922 §4, RFC 5924)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from sipgram.errors import SettingsError

LIFETIME_DAYS: Final = 820
"""Phones and browsers refuse more than 825 days."""
RENEW_DAYS: Final = 30
"""With fewer days left a certificate is made anew."""
BACKDATED_DAYS: Final = 1
"""For phones whose clock is slow."""
COMMON_NAME_MAX: Final = 64
"""RFC 5280 appendix A.1, ub-common-name."""
MADE_BY: Final = "sipgram self-signed"
"""The organisation in its subject: by it we know which certificates are ours to replace."""
_SIP_DOMAIN: Final = ObjectIdentifier("1.3.6.1.5.5.7.3.20")
"""id-kp-sipDomain (RFC 5924)."""


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """What the certificate is to say, and the folder that it is kept in.

    ``domains`` are SIP domains; ``hosts`` are the hosts of listeners: a loopback one adds
    127.0.0.1 and ::1, another address itself.
    """

    folder: Path
    domains: Sequence[str]
    hosts: Sequence[str] = ()

    @property
    def cert(self) -> Path:
        """The certificate's file, PEM."""
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        """The private key's file, PEM, for its owner alone."""
        return self.folder / "key.pem"

    def ensure(self, now_utc: float) -> None:
        """Make what is missing, runs out within 30 days or names other domains.

        The key stays the same for ever, so that no crash leaves a pair that does not fit, and a
        phone that remembered the key is not lost. A certificate that somebody else made is
        never touched.

        Raises:
            SettingsError: naming the file that cannot be read or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.cert.exists() and not self._is_to_be_made(now_utc):
                return
            key = self._key()
            _write(self.cert, _certificate(key, self._names(), now_utc), mode=0o644)
        except OSError as error:
            raise SettingsError(f"cannot keep {error.filename}: {error.strerror}") from error

    def _is_to_be_made(self, now_utc: float) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(self.cert.read_bytes())
            organisation = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (ValueError, x509.ExtensionNotFound):
            return False  # Nothing of ours; whoever loads it says what is wrong with it.
        if [name.value for name in organisation] != [MADE_BY]:
            return False
        is_short = certificate.not_valid_after_utc - _at(now_utc) < timedelta(days=RENEW_DAYS)
        is_other = set(self._names()) - set(names.value)
        return bool(is_short or is_other or not self.key.exists())

    def _key(self) -> ec.EllipticCurvePrivateKey:
        if self.key.exists():
            try:
                key = serialization.load_pem_private_key(self.key.read_bytes(), password=None)
            except (ValueError, TypeError) as error:
                raise SettingsError(f"no private key in {self.key}: {error}") from error
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise SettingsError(f"private key in {self.key} is not ours: not elliptic")
            return key
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write(self.key, text, mode=0o600)
        return key

    def _names(self) -> list[x509.GeneralName]:
        names: list[x509.GeneralName] = []
        addresses: set[str] = set()
        for domain in self.domains:
            names.append(x509.UniformResourceIdentifier(f"sip:{domain}"))
            if _address(domain) is None:
                names.append(x509.DNSName(domain))
            else:
                addresses.add(domain.strip("[]"))
        for host in self.hosts:
            address = _address(host)
            if host == "localhost" or (address is not None and address.is_loopback):
                addresses |= {"127.0.0.1", "::1"}
            elif address is not None and not address.is_unspecified:
                addresses.add(str(address))
        return names + [x509.IPAddress(ip_address(text)) for text in sorted(addresses)]


def _certificate(
    key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], now_utc: float
) -> bytes:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, MADE_BY)]
    # RFC 5922 wants identities in subjectAltName; the CN is for people who look at a list.
    common = next((name.value for name in names if isinstance(name, x509.DNSName)), "")
    if 0 < len(common) <= COMMON_NAME_MAX:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, common))
    subject = x509.Name(parts)
    now = _at(now_utc)
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=BACKDATED_DAYS))
        .not_valid_after(now + timedelta(days=LIFETIME_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH, _SIP_DOMAIN]
            ),
            critical=False,
        )
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(file: Path, data: bytes, *, mode: int) -> None:
    """Put a file in place whole, never readable for more people than ``mode`` says."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _at(utc: float) -> datetime:
    return datetime.fromtimestamp(utc, UTC)

"""A certificate authority of the tests' own."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM


def name(text: str) -> x509.GeneralName:
    """Read ``URI:…``, ``DNS:…``, ``IP:…`` or ``EMAIL:…``."""
    kind, _, value = text.partition(":")
    match kind:
        case "URI":
            return x509.UniformResourceIdentifier(value)
        case "DNS":
            return x509.DNSName(value)
        case "IP":
            return x509.IPAddress(ip_address(value))
        case _:
            return x509.RFC822Name(value)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key: as objects, and in files."""

    certificate: x509.Certificate
    cert: str
    key: str

    @property
    def der(self) -> bytes:
        """The certificate as it comes over the wire."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


class Authority:
    """Issues certificates into a folder; ``ca`` is the file to trust."""

    def __init__(self, folder: Path, *, common_name: str = "tests") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _subject(common_name)
        certificate = (
            self._builder(self._subject, self._key.public_key(), days=10)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca = str(folder / f"{common_name}.ca.pem")
        Path(self.ca).write_bytes(certificate.public_bytes(PEM))

    def issue(
        self, *names: str, common_name: str = "", file: str = "leaf", days: float = 10
    ) -> Issued:
        """Make a certificate with these alternative names; without any it has no such field."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_subject(common_name), key.public_key(), days=days)
        if names:
            alternatives = x509.SubjectAlternativeName([name(text) for text in names])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        cert, key_file = self._folder / f"{file}.pem", self._folder / f"{file}.key"
        cert.write_bytes(certificate.public_bytes(PEM))
        key_file.write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return Issued(certificate, str(cert), str(key_file))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: float
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=20))
            .not_valid_after(now + timedelta(days=days))
        )


def _subject(common_name: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    return x509.Name(parts)

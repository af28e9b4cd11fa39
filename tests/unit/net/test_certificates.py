"""The files of TLS: what is made, renewed, refused and named (RFC 5922 §4)."""

import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sipgram.errors import SettingsError
from sipgram.net.certificates import Certificates
from sipgram.net.self_signed import LIFETIME_DAYS, MADE_BY, RENEW_DAYS, SelfSigned
from sipgram.net.sip_identity import sip_identities
from sipgram.net.tls import client_context
from sipgram.settings import TlsSettings

from .authority import Authority

NOW = 1_800_000_000.0
DAY_S = 86_400.0


def own(tmp_path: Path, *domains: str, hosts: tuple[str, ...] = ()) -> SelfSigned:
    return SelfSigned(tmp_path / "tls", domains or ("example.org",), hosts)


def certificate_in(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def names_in(file: Path) -> list[str]:
    found = certificate_in(file).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in found.value]


# ---- our own -----------------------------------------------------------------------------------


def test_the_first_start_makes_a_certificate(tmp_path: Path) -> None:
    made = own(tmp_path, "example.org", "localhost")
    made.ensure(NOW)

    certificate = certificate_in(tmp_path / "tls" / "cert.pem")
    assert names_in(made.cert) == ["sip:example.org", "example.org", "sip:localhost", "localhost"]
    assert sip_identities(ssl.PEM_cert_to_DER_cert(made.cert.read_text())) == {
        "example.org",
        "localhost",
    }
    assert certificate.not_valid_after_utc.timestamp() == NOW + LIFETIME_DAYS * DAY_S
    assert certificate.not_valid_before_utc.timestamp() == NOW - DAY_S
    assert sorted(path.name for path in made.folder.iterdir()) == ["cert.pem", "key.pem"]


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = own(tmp_path)
        made.ensure(NOW)
    finally:
        os.umask(old)

    assert made.key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("hosts", "addresses"),
    [
        (("127.0.0.1",), ["127.0.0.1", "::1"]),
        (("localhost", "::1"), ["127.0.0.1", "::1"]),
        (("192.0.2.1", "fe80::1%eth0"), ["192.0.2.1", "fe80::1"]),
        (("0.0.0.0", "::", "sip.example.org"), []),
    ],
)
def test_addresses_of_listeners_are_named(
    tmp_path: Path, hosts: tuple[str, ...], addresses: list[str]
) -> None:
    made = own(tmp_path, hosts=hosts)
    made.ensure(NOW)

    assert names_in(made.cert) == ["sip:example.org", "example.org", *addresses]


def test_a_domain_may_be_an_address_or_very_long(tmp_path: Path) -> None:
    domain = ".".join(["a" * 50] * 3)
    made = own(tmp_path, "[2001:db8::1]", domain)
    made.ensure(NOW)

    assert names_in(made.cert) == ["sip:[2001:db8::1]", f"sip:{domain}", domain, "2001:db8::1"]
    assert not certificate_in(made.cert).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert sip_identities(ssl.PEM_cert_to_DER_cert(made.cert.read_text())) == {
        "2001:db8::1",
        domain,
    }


@pytest.mark.parametrize(("left_days", "is_renewed"), [(RENEW_DAYS, False), (29.99, True)])
def test_it_is_renewed_when_it_runs_out(tmp_path: Path, left_days: float, is_renewed: bool) -> None:
    made = own(tmp_path)
    made.ensure(NOW)
    cert, key = made.cert.read_bytes(), made.key.read_bytes()

    made.ensure(NOW + (LIFETIME_DAYS - left_days) * DAY_S)

    assert (made.cert.read_bytes() != cert) is is_renewed
    assert made.key.read_bytes() == key


@pytest.mark.parametrize(
    ("domains", "is_renewed"),
    [(("a.example", "b.example"), False), (("a.example",), False), (("c.example",), True)],
)
def test_it_is_renewed_when_it_lacks_a_domain(
    tmp_path: Path, domains: tuple[str, ...], is_renewed: bool
) -> None:
    made = own(tmp_path, "a.example", "b.example")
    made.ensure(NOW)
    cert = made.cert.read_bytes()

    own(tmp_path, *domains).ensure(NOW)

    assert (made.cert.read_bytes() != cert) is is_renewed


def test_what_is_lost_is_made_again_with_the_same_key(tmp_path: Path) -> None:
    made = own(tmp_path)
    made.ensure(NOW)
    key = made.key.read_bytes()
    made.cert.unlink()
    (made.folder / "cert.new").write_text("left by a crash")

    made.ensure(NOW)
    assert made.key.read_bytes() == key

    made.key.unlink()
    made.ensure(NOW)
    client_context(ca=str(made.cert), cert=str(made.cert), key=str(made.key))


def test_a_certificate_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    made = own(tmp_path)
    made.folder.mkdir()
    issued = Authority(tmp_path).issue("DNS:example.org", days=1)
    made.cert.write_bytes(Path(issued.cert).read_bytes())
    made.key.write_bytes(Path(issued.key).read_bytes())

    made.ensure(NOW)

    assert made.cert.read_bytes() == Path(issued.cert).read_bytes()
    subject = certificate_in(made.cert).subject
    assert MADE_BY not in [attribute.value for attribute in subject]


@pytest.mark.parametrize("text", [b"", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_named(tmp_path: Path, text: bytes) -> None:
    made = own(tmp_path)
    made.folder.mkdir()
    made.key.write_bytes(text)

    with pytest.raises(SettingsError, match=r"no private key in .*key\.pem"):
        made.ensure(NOW)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("a file")

    with pytest.raises(SettingsError, match=r"cannot keep .*tls"):
        own(tmp_path).ensure(NOW)


# ---- the operator's ----------------------------------------------------------------------------


def loaded(tmp_path: Path, settings: TlsSettings) -> Certificates:
    return Certificates(
        settings, folder=tmp_path / "tls", domains=("example.org",), hosts=(), wall=lambda: NOW
    )


def test_what_is_shown_is_told(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("DNS:*.Example.org", "URI:sip:example.org")
    certificates = loaded(tmp_path, TlsSettings(cert=(issued.cert,), key=(issued.key,)))

    (first,) = certificates.shown
    assert first.file == issued.cert
    assert first.names == {"*.example.org", "example.org"}
    assert first.expires_utc == issued.certificate.not_valid_after_utc.timestamp()
    assert not (tmp_path / "tls").exists()


def test_a_certificate_without_alternative_names_is_chosen_by_its_common_name(
    tmp_path: Path,
) -> None:
    issued = Authority(tmp_path).issue(common_name="Sip.example.org")
    certificates = loaded(tmp_path, TlsSettings(cert=(issued.cert,), key=(issued.key,)))

    assert certificates.shown[0].names == {"sip.example.org"}


def test_our_own_is_renewed_by_a_reload(tmp_path: Path) -> None:
    now = [NOW]
    certificates = Certificates(
        TlsSettings(),
        folder=tmp_path / "tls",
        domains=("example.org",),
        hosts=(),
        wall=lambda: now[0],
    )
    before = certificates.shown[0].expires_utc

    now[0] += (LIFETIME_DAYS - 1) * DAY_S
    certificates.reload()

    assert certificates.shown[0].expires_utc == now[0] + LIFETIME_DAYS * DAY_S > before


def test_each_certificate_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"tls\.cert and tls\.key are not as many: 1 and 0"):
        loaded(tmp_path, TlsSettings(cert=("cert.pem",)))


@pytest.mark.parametrize("which", ["cert", "key", "ca"])
@pytest.mark.parametrize("fault", ["missing", "empty", "other"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, which: str, fault: str) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("DNS:example.org")
    files = {"cert": issued.cert, "key": issued.key, "ca": authority.ca}
    broken = Path(files[which])
    if fault == "missing":
        broken.unlink()
    else:
        broken.write_text("" if fault == "empty" else "no PEM at all")
    settings = TlsSettings(cert=(issued.cert,), key=(issued.key,), ca=authority.ca)

    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, settings)

    assert str(broken) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encrypted_key_is_refused_without_a_question(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("DNS:example.org")
    key = serialization.load_pem_private_key(Path(issued.key).read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    Path(issued.key).write_bytes(text)

    with pytest.raises(SettingsError, match=r"leaf\.key cannot be used"):
        loaded(tmp_path, TlsSettings(cert=(issued.cert,), key=(issued.key,)))


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one = authority.issue("DNS:one.example", file="one")
    two = authority.issue("DNS:two.example", file="two")

    with pytest.raises(SettingsError, match="key values mismatch"):
        loaded(tmp_path, TlsSettings(cert=(one.cert,), key=(two.key,)))

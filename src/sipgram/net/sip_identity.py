"""Which SIP domains a certificate speaks for (RFC 5922 §7).

That the certificate is valid at all, its chain, dates and usage, is checked before, by the TLS
handshake (``tls.py``).
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, Final

from sipgram.errors import ParseError
from sipgram.sip.message.uri import SipUri

_DNS_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", re.ASCII)


def sip_identities(der: bytes) -> frozenset[str]:
    """Return the domains in a certificate in DER form, lower case, IDN as A-labels (§7.1).

    Raises:
        ParseError: it is no certificate.
    """
    # A client's installation has no cryptography: it asks ``identities_of_peer``.
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        entries = [
            ("URI", name) for name in names.get_values_for_type(x509.UniformResourceIdentifier)
        ]
        entries += [("DNS", name) for name in names.get_values_for_type(x509.DNSName)]
        entries += [("IP Address", str(ip)) for ip in names.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        subject = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return _from_common_names(str(name.value) for name in subject)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ParseError(f"certificate cannot be read: {error}") from error
    return _from_alternative_names(entries)


def identities_of_peer(peer: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the same for a connection's ``get_extra_info("peercert")``, a dict of ``ssl``.

    It is empty when the peer showed no certificate, or one that nobody checked.
    """
    if not peer:
        return frozenset()
    if "subjectAltName" not in peer:
        subject = [pair for part in peer.get("subject", ()) for pair in part]
        return _from_common_names(value for name, value in subject if name == "commonName")
    return _from_alternative_names(peer["subjectAltName"])


def is_authority_for(der: bytes, domain: str) -> bool:
    """Whether a certificate in DER form speaks for a SIP domain (§7.2).

    Raises:
        ParseError: it is no certificate.
    """
    return is_among(sip_identities(der), domain)


def is_among(identities: frozenset[str], domain: str) -> bool:
    """Compare as §7.2 says: whole names without case, no suffixes, no wildcards."""
    return comparable(domain) in identities


def comparable(domain: str) -> str | None:
    """Return a domain in the form of an identity; None for what no certificate can speak for.

    A U-label that IDNA 2003 would turn into another name, such as "straße", is None: write its
    A-label instead. Addresses lose their brackets and are written the short way.
    """
    domain = domain.removesuffix(".")
    if not domain.isascii():
        wanted = unicodedata.normalize("NFC", domain).lower()
        try:
            domain = domain.encode("idna").decode("ascii")
            if domain.encode("ascii").decode("idna") != wanted:
                return None
        except UnicodeError:
            return None
    try:
        return str(ip_address(domain.strip("[]")))
    except ValueError:
        return domain.lower() or None


def _from_alternative_names(entries: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Apply step 1 of §7.1 to (type, value) pairs, types as ``ssl`` names them."""
    entries = tuple(entries)
    # "If the scheme of the URI is not 'sip'", or with an '@', "MUST NOT accept the value".
    uris = [v for kind, v in entries if kind == "URI" and v[:4].lower() == "sip:" and "@" not in v]
    if uris:
        # "Accept a [DNS] identifier ... if and only if no other identity is found that matches
        # the 'sip' URI type". A malformed one counts: whoever made it meant to be exact.
        names = [_host_of(uri) for uri in uris]
    else:
        # Addresses are not in the RFC: we take them for URIs that name one instead of a domain.
        names = [comparable(v) for kind, v in entries if kind in ("DNS", "IP Address")]
    return frozenset(name for name in names if name)


def _from_common_names(names: Iterable[str]) -> frozenset[str]:
    """§7.1 step 2: "If and only if the subjectAltName does not appear", the CN may be taken."""
    found = [name for name in names if _DNS_NAME.fullmatch(name)]
    return frozenset(found[0].lower().split()) if len(found) == 1 else frozenset()


def _host_of(uri: str) -> str | None:
    try:
        return comparable(SipUri.parse(uri.encode()).host.decode("ascii"))
    except ParseError:
        return None

"""The certificates that we show, chosen by SNI, loaded again without a restart (RFC 6066 §3)."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sipgram.errors import ParseError, SettingsError
from sipgram.net.self_signed import SelfSigned
from sipgram.net.sip_identity import sip_identities
from sipgram.net.tls import (
    check_readable,
    client_context,
    load_authorities,
    load_chain,
    secure,
)
from sipgram.settings import TlsSettings

_VERIFY: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


class ShownCertificate(NamedTuple):
    """One certificate that we show."""

    file: str
    names: frozenset[str]
    "Host names that it is chosen for, lower case, wildcards as they are."
    expires_utc: float


class _Loaded(NamedTuple):
    shown: tuple[ShownCertificate, ...]
    server: ssl.SSLContext
    client: ssl.SSLContext


class Certificates:
    """The contexts of all TLS connections; ``reload`` replaces them for new connections."""

    def __init__(
        self,
        settings: TlsSettings,
        *,
        folder: Path,
        domains: Sequence[str],
        hosts: Sequence[str],
        wall: Callable[[], float],
    ) -> None:
        """Load the certificates, or make one in ``folder`` when the settings name none.

        ``domains`` are our SIP domains, ``hosts`` the hosts of TLS listeners, ``wall`` gives
        seconds since 1970.

        Raises:
            SettingsError: naming the file that cannot be used.
        """
        if len(settings.cert) != len(settings.key):
            raise SettingsError(
                f"settings tls.cert and tls.key are not as many: "
                f"{len(settings.cert)} and {len(settings.key)}"
            )
        self._settings = settings
        self._own = SelfSigned(folder, domains, hosts)
        self._wall = wall
        self._loaded = self._load()

    @property
    def shown(self) -> tuple[ShownCertificate, ...]:
        """What is shown at present, the default first."""
        return self._loaded.shown

    def server_context(self) -> ssl.SSLContext:
        """Return the context for a connection that somebody opens to us now."""
        return self._loaded.server

    def client_context(self) -> ssl.SSLContext:
        """Return the context for a connection that we open now; it shows the first certificate."""
        return self._loaded.client

    def reload(self) -> None:
        """Read every file again (SIGHUP), and renew our own certificate when it runs out.

        Connections that are open keep what they have; so do all new ones when this raises. No
        session is resumed across it: each context has keys of its own for tickets.

        Raises:
            SettingsError: naming the file that cannot be used.
        """
        self._loaded = self._load()

    def _load(self) -> _Loaded:
        files = tuple(zip(self._settings.cert, self._settings.key, strict=True))
        if not files:
            self._own.ensure(self._wall())
            files = ((str(self._own.cert), str(self._own.key)),)
        shown = tuple(_look_at(cert) for cert, _ in files)
        contexts = [self._server_context(cert, key) for cert, key in files]
        by_name: dict[str, ssl.SSLContext] = {}
        for certificate, context in zip(shown, contexts, strict=True):
            for name in certificate.names:
                by_name.setdefault(name, context)  # Of two for one name the first counts.

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            chosen = _chosen(by_name, name)
            if chosen is not None:
                connection.context = chosen

        contexts[0].sni_callback = choose
        cert, key = files[0]
        client = client_context(ca=self._settings.ca, cert=cert, key=key)
        return _Loaded(shown, contexts[0], client)

    def _server_context(self, cert: str, key: str) -> ssl.SSLContext:
        context = secure(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        load_chain(context, cert, key)
        # OpenSSL takes the wish from the first context and the authorities from the chosen one.
        context.verify_mode = _VERIFY[self._settings.client_cert]
        if context.verify_mode != ssl.CERT_NONE:
            load_authorities(context, self._settings.ca, purpose=ssl.Purpose.CLIENT_AUTH)
        return context


def _chosen(by_name: dict[str, ssl.SSLContext], name: str | None) -> ssl.SSLContext | None:
    if not name:
        return None
    name = name.lower().removesuffix(".")
    return by_name.get(name) or by_name.get("*." + name.partition(".")[2])


def _look_at(file: str) -> ShownCertificate:
    """Read the names of the first certificate in a PEM file; a client may ask for any of them."""
    check_readable(file)
    try:
        certificate = x509.load_pem_x509_certificate(Path(file).read_bytes())
        names = sip_identities(certificate.public_bytes(Encoding.DER))
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = found.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        hosts = []
    except (ValueError, ParseError) as error:
        raise SettingsError(f"no certificate in {file}: {error}") from error
    expires_utc = certificate.not_valid_after_utc.timestamp()
    return ShownCertificate(file, names | {host.lower() for host in hosts}, expires_utc)

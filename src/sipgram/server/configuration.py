"""Settings from sipgram.toml, the environment and the command line, later ones first.

Each setting of ``settings.Settings`` is ``[section] key`` in the file and
``SIPGRAM_SECTION__KEY`` in the environment; an unknown one is an error that names the nearest.
"""

import difflib
import ipaddress
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sipgram.errors import PeerError, SettingsError
from sipgram.net.endpoint import Address
from sipgram.server.routing.outward import server_of
from sipgram.settings import Settings

PREFIX = "SIPGRAM_"
SOCKET_BUFFER_BYTES_MAX = 2**30
"""The system takes no larger one than 2**31 - 1."""
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")


def load(
    *,
    file: Path | None,
    environment: Mapping[str, str],
    flags: Mapping[str, Mapping[str, object]],
) -> Settings:
    """Put the settings together and check them.

    ``flags`` has a section's keys by section, only those that were given.

    Raises:
        SettingsError: one line naming what is wrong.
    """
    tree: dict[str, dict[str, object]] = {}
    if file is not None:
        _merge(tree, _from_file(file), source=str(file))
    _merge(tree, _from_environment(environment), source="environment")
    _merge(tree, flags, source="command line")
    try:
        settings = TypeAdapter(Settings).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"setting {name}: {first['msg']}: {first['input']!r}") from error
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """Refuse values that are out of bounds or contradict each other.

    Raises:
        SettingsError: one line naming what is wrong.
    """
    _check_numbers(settings)
    for domain in settings.server.domains:
        if not _DOMAIN.fullmatch(domain):
            raise SettingsError(f"setting server.domains: no host name: {domain!r}")
    if settings.server.http != "none":
        http_address(settings)
    listeners = [Address.parse(text) for text in settings.server.listen]
    if not listeners:
        raise SettingsError("setting server.listen is empty: nothing would be served")
    if not settings.server.domains:
        raise SettingsError("setting server.domains is empty")
    if settings.auth.mode == "none" and not settings.auth.insecure_open:
        if settings.server.http != "none":  # Phones come there too, by WebSocket.
            listeners.append(Address("ws", *http_address(settings), "/sip"))
        for listener in listeners:
            if not listener.is_loopback:
                raise SettingsError(
                    f"auth none on {listener} would relay for anybody: "
                    "use --auth digest, or --insecure-open if that is meant"
                )
    if not 1 <= settings.messaging.answer_s <= 20:
        raise SettingsError(
            f"setting messaging.answer_s is not from 1 to 20: {settings.messaging.answer_s}"
        )
    node = settings.server.node
    if len(node) != 2 or not node.isalnum() or not node.isascii():
        raise SettingsError(f"setting server.node is not two letters or digits: {node!r}")
    _check_networks(settings)
    _check_routing(settings)
    registrar = settings.registrar
    if not 0 < registrar.expires_min_s <= registrar.expires_s <= registrar.expires_max_s:
        raise SettingsError(
            "registrar.expires_min_s, expires_s and expires_max_s are not in ascending order"
        )


def _check_networks(settings: Settings) -> None:
    named = {"auth.trust": settings.auth.trust, "limits.blocked": settings.limits.blocked}
    for trunk in settings.routing.trunks:
        named[f"routing.trunks {trunk.name}: addresses"] = trunk.addresses
    for name, texts in named.items():
        for text in texts:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError as error:
                raise SettingsError(f"setting {name}: {error}") from error


def _check_routing(settings: Settings) -> None:
    """Refuse trunks that cannot be reached, and certificates that nobody would ask for."""
    routing = settings.routing
    needs_certificates = routing.federation
    for trunk in routing.trunks:
        if (trunk.numbers or trunk.domains) and not trunk.hosts:
            raise SettingsError(f"setting routing.trunks {trunk.name}: no hosts")
        for text in trunk.hosts:
            try:
                server_of(text)
            except PeerError as error:
                raise SettingsError(f"setting routing.trunks {trunk.name}: {error}") from error
        needs_certificates = needs_certificates or bool(trunk.certificates)
    if needs_certificates and settings.tls.client_cert == "none":
        raise SettingsError(
            "setting tls.client_cert is none: federation and trunks by certificate "
            "need optional or required"
        )
    if not routing.connections_max or not routing.hop_s:
        raise SettingsError("settings routing.connections_max and hop_s are above 0")


def http_address(settings: Settings) -> tuple[str, int]:
    """Return the host, without brackets, and the port that HTTP is served on.

    Raises:
        SettingsError: it is not HOST:PORT.
    """
    host, _, port = settings.server.http.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise SettingsError(f"setting server.http is not HOST:PORT: {settings.server.http!r}")
    return host.strip("[]"), int(port)


def _check_numbers(settings: Settings) -> None:
    """Refuse what is no number to count or wait by."""
    for section in fields(settings):
        values = getattr(settings, section.name)
        for field in fields(values):
            value = getattr(values, field.name)
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                name = f"{section.name}.{field.name}"
                raise SettingsError(f"setting {name} is not a number from 0 on: {value}")
    buffer_bytes = settings.transport.socket_buffer_bytes
    if buffer_bytes > SOCKET_BUFFER_BYTES_MAX:
        name = "transport.socket_buffer_bytes"
        raise SettingsError(f"setting {name} is over {SOCKET_BUFFER_BYTES_MAX}: {buffer_bytes}")


def _from_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, dict[str, object]]:
    tree: dict[str, dict[str, object]] = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        section, _, key = name.removeprefix(PREFIX).lower().partition("__")
        value: object = text
        if _is_list(section, key):
            value = [part.strip() for part in text.split(",") if part.strip()]
        tree.setdefault(section, {})[key] = value
    return tree


def _is_list(section: str, key: str) -> bool:
    default = getattr(getattr(Settings(), section, None), key, None)
    return isinstance(default, tuple)


def _merge(tree: dict[str, dict[str, object]], more: Mapping[str, Any], *, source: str) -> None:
    known = {field.name: getattr(Settings(), field.name) for field in fields(Settings)}
    for section, values in more.items():
        if section not in known:
            raise SettingsError(_unknown(f"{source}: section", section, list(known)))
        if not isinstance(values, Mapping):
            raise SettingsError(f"{source}: {section} is a section, not a value")
        names = [field.name for field in fields(known[section])]
        for key, value in values.items():
            if key not in names:
                raise SettingsError(_unknown(f"{source}: setting {section}.", key, names))
            tree.setdefault(section, {})[key] = value


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    spaced = what if what.endswith(".") else what + " "
    return f"{spaced}{name} is unknown; the nearest is {near}"

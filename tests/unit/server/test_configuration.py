"""Settings from three sources, and what they may not be (DESIGN.md §4)."""

from pathlib import Path

import pytest

from sipgram.errors import SettingsError
from sipgram.server.configuration import check, http_address, load
from sipgram.settings import ServerSettings, Settings


def loaded(
    text: str = "",
    *,
    tmp_path: Path | None = None,
    environment: dict[str, str] | None = None,
    flags: dict[str, dict[str, object]] | None = None,
) -> Settings:
    file = None
    if tmp_path is not None:
        file = tmp_path / "sipgram.toml"
        file.write_text(text, encoding="utf-8")
    return load(file=file, environment=environment or {}, flags=flags or {})


def test_without_anything_it_is_what_the_contract_says() -> None:
    settings = loaded()

    assert settings == Settings()
    assert settings.server.domains == ("localhost",)
    assert settings.server.listen == ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")
    assert settings.server.http == "127.0.0.1:8080"
    assert settings.server.data == "sipgram-data"
    assert settings.auth.mode == "digest"
    assert settings.messaging.answer_s == 5.0


def test_the_command_line_goes_before_the_environment_before_the_file(tmp_path: Path) -> None:
    settings = loaded(
        '[messaging]\nanswer_s = 2\nfork_s = 0.5\n[server]\nnode = "f1"\ndomains = ["a.example"]',
        tmp_path=tmp_path,
        environment={"SIPGRAM_MESSAGING__ANSWER_S": "3", "SIPGRAM_SERVER__NODE": "e1"},
        flags={"server": {"node": "c1"}},
    )

    assert settings.messaging.answer_s == 3.0
    assert settings.messaging.fork_s == 0.5
    assert settings.server.node == "c1"
    assert settings.server.domains == ("a.example",)


def test_the_environment_has_text_for_every_type() -> None:
    settings = loaded(
        environment={
            "SIPGRAM_SERVER__LISTEN": "udp:127.0.0.1:1, tcp:[::1]:2,",
            "SIPGRAM_TRANSPORT__HALF_MESSAGE_S": "0.2",
            "SIPGRAM_REGISTRAR__SPREAD": "false",
            "SIPGRAM_REGISTRAR__BINDINGS_MAX": "12",
            "SIPGRAM_PURE": "1",
            "HOME": "/",
        }
    )

    assert settings.server.listen == ("udp:127.0.0.1:1", "tcp:[::1]:2")
    assert settings.transport.half_message_s == 0.2
    assert settings.registrar.spread is False
    assert settings.registrar.bindings_max == 12


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[servr]\nnode = 'n1'", ("servr is unknown", "nearest is server", "sipgram.toml")),
        ("[server]\nlisten_on = []", ("server.listen_on", "nearest is listen")),
        ("[messaging]\nanswer = 1", ("messaging.answer", "nearest is answer_s")),
        ("server = 1", ("server is a section, not a value",)),
        ("[server\n", ("is not valid TOML",)),
    ],
)
def test_an_unknown_setting_of_the_file_names_the_nearest(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(text, tmp_path=tmp_path)

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SIPGRAM_SERVER__DOMAIN", ("environment", "server.domain ", "nearest is domains")),
        ("SIPGRAM_TRANSPROT__QUEUE", ("section transprot", "nearest is transport")),
    ],
)
def test_an_unknown_setting_of_the_environment_names_the_nearest(
    name: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(environment={name: "x"})

    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("messaging", "answer_s", "soon", "messaging.answer_s"),
        ("messaging", "answer_s", 0.99, "answer_s is not from 1 to 20: 0.99"),
        ("messaging", "answer_s", 20.01, "answer_s is not from 1 to 20: 20.01"),
        ("messaging", "answer_s", float("nan"), "messaging.answer_s"),
        ("messaging", "fork_s", -0.1, "messaging.fork_s is not a number from 0 on: -0.1"),
        ("messaging", "body_bytes_max", -1, "messaging.body_bytes_max"),
        ("transport", "half_message_s", float("inf"), "transport.half_message_s"),
        ("server", "drain_s", float("nan"), "server.drain_s"),
        ("server", "node", "n", "two letters or digits: 'n'"),
        ("server", "node", "n1x", "two letters or digits"),
        ("server", "node", "ñ1", "two letters or digits"),
        ("server", "node", "n-", "two letters or digits"),
        ("server", "listen", ("sctp:127.0.0.1:1",), "sctp:127.0.0.1:1"),
        ("transport", "socket_buffer_bytes", 2**30 + 1, "socket_buffer_bytes is over"),
        ("server", "listen", (), "server.listen is empty"),
        ("server", "domains", (), "server.domains is empty"),
        ("server", "domains", ('a"b',), "no host name"),
        ("server", "domains", ("sip:example.com",), "no host name: 'sip:example.com'"),
        ("server", "domains", ("",), "no host name"),
        ("server", "http", "8080", "HOST:PORT: '8080'"),
        ("server", "http", "127.0.0.1:65536", "HOST:PORT"),
        ("server", "http", "127.0.0.1:²", "HOST:PORT"),
        ("server", "log_format", "xml", "server.log_format"),
        ("auth", "mode", "basic", "auth.mode"),
        ("auth", "trust", ("example.com",), "auth.trust"),
        ("auth", "trust", ("192.0.2.0/33",), "auth.trust"),
        ("auth", "algorithms", ("SHA-1",), "auth.algorithms"),
        ("registrar", "expires_min_s", 3601, "not in ascending order"),
        ("registrar", "expires_min_s", 0, "not in ascending order"),
        ("registrar", "expires_max_s", 3599, "not in ascending order"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line(
    section: str, key: str, value: object, words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(flags={section: {key: value}})

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer_s", [1, 20])
def test_the_ends_of_a_range_are_allowed(answer_s: int) -> None:
    settings = loaded(flags={"messaging": {"answer_s": answer_s, "fork_s": 0}})

    assert settings.messaging.answer_s == answer_s


@pytest.mark.parametrize("domain", ["localhost", "Example.COM", "a-b.example", "my_net", "[::1]"])
def test_a_domain_is_a_host_name(domain: str) -> None:
    assert loaded(flags={"server": {"domains": (domain,)}}).server.domains == (domain,)


@pytest.mark.parametrize(
    ("listen", "is_refused"),
    [
        ("udp:127.0.0.1:5060", False),
        ("udp:127.1.2.3:5060", False),
        ("tcp:[::1]:5060", False),
        ("udp:localhost:5060", False),
        ("udp:0.0.0.0:5060", True),
        ("tcp:[::]:5060", True),
        ("udp:192.0.2.1:5060", True),
        ("udp:example.com:5060", True),
    ],
)
def test_auth_none_is_refused_off_loopback(listen: str, is_refused: bool) -> None:
    flags: dict[str, dict[str, object]] = {
        "server": {"listen": ("udp:127.0.0.1:5060", listen)},
        "auth": {"mode": "none"},
    }
    if is_refused:
        with pytest.raises(SettingsError, match=r"auth none on .* would relay for anybody"):
            loaded(flags=flags)
        flags["auth"]["insecure_open"] = True

    assert loaded(flags=flags).auth.mode == "none"


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:8080", ("::1", 8080)), ("web:80", ("web", 80))],
)
def test_http_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert http_address(Settings(server=ServerSettings(http=text))) == address


def test_http_none_is_no_address() -> None:
    check(Settings(server=ServerSettings(http="none")))


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*: No such file"):
        load(file=tmp_path / "none.toml", environment={}, flags={})


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "sipgram.toml"
    file.write_bytes(b"\xff\xfe")

    with pytest.raises(SettingsError, match="is not valid TOML"):
        load(file=file, environment={}, flags={})


TRUNK = '[[routing.trunks]]\nname = "x"\n'


def test_a_trunk_is_a_table_of_the_file(tmp_path: Path) -> None:
    text = TRUNK + 'hosts = ["a.example", "192.0.2.1:5070"]\nnumbers = ["+49"]\nmay_relay = true'
    (trunk,) = loaded(text, tmp_path=tmp_path).routing.trunks

    assert trunk.hosts == ("a.example", "192.0.2.1:5070")
    assert (trunk.numbers, trunk.may_relay) == (("+49",), True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TRUNK + 'numbers = ["+"]', "routing.trunks x: no hosts"),
        (TRUNK + 'hosts = ["a b"]', "routing.trunks x: URI is malformed"),
        (TRUNK + 'addresses = ["192.0.2.300"]', "routing.trunks x: addresses"),
        (TRUNK + 'certificates = ["x.example"]', "tls.client_cert is none"),
        (TRUNK + 'adresses = ["192.0.2.3"]', "adresses"),
        ("[routing]\nfederation = true", "tls.client_cert is none"),
        ("[routing]\nhop_s = 0", "routing.connections_max and hop_s"),
        ('[limits]\nblocked = ["x"]', "limits.blocked"),
    ],
)
def test_what_routing_and_limits_may_not_be(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=says):
        loaded(text, tmp_path=tmp_path)

"""Digest on the wire: vectors of the RFCs, and what real clients send (INTEROP.md 2b)."""

import pytest

from sipgram.errors import ParseError, UsageError
from sipgram.sip.message.digest import (
    HASHES,
    Challenge,
    answer,
    challenge_line,
    choose,
    expected_response,
    ha1,
    is_digest,
    parse_challenges,
    parse_credentials,
)

MUFASA = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", algorithm={}, response="{}"'
)
LEGACY = (
    b'Digest username="Mufasa",realm="testrealm@host.com",'
    b'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",uri="/dir/index.html",'
)


@pytest.mark.rfc("7616", "3.9.1")
@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_vectors_of_rfc_7616(algorithm: str, response: str) -> None:
    credentials = parse_credentials(MUFASA.format(algorithm, response).encode())

    hashed = ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm)

    assert credentials.algorithm == algorithm
    assert expected_response(credentials, b"GET", hashed) == response == credentials.response


@pytest.mark.parametrize(
    ("rest", "password", "response"),
    [
        (
            b'qop=auth,nc=00000001,cnonce="0a4f113b",',
            "Circle Of Life",
            "6629fae49393a05397450978507c4ef1",
        ),
        (b"", "Circle Of Life", "670fd8c2df070c60b045671b8b24ff02"),
        (b"", "CircleOfLife", "1949323746fe6a43ef61f9606e7febea"),
    ],
    ids=["rfc2617", "rfc2069", "rfc2069-erratum"],
)
def test_older_vectors_without_algorithm(rest: bytes, password: str, response: str) -> None:
    """RFC 7616 §3.3: without algorithm "it is assumed to be MD5"; RFC 2069 has no qop."""
    credentials = parse_credentials(LEGACY + rest + b'response="%b"' % response.encode())

    hashed = ha1("Mufasa", "testrealm@host.com", password)

    assert credentials.algorithm == "MD5"
    assert expected_response(credentials, b"GET", hashed) == response


def test_finch_quotes_nc_and_leaves_qop_out() -> None:
    credentials = parse_credentials(
        LEGACY + b'nc="00000001", response="1949323746fe6a43ef61f9606e7febea"'
    )

    assert (credentials.nc, credentials.qop, credentials.cnonce) == ("00000001", "", "")
    hashed = ha1("Mufasa", "testrealm@host.com", "CircleOfLife")
    assert expected_response(credentials, b"GET", hashed) == credentials.response


@pytest.mark.parametrize(
    "value",
    [
        b'digest username="a",realm="r",nonce="n",uri="sip:b",response="ab"',
        b'Digest\tUSERNAME = "a" , Realm="r",\r\n nonce="n" ,uri="sip:b", response=ab,',
        b'  Digest  username="a",, realm="r", nonce=n, uri=sip:b, response="ab"  ',
    ],
)
def test_case_blanks_and_folding_do_not_matter(value: bytes) -> None:
    assert parse_credentials(value)[:5] == ("a", "r", "n", "sip:b", "ab")


def test_commas_and_escapes_inside_quotes_are_text() -> None:
    credentials = parse_credentials(
        rb'Digest username="a, \"b\" \\ c", realm="x=y,z", nonce="", uri="sip:b;x=%2C", response="0"'
    )

    assert credentials.username == r'a, "b" \ c'
    assert credentials.realm == "x=y,z"
    assert credentials.nonce == ""


def test_bytes_that_are_not_utf8_hash_as_they_came() -> None:
    credentials = parse_credentials(
        b'Digest username="\xe9", realm="r", nonce="n", uri="sip:\xff", response="0"'
    )

    assert credentials.username == "\udce9"
    assert (
        len(expected_response(credentials, b"MESSAGE", ha1(credentials.username, "r", "p"))) == 32
    )


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b"Digest", "Authorization has no parameters"),
        (b"NoOneKnows x=y", "Authorization scheme is not Digest: NoOneKnows"),
        (b'Digest realm="r", nonce="n", uri="u", response="0"', "Authorization has no username"),
        (b'Digest username="a", realm="r"', "Authorization has no nonce"),
        (b'Digest username="a', "Authorization is broken after the scheme"),
        (b'Digest username="a" realm="r"', "Authorization is broken after the scheme"),
        (b'Digest username="a", realm=', "Authorization is broken after username"),
        (b'Digest username="a", username="b"', "Authorization has a parameter twice"),
    ],
)
def test_faults_are_named(value: bytes, fault: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_credentials(value)

    assert caught.value.reason == fault


@pytest.mark.parametrize(
    ("rest", "fault"),
    [
        (b"qop=auth, nc=00000001", "Authorization has qop but no cnonce"),
        (b"qop=auth, cnonce=c", "nc of Authorization is not 8 hexadecimal digits"),
        (b"qop=auth, cnonce=c, nc=0000000g", "nc of Authorization is not 8 hexadecimal digits"),
        (b"qop=auth, cnonce=c, nc=-1", "nc of Authorization is not 8 hexadecimal digits"),
        (b"qop=auth, cnonce=c, nc=000000001", "nc of Authorization is not 8 hexadecimal digits"),
    ],
)
def test_qop_needs_a_count_and_a_cnonce(rest: bytes, fault: str) -> None:
    """RFC 7616 §3.4: both "MUST be specified if a qop directive is sent"."""
    with pytest.raises(ParseError) as caught:
        parse_credentials(LEGACY + b'response="0", ' + rest)

    assert caught.value.reason == fault


def test_a_response_that_is_not_ascii_is_refused() -> None:
    with pytest.raises(ParseError, match="not hexadecimal"):
        parse_credentials(LEGACY + b'response="\xc3\xa9"')


@pytest.mark.parametrize(
    ("value", "digest"),
    [(b"Digest x=y", True), (b" DIGEST x=y", True), (b"Basic Zm9v", False), (b"", False)],
)
def test_other_schemes_are_told_apart(value: bytes, digest: bool) -> None:
    assert is_digest(value) is digest


def test_an_unknown_algorithm_is_our_mistake() -> None:
    credentials = parse_credentials(LEGACY + b'response="0", algorithm=token')

    assert credentials.algorithm == "TOKEN"
    with pytest.raises(UsageError, match="TOKEN"):
        expected_response(credentials, b"GET", "00")


def test_a_challenge_line_is_read_back() -> None:
    line = challenge_line(b"WWW-Authenticate", realm='a "b"', nonce="n", stale=True)

    assert line == (
        b'WWW-Authenticate: Digest realm="a \\"b\\"", nonce="n", algorithm=MD5, qop="auth", stale=true'
    )
    (challenge,) = parse_challenges([line.partition(b": ")[2]])
    assert challenge == Challenge('a "b"', "n", "MD5", ("auth",), "", True)


def test_challenges_in_one_header_or_in_many() -> None:
    """§7.3.1 forbids the list; some servers send it."""
    md5 = b'Digest realm="r", nonce="1", qop="auth,auth-int", opaque="o"'
    sha = b'Digest algorithm=SHA-256, realm="r", nonce="2", domain="sip:a"'

    together = parse_challenges([md5 + b", Basic realm=x, " + sha])

    assert together == parse_challenges([b"Negotiate", md5, b'Basic realm="x"', sha])
    assert together == [
        Challenge("r", "1", "MD5", ("auth", "auth-int"), "o"),
        Challenge("r", "2", "SHA-256"),
    ]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b'Digest nonce="1"', "WWW-Authenticate has no realm"),
        (b'Digest realm="1"', "WWW-Authenticate has no nonce"),
        (b'Digest realm="1', "WWW-Authenticate is broken after the scheme"),
    ],
)
def test_broken_challenges_are_named(value: bytes, fault: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_challenges([value])

    assert caught.value.reason == fault


@pytest.mark.rfc("8760", "2.4")
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["MD5"], "MD5"),
        (["MD5", "SHA-256"], "SHA-256"),
        (["SHA-256", "MD5"], "SHA-256"),
        (["MD5", "SHA-512-256"], "SHA-512-256"),
        (["MD5-SESS", "AKAV1-MD5", "MD5"], "MD5"),
        (["MD5-SESS"], None),
        ([], None),
    ],
)
def test_the_strongest_known_algorithm_is_chosen(offered: list[str], chosen: str | None) -> None:
    found = choose([Challenge("r", "n", algorithm) for algorithm in offered])

    assert (found and found.algorithm) == chosen


def test_a_challenge_for_auth_int_alone_cannot_be_answered() -> None:
    challenge = Challenge("r", "n", qop=("auth-int",))

    assert choose([challenge]) is None
    with pytest.raises(UsageError, match="auth-int"):
        answer(challenge, method=b"REGISTER", uri=b"sip:a", username="a", password="p", cnonce="c")


@pytest.mark.parametrize("algorithm", list(HASHES))
@pytest.mark.parametrize("qop", [(), ("auth",), ("auth", "auth-int")])
def test_an_answer_is_what_the_server_expects(algorithm: str, qop: tuple[str, ...]) -> None:
    challenge = Challenge('r"1"', "n", algorithm, qop, "o")

    value = answer(
        challenge,
        method=b"MESSAGE",
        uri=b"sip:bob@example.com",
        username="al\\ice",
        password="sécret",
        nc=10,
        cnonce="c",
    )

    credentials = parse_credentials(value)
    hashed = ha1("al\\ice", 'r"1"', "sécret", algorithm)
    assert credentials.response == expected_response(credentials, b"MESSAGE", hashed)
    assert credentials.nc == ("0000000a" if qop else "")
    assert credentials.opaque == "o"
    assert b"nc=" not in value or b"nc=0000000a" in value

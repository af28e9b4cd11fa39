"""Who gets in, and what the others are told (RFC 3261 §22, D3)."""

import pytest

from sipgram.errors import ParseError, UsageError
from sipgram.identity import AccountId, NodeId
from sipgram.services.auth.service import Authenticator, Denied
from sipgram.services.auth.store import Account
from sipgram.sip.message import digest
from sipgram.sip.message.nonce import NonceMint

REALM = "example.com"
ALICE = Account(AccountId(1), "alice", REALM, ("sip:alice@example.com",))
NOW = 1000.0


class OneAccount:
    """alice, whose password is ``secret``, in both forms of her name."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def account_of(self, user: str, domain: str) -> Account | None:
        return ALICE if (user, domain) == ("alice", REALM) else None

    def ha1_of(self, username: str, realm: str, algorithm: str) -> tuple[Account, str] | None:
        self.asked.append(username)
        if realm != REALM or username not in ("alice", "alice@example.com"):
            return None
        return ALICE, digest.ha1(username, realm, "secret", algorithm)


def mint(*, node: str = "n1", process: bytes = b"run1") -> NonceMint:
    return NonceMint(b"s" * 32, node=NodeId(node), process=process, lifetime_s=300.0)


def authenticator(*algorithms: str) -> Authenticator:
    return Authenticator(
        OneAccount(), mint=mint(), decoy=b"decoy", algorithms=algorithms or ("MD5",)
    )


def challenges(auth: Authenticator, *, now: float = NOW) -> list[digest.Challenge]:
    lines = auth.challenge_lines(REALM, proxy=False, stale=False, now=now)
    return digest.parse_challenges([line.partition(b": ")[2] for line in lines])


def answered(
    challenge: digest.Challenge, *, username: str = "alice", password: str = "secret", nc: int = 1
) -> bytes:
    return digest.answer(
        challenge,
        method=b"MESSAGE",
        uri=b"sip:bob@example.com",
        username=username,
        password=password,
        nc=nc,
        cnonce="c",
    )


def checked(auth: Authenticator, *values: bytes, now: float = NOW) -> Account | Denied:
    return auth.check(method=b"MESSAGE", credentials=values, realm=REALM, now=now, proxy=True)


def denied(*, stale: bool = False) -> Denied:
    return Denied(REALM, proxy=True, stale=stale)


@pytest.mark.parametrize("username", ["alice", "alice@example.com"])
def test_d3_the_name_is_taken_in_both_forms(username: str) -> None:
    auth = authenticator()
    (challenge,) = challenges(auth)

    assert checked(auth, answered(challenge, username=username)) is ALICE


@pytest.mark.parametrize(
    ("username", "password"), [("alice", "wrong"), ("nobody", "secret"), ("Alice", "secret")]
)
def test_an_unknown_user_and_a_wrong_password_look_the_same(username: str, password: str) -> None:
    auth = authenticator()
    (challenge,) = challenges(auth)

    assert checked(auth, answered(challenge, username=username, password=password)) == denied()


def test_no_credentials_or_those_of_others_are_challenged() -> None:
    auth = authenticator()
    (challenge,) = challenges(auth)
    elsewhere = answered(challenge._replace(realm="other.example"))
    sha = answered(challenge._replace(algorithm="SHA-256"))

    assert checked(auth) == denied()
    assert checked(auth, b"Basic Zm9vOmJhcg==", elsewhere, sha) == denied()
    assert checked(auth, elsewhere, answered(challenge)) is ALICE


def test_auth_int_was_never_offered() -> None:
    auth = authenticator()
    (challenge,) = challenges(auth)

    assert checked(auth, answered(challenge).replace(b"qop=auth", b"qop=auth-int")) == denied()


def test_broken_credentials_are_a_400() -> None:
    with pytest.raises(ParseError, match="has no username"):
        checked(authenticator(), b'Digest realm="example.com"')


def test_the_method_is_part_of_the_answer() -> None:
    auth = authenticator()
    (challenge,) = challenges(auth)

    outcome = auth.check(
        method=b"REGISTER", credentials=[answered(challenge)], realm=REALM, now=NOW, proxy=False
    )

    assert outcome == Denied(REALM, proxy=False, stale=False)


@pytest.mark.rfc("7616", "3.3")
def test_stale_only_when_the_password_was_right() -> None:
    """ "indicating that the previous request from the client was rejected because the nonce
    value was stale"; without it a phone asks its user for another password."""
    auth = authenticator()
    (challenge,) = challenges(auth)

    assert checked(auth, answered(challenge), now=NOW + 300) == denied(stale=True)
    assert checked(auth, answered(challenge, password="wrong"), now=NOW + 300) == denied()


@pytest.mark.parametrize(
    "nonce",
    [mint(node="n2").issue(NOW), mint(process=b"run0").issue(NOW), "made-up"],
    ids=["another node", "an earlier run", "nobody"],
)
def test_a_nonce_that_is_not_ours_is_stale(nonce: str) -> None:
    auth = authenticator()
    challenge = digest.Challenge(REALM, nonce, qop=("auth",))

    assert checked(auth, answered(challenge)) == denied(stale=True)


def test_d3_a_count_is_good_once_and_a_nonce_many_times() -> None:
    auth = authenticator()
    (challenge,) = challenges(auth)

    outcomes = [checked(auth, answered(challenge, nc=nc)) for nc in (1, 2, 2, 3)]

    assert outcomes == [ALICE, ALICE, denied(stale=True), ALICE]


def test_a_wrong_password_spends_no_count() -> None:
    auth = authenticator()
    (challenge,) = challenges(auth)
    checked(auth, answered(challenge, password="wrong"))

    assert checked(auth, answered(challenge)) is ALICE


def test_finch_answers_without_qop_and_reuses_the_nonce() -> None:
    """INTEROP.md 2b: qop-less answers though qop was offered, with ``nc`` quoted."""
    auth = authenticator()
    (challenge,) = challenges(auth)
    value = answered(challenge._replace(qop=())).replace(b", algorithm=MD5", b', nc="00000001"')

    assert checked(auth, value) is ALICE
    assert checked(auth, value, now=NOW + 299) is ALICE
    assert checked(auth, value, now=NOW + 300) == denied(stale=True)


def test_md5_alone_is_offered() -> None:
    """The only challenge that every phone of INTEROP.md 2b answers."""
    (line,) = authenticator().challenge_lines(REALM, proxy=True, stale=True, now=NOW)

    assert line.startswith(b'Proxy-Authenticate: Digest realm="example.com", nonce="n1')
    assert line.endswith(b'", algorithm=MD5, qop="auth", stale=true')
    assert b"\r\n" not in line


@pytest.mark.parametrize("order", [("SHA-256", "MD5"), ("MD5", "SHA-256")])
@pytest.mark.parametrize("phone", ["twinkle", "linphone", "finch", "jssip"])
def test_phones_that_survive_two_challenges_get_in(order: tuple[str, str], phone: str) -> None:
    auth = authenticator(*order)
    offered = challenges(auth)
    assert [challenge.algorithm for challenge in offered] == list(order)
    assert offered[0].nonce == offered[1].nonce
    md5 = next(challenge for challenge in offered if challenge.algorithm == "MD5")
    strongest = digest.choose(offered)
    assert strongest is not None

    match phone:
        case "twinkle":
            value = answered(offered[-1])  # Uses the last header.
        case "linphone":
            value = answered(strongest)
        case "finch":
            # MD5 with the first header's nonce, no algorithm and no qop.
            legacy = md5._replace(nonce=offered[0].nonce, qop=())
            value = answered(legacy).replace(b", algorithm=MD5", b"")
        case _:
            value = answered(offered[0])  # Uses the first header.

    assert checked(auth, value) is ALICE


@pytest.mark.parametrize("algorithms", [(), ("MD5", "SHA-1")])
def test_only_stored_algorithms_can_be_offered(algorithms: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="not of MD5 and SHA-256"):
        Authenticator(OneAccount(), mint=mint(), decoy=b"d", algorithms=algorithms)

"""Where webhooks may go, and how they are signed."""

import pytest

from sipgram.errors import SettingsError
from sipgram.services.webhooks import rules

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""Of the examples that Standard Webhooks publishes."""


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://user:pw@example.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "ftp://example.com/",
        "http:///x",
        "http://example.com/a b",
        "http://example.com/" + "a" * 2_000,
    ],
)
def test_urls_that_no_webhook_may_have(url: str) -> None:
    with pytest.raises(SettingsError):
        rules.check_url(url, may_be_private=False)


@pytest.mark.parametrize("url", ["https://example.com/a?b=c", "http://93.184.215.14:8080/"])
def test_urls_that_a_webhook_may_have(url: str) -> None:
    rules.check_url(url, may_be_private=False)


def test_a_signature_is_that_of_standard_webhooks() -> None:
    signed = rules.signature(
        SECRET,
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at_utc=1614265330,
        body=b'{"test": 2432232314}',
    )

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_backoff_doubles_up_to_an_hour() -> None:
    waits = [rules.backoff_s(tries, 5.0) for tries in (1, 2, 3, 10, 11, 500)]

    assert waits == [5.0, 10.0, 20.0, 2560.0, 3600.0, 3600.0]

"""Signatures that others can check, and when a message is tried again."""

import base64
import hashlib
import hmac
import secrets
import time

import openai
import pytest

from gateway.core.errors import BadConfiguration
from gateway.ledger.webhooks.delivery import MOST_TRIES, pause_after, signed, signing_keys, url_fault

BODY = b'{"type":"budget.threshold","data":{"team":"support"}}'


def test_the_official_sdk_accepts_a_signed_message_and_no_altered_one() -> None:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    headers = signed(signing_keys(secret), "msg_1", time.time(), BODY)
    verify = openai.OpenAI(api_key="-", webhook_secret=secret).webhooks.verify_signature
    verify(BODY.decode(), headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        verify(BODY.decode().replace("support", "finance"), headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        verify(BODY.decode(), headers | {"webhook-id": "msg_2"})


def test_a_plain_secret_signs_with_its_own_bytes() -> None:
    secret = "a plain secret,-of-the-operators".replace(" ", "-")
    headers = signed(signing_keys(secret), "msg_1", 1_800_000_000.9, BODY)
    assert headers["webhook-timestamp"] == "1800000000"
    digest = hmac.new(secret.encode(), b"msg_1.1800000000." + BODY, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_while_a_secret_is_replaced_messages_are_signed_with_both() -> None:
    old, new = "old-secret-of-the-operators", "whsec_" + base64.b64encode(b"n" * 32).decode()
    both = signed(signing_keys(f"{old} {new}"), "msg_1", 1.0, BODY)["webhook-signature"].split(" ")
    alone = [signed(signing_keys(one), "msg_1", 1.0, BODY)["webhook-signature"] for one in (old, new)]
    assert both == alone


@pytest.mark.parametrize(
    ("secret", "told"), [("short", "24 or more"), ("whsec_!!!", "base64"), ("whsec_YWJj", "3 bytes")]
)
def test_a_secret_that_is_weak_or_broken_is_refused_without_being_told(secret: str, told: str) -> None:
    with pytest.raises(BadConfiguration, match=told) as refused:
        signing_keys(secret)
    assert secret not in str(refused.value)


def test_without_a_secret_there_is_no_key() -> None:
    assert signing_keys(None) == signing_keys(" ") == ()


def test_tries_are_spread_over_about_a_day_and_then_end() -> None:
    pauses = [pause_after(tries, 0.5) for tries in range(1, MOST_TRIES)]
    told = [pause for pause in pauses if pause is not None]
    assert len(told) == len(pauses)
    assert told[:3] == [5.0, 15.0, 45.0]
    assert told == sorted(told)
    assert 20 * 3_600 < sum(told) < 26 * 3_600
    assert pause_after(MOST_TRIES, 0.5) is None
    assert pause_after(1, 0.0) == pytest.approx(4.0)
    assert pause_after(1, 1.0) == pytest.approx(6.0)


@pytest.mark.parametrize("url", ["", "ftp://x/y", "http://", "https://[half", "http://h:0/", "http://h:99999/"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    told = url_fault(url)
    assert told is not None
    assert "must be http(s)://" in told
    assert url_fault("https://hooks.example.com/x?y=1") is None

import base64

import pytest

from gateway.identity.access.session import Sealed, Session, SignIn

PEPPER = b"0123456789abcdef"
ANN = Session("ann@example.com", 100.0)


def test_what_was_sealed_is_what_is_opened() -> None:
    sealed = Sealed(PEPPER, "session", Session)
    assert sealed.opened(sealed.seal(ANN)) == ANN
    assert Sealed(PEPPER, "session", Session).opened(sealed.seal(ANN)) == ANN, "also in another process"


def test_another_pepper_or_another_kind_opens_nothing() -> None:
    text = Sealed(PEPPER, "session", Session).seal(ANN)
    assert Sealed(b"another pepper!!", "session", Session).opened(text) is None
    assert Sealed(PEPPER, "sign-in", Session).opened(text) is None
    assert Sealed(PEPPER, "session", SignIn).opened(text) is None


def test_no_changed_byte_goes_unseen() -> None:
    sealed = Sealed(PEPPER, "session", Session)
    whole = base64.urlsafe_b64decode(sealed.seal(ANN) + "==")
    for place in range(len(whole)):
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        assert sealed.opened(base64.urlsafe_b64encode(changed).decode()) is None
    for cut in range(len(whole)):
        assert sealed.opened(base64.urlsafe_b64encode(whole[:cut]).decode()) is None


@pytest.mark.parametrize("text", ["", "x", "=", "\u00e9", "a" * 100_000, "A" * 43])
def test_any_text_is_nobodys_session(text: str) -> None:
    assert Sealed(PEPPER, "session", Session).opened(text) is None

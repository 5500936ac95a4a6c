"""Secrets and personal data in text, by their form: found, told, and replaced. Names of people have no form."""

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import re2

Kind = Literal["SECRET", "EMAIL", "PHONE", "CARD", "IBAN", "IP", "ID"]


class Personal(NamedTuple):
    """A stretch of text that names a person or opens a door: text[start:end]."""

    kind: Kind
    start: int
    end: int


class _Form(NamedTuple):
    """gate: what a text with this form surely has, in RE2's words; pattern: the form itself."""

    kind: Kind
    gate: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]


def _always(_text: str) -> bool:
    return True


# Forms of keys as their issuers publish them; lengths are least lengths. The first of each two is its gate.
_KEY = r"[ A-Z]{0,20}PRIVATE KEY-----"
_SECRETS = (
    ("-----BEGIN ", rf"-----BEGIN{_KEY}(?:[^-]{{0,8000}}-----END{_KEY})?"),
    (r"sk-\w", r"\bsk-(?:proj-|ant-|svcacct-|admin-)?[A-Za-z0-9_-]{20,200}"),
    ("[sr]k_(?:live|test)_", r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,200}"),
    ("A[KS]IA[A-Z0-9]{16}", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("gh[pousr]_", r"\bgh[pousr]_[A-Za-z0-9]{30,255}"),
    ("github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{30,255}"),
    ("glpat-", r"\bglpat-[A-Za-z0-9_-]{20,100}"),
    ("xox[abeprs]-", r"\bxox[abeprs]-[A-Za-z0-9-]{10,250}"),
    ("AIza", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("hf_", r"\bhf_[A-Za-z0-9]{30,100}"),
    ("npm_", r"\bnpm_[A-Za-z0-9]{36}"),
    ("pypi-", r"\bpypi-[A-Za-z0-9_-]{50,300}"),
    (r"\.eyJ", r"\beyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,2000}"),
    (r"://[^\s/@]+@", r"(?<=://)[^\s:/@]{1,64}:[^\s:/@]{3,128}(?=@)"),
    (
        "(?i)passw(?:or)?d(?:: |=)|api_key=|api-key: |secret=",
        (
            r"(?i:(?<=\bpassword: )|(?<=\bpassword=)|(?<=\bpasswd=)|(?<=\bapi_key=)|(?<=\bapi-key: )|(?<=\bsecret=))"
            r"(?!<)[^\s\"',;]{6,128}"
        ),
    ),
    ("[Bb]earer [^ ]{20}", r"(?<=\b[Bb]earer )[A-Za-z0-9._~+/-]{20,2000}={0,2}"),
)


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isdecimal()]


def is_card(text: str) -> bool:
    """13 to 19 digits whose check sum (Luhn) works out, and that are no row of one digit."""
    digits = _digits(text)
    doubled = [2 * digit - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0 and len(set(digits)) > 1


def is_iban(text: str) -> bool:
    """An IBAN whose check sum (ISO 13616, modulo 97) works out."""
    bare = text.replace(" ", "")
    if not 15 <= len(bare) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in bare[4:] + bare[:4])) % 97 == 1


def _is_phone(text: str) -> bool:
    digits = _digits(text)
    # A date has eight digits or fewer and stands in twos and fours.
    return (
        7 <= len(digits) <= 15
        and len(set(digits)) > 2
        and not re.fullmatch(r"\d{4}[-/. ]\d{2}[-/. ]\d{2}.*|\d{2}[-/. ]\d{2}[-/. ]\d{4}", text)
    )


def _is_address(text: str) -> bool:
    parts = text.split(".")
    return all(int(part) <= 255 for part in parts) and not text.startswith(("0.", "127.", "255."))


def _is_spanish(text: str) -> bool:
    number = text[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1]


def _is_brazilian(text: str) -> bool:
    digits = _digits(text)
    for length in (9, 10):
        rest = sum(digit * weight for digit, weight in zip(digits[:length], range(length + 1, 1, -1), strict=True))
        if rest * 10 % 11 % 10 != digits[length]:
            return False
    return len(set(digits)) > 1


_NUMBERS: tuple[tuple[Kind, str, str, Callable[[str], bool]], ...] = (
    ("EMAIL", r"@[^ ]+\.", r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", _always),
    ("IBAN", r"[A-Z]{2}\d{2} ?[A-Z0-9]{4}", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b", is_iban),
    ("CARD", r"\d(?:[ -]?\d){12}", r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])", is_card),
    (
        "ID",
        r"\d{3}-\d{2}-\d{4}",
        r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])",
        _always,
    ),
    (
        "ID",
        r"[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]",
        r"\b(?![DFIQUV])[A-CEGHJ-PR-TW-Z](?![DFIOQUV])[A-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b",
        _always,
    ),
    ("ID", r"[XYZ\d]\d{7}[A-Z]", r"\b[XYZ\d]\d{7}[A-Z]\b", _is_spanish),
    ("ID", r"\d{3}\.\d{3}\.\d{3}-\d{2}", r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b", _is_brazilian),
    ("IP", r"\d\.\d{1,3}\.\d{1,3}\.\d", r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]|\.\d)", _is_address),
    ("PHONE", r"\+\d[\d ()/.-]{6}", r"(?<![\w+])\+\d[\d ()/.-]{6,17}\d(?!\w)", _is_phone),
    (
        "PHONE",
        r"\d{3}(?:[-. ]|\) ?)\d{3}[-. ]\d{4}",
        r"(?<![\w+./-])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-])",
        _is_phone,
    ),
    ("PHONE", r"0\d{2,4}[-/ ]\d{3}", r"(?<![\w+./-])0\d{2,4}[-/ ]\d{3,4}[- ]?\d{3,5}(?![\w-])", _is_phone),
)
# What is found first keeps its place: a card number is also many digits, as a telephone number is.
_FORMS = (
    *(_Form("SECRET", gate, re.compile(pattern), _always) for gate, pattern in _SECRETS),
    *(_Form(kind, gate, re.compile(pattern), holds) for kind, gate, pattern, holds in _NUMBERS),
)
# Which forms a text may hold, in one pass of an engine that looks at each byte once; most hold none.
_GATES = re2.Set.SearchSet()
for _form in _FORMS:
    _GATES.Add(_form.gate)
_GATES.Compile()


def personal_data(text: str) -> list[Personal]:
    """What stands in the text, in its order; stretches do not overlap."""
    try:
        forms = sorted(_GATES.Match(text) or ())
    except UnicodeEncodeError:
        # Half a surrogate pair: RE2 takes UTF-8 only.
        forms = list(range(len(_FORMS)))
    found: list[Personal] = []
    # A byte a character: comparing each with each would be hours for a text made of addresses.
    taken = bytearray(len(text)) if forms else bytearray()
    for one in _candidates(text, forms):
        if not any(taken[one.start : one.end]):
            taken[one.start : one.end] = b"\1" * (one.end - one.start)
            found.append(one)
    return sorted(found, key=lambda one: one.start)


def _candidates(text: str, forms: list[int]) -> Iterator[Personal]:
    for number in forms:
        kind, _, pattern, holds = _FORMS[number]
        for match in pattern.finditer(text):
            if holds(match[0]):
                yield Personal(kind, match.start(), match.end())

"""What the environment says (Twelve-Factor): read once, at the start."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gateway.core.errors import BadConfiguration
from gateway.core.values import Value

# A key shorter than this can be guessed; one of these has been published.
LEAST_ADMIN_KEY = 24
# Keys are confirmed every half second, and a database may take five to answer.
LEAST_KEYS_AGE = 6
WELL_KNOWN = frozenset({"changeme", "admin", "password", "secret", "sk-1234", "test"})


Durability = Literal["journal", "fsync", "database"]
DURABILITIES: dict[str, Durability] = {"journal": "journal", "fsync": "fsync", "database": "database"}


KnowledgeStore = Literal["auto", "sqlite", "database"]
KNOWLEDGE_STORES: dict[str, KnowledgeStore] = {"auto": "auto", "sqlite": "sqlite", "database": "database"}


class SignInSettings(Value, frozen=True):
    """How people sign in by OpenID Connect. client_secret: None for a public client. public_url: without a path."""

    issuer: str
    client_id: str
    client_secret: str | None
    public_url: str


class BooksSettings(Value, frozen=True):
    """How books are kept. durability: when an intent counts. redis_url: where parts of limits are lent.

    retention_months: whole months of rows kept beside the one of now; None keeps all. export: `parquet:...` or
    `clickhouse:...`, see ledger/export.
    """

    durability: Durability = "journal"
    redis_url: str | None = None
    retention_months: int | None = None
    webhook_secret: str | None = None
    export: str | None = None
    export_password: str | None = None


NO_BOOKS = BooksSettings()


class Settings(Value, frozen=True):
    """Where things are. Paths are absolute; database_url is SQLAlchemy's with an async driver.

    keys_max_age_seconds: how long known keys work while the database is away. sign_in: None when nobody signs in.
    migrates: whether a start brings the schema up to date, or waits until somebody has. knowledge_store: where
    collections are kept; `auto` is the database when that is PostgreSQL, else a SQLite file in the data folder.
    """

    policies: Path
    data: Path
    database_url: str
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int | None = None
    admin_key: str | None = None
    pepper: str | None = None
    max_body_bytes: int = 32 * 1024 * 1024
    max_file_bytes: int = 128 * 1024 * 1024
    drain_seconds: float = 30.0
    drain_delay_seconds: float = 0.0
    workers: int = 1
    keys_max_age_seconds: float = 3600.0
    metrics_auth: bool = False
    sign_in: SignInSettings | None = None
    books: BooksSettings = NO_BOOKS
    migrates: bool = True
    knowledge_store: KnowledgeStore = "auto"

    @property
    def most_bytes(self) -> tuple[int, int]:
        """Of a request's body, and of one that brings a file."""
        return self.max_body_bytes, self.max_file_bytes

    @property
    def has_knowledge_in_database(self) -> bool:
        """Whether collections are kept in the database and not in a file of the data folder."""
        return self.knowledge_store != "sqlite" and self.database_url.startswith("postgresql")


def read_settings(environment: Mapping[str, str], **given: object) -> Settings:
    """Settings from `GATEWAY_*` variables; `given` (from the command line) goes above them.

    Raises BadConfiguration for a value that cannot be, with the variable's name.
    """
    faults: list[str] = []

    def number(name: str, otherwise: int | None) -> int | None:
        return _number(environment, name, faults, otherwise)

    chosen = {key: value for key, value in given.items() if value is not None}
    data = Path(str(chosen.get("data") or environment.get("GATEWAY_DATA") or ".gateway")).resolve()
    policies = Path(str(chosen.get("policies") or environment.get("GATEWAY_POLICIES") or "policies")).resolve()
    port = chosen.get("port", number("GATEWAY_PORT", 8080))
    host = str(chosen.get("host") or environment.get("GATEWAY_HOST") or "127.0.0.1")
    workers = int(str(chosen.get("workers", number("GATEWAY_WORKERS", 1))))
    if workers < 1:
        faults.append(f"GATEWAY_WORKERS is {workers}; it must be 1 or more.")
    if not isinstance(port, int) or not 0 <= port <= 65535:
        faults.append(f"GATEWAY_PORT is {port!r}; it must be between 0 and 65535.")
    admin_key = secret(environment.get("GATEWAY_ADMIN_KEY"), environment, faults, "GATEWAY_ADMIN_KEY")
    if admin_key is not None and not is_loopback(host):
        faults.extend(_weak(admin_key))
    settings = Settings(
        policies=policies,
        data=data,
        database_url=database_url(environment.get("GATEWAY_DATABASE_URL"), data),
        host=host,
        port=port if isinstance(port, int) else 0,
        metrics_port=number("GATEWAY_METRICS_PORT", None),
        admin_key=admin_key,
        pepper=secret(environment.get("GATEWAY_KEY_PEPPER"), environment, faults, "GATEWAY_KEY_PEPPER"),
        max_body_bytes=number("GATEWAY_MAX_BODY_BYTES", 32 * 1024 * 1024) or 0,
        max_file_bytes=number("GATEWAY_MAX_FILE_BYTES", 128 * 1024 * 1024) or 0,
        drain_delay_seconds=float(number("GATEWAY_DRAIN_DELAY_SECONDS", 0) or 0),
        drain_seconds=float(number("GATEWAY_DRAIN_SECONDS", 30) or 0),
        workers=workers,
        keys_max_age_seconds=float(number("GATEWAY_KEYS_MAX_AGE_SECONDS", 3600) or 0),
        metrics_auth=_switch(environment, "GATEWAY_METRICS_AUTH", faults),
        sign_in=_sign_in(environment, faults),
        migrates=_switch(environment, "GATEWAY_MIGRATE", faults, otherwise=True),
        books=_books(environment, faults),
        knowledge_store=_knowledge_store(environment, faults),
    )
    if settings.keys_max_age_seconds < LEAST_KEYS_AGE:
        faults.append(f"GATEWAY_KEYS_MAX_AGE_SECONDS is below {LEAST_KEYS_AGE}; a slow answer would close the gateway.")
    if settings.knowledge_store == "database" and not settings.has_knowledge_in_database:
        faults.append("GATEWAY_KNOWLEDGE_STORE is database, which takes PostgreSQL; GATEWAY_DATABASE_URL names none.")
    if settings.metrics_auth and settings.metrics_port is not None:
        faults.append("GATEWAY_METRICS_AUTH guards the main port; leave GATEWAY_METRICS_PORT out beside it.")
    if faults:
        raise BadConfiguration(faults)
    return settings


def _number(environment: Mapping[str, str], name: str, faults: list[str], otherwise: int | None) -> int | None:
    text = environment.get(name)
    if text is None or text == "":
        return otherwise
    if not text.isascii() or not text.isdigit():
        faults.append(f"{name} is {text!r}; it must be a whole number.")
        return otherwise
    return int(text)


def _books(environment: Mapping[str, str], faults: list[str]) -> BooksSettings:
    def hidden(name: str) -> str | None:
        return secret(environment.get(name), environment, faults, name)

    months = _number(environment, "GATEWAY_RETENTION_MONTHS", faults, None)
    if months == 0:
        faults.append("GATEWAY_RETENTION_MONTHS is 0; it must be 1 or more, or unset to keep everything.")
    return BooksSettings(
        durability=_durability(environment, faults),
        redis_url=hidden("GATEWAY_REDIS_URL"),
        retention_months=months,
        webhook_secret=hidden("GATEWAY_WEBHOOK_SECRET"),
        export=environment.get("GATEWAY_EXPORT") or None,
        export_password=hidden("GATEWAY_EXPORT_PASSWORD"),
    )


def _durability(environment: Mapping[str, str], faults: list[str]) -> Durability:
    text = environment.get("GATEWAY_DURABILITY") or "journal"
    if text not in DURABILITIES:
        faults.append(f"GATEWAY_DURABILITY is {text!r}; it must be one of {', '.join(DURABILITIES)}.")
    return DURABILITIES.get(text, "journal")


def _knowledge_store(environment: Mapping[str, str], faults: list[str]) -> KnowledgeStore:
    text = environment.get("GATEWAY_KNOWLEDGE_STORE") or "auto"
    if text not in KNOWLEDGE_STORES:
        faults.append(f"GATEWAY_KNOWLEDGE_STORE is {text!r}; it must be one of {', '.join(KNOWLEDGE_STORES)}.")
    return KNOWLEDGE_STORES.get(text, "auto")


def _switch(environment: Mapping[str, str], name: str, faults: list[str], *, otherwise: bool = False) -> bool:
    text = environment.get(name, "").lower()
    if text not in {"", "true", "false", "1", "0"}:
        faults.append(f"{name} is {text!r}; it must be true or false.")
    return otherwise if text == "" else text in {"true", "1"}


def _sign_in(environment: Mapping[str, str], faults: list[str]) -> SignInSettings | None:
    issuer, client = environment.get("GATEWAY_OIDC_ISSUER"), environment.get("GATEWAY_OIDC_CLIENT_ID")
    if not issuer and not client:
        return None
    public = (environment.get("GATEWAY_PUBLIC_URL") or "").rstrip("/")
    for name, text in (
        ("GATEWAY_OIDC_ISSUER", issuer),
        ("GATEWAY_OIDC_CLIENT_ID", client),
        ("GATEWAY_PUBLIC_URL", public),
    ):
        if not text:
            faults.append(f"{name} is not set; signing in by OIDC needs it.")
    for name, text in (("GATEWAY_OIDC_ISSUER", issuer), ("GATEWAY_PUBLIC_URL", public)):
        if text and not is_safe_url(text):
            faults.append(f"{name} is {text!r}; it must begin with https:// (http:// only for this machine).")
    if public and urlsplit(public).path:
        faults.append(f"GATEWAY_PUBLIC_URL is {public!r}; it must end with the host or its port.")
    secret_text = environment.get("GATEWAY_OIDC_CLIENT_SECRET")
    client_secret = secret(secret_text, environment, faults, "GATEWAY_OIDC_CLIENT_SECRET")
    return SignInSettings(issuer or "", client or "", client_secret, public)


def is_safe_url(url: str) -> bool:
    """Whether what is sent to this address cannot be read under way: https, or this very machine."""
    try:
        split = urlsplit(url)
        host = split.hostname
    except ValueError:
        return False
    plain = split.query or split.fragment or split.username is not None or any(mark in url for mark in "?#@ ")
    return (
        bool(host) and not plain and (split.scheme == "https" or (split.scheme == "http" and is_loopback(host or "")))
    )


def _weak(key: str) -> list[str]:
    if len(key) < LEAST_ADMIN_KEY or key.lower() in WELL_KNOWN:
        return [
            f"GATEWAY_ADMIN_KEY is short or well known; outside loopback it must have {LEAST_ADMIN_KEY} characters."
        ]
    return []


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def database_url(written: str | None, data: Path) -> str:
    """SQLAlchemy's URL with an async driver; SQLite under the data folder when none is written."""
    if not written:
        return f"sqlite+aiosqlite:///{data / 'gateway.db'}"
    for short, full in (
        ("sqlite:///", "sqlite+aiosqlite:///"),
        ("postgresql://", "postgresql+asyncpg://"),
        ("postgres://", "postgresql+asyncpg://"),
    ):
        if written.startswith(short):
            return full + written.removeprefix(short)
    return written


def secret(
    reference: str | None, environment: Mapping[str, str], faults: list[str] | None = None, name: str = ""
) -> str | None:
    """What `env:NAME` or `file:PATH` holds, without surrounding white space; other text is itself.

    What cannot be read is None, and a line in `faults`, which never holds the secret.
    """
    if reference is None or reference == "":
        return None
    if reference.startswith("env:"):
        variable, _, otherwise = reference.removeprefix("env:").partition(":-")
        found = environment.get(variable) or otherwise or None
        if found is None and faults is not None:
            faults.append(f"{name}: the environment variable {variable} is not set.")
        return found
    if reference.startswith("file:"):
        try:
            return Path(reference.removeprefix("file:")).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as fault:
            if faults is not None:
                faults.append(f"{name}: {reference} cannot be read ({type(fault).__name__}).")
            return None
    return reference


def environment() -> Mapping[str, str]:
    """The process's environment; the one place that reads it."""
    return os.environ

from pathlib import Path

import pytest

from gateway.core.errors import BadConfiguration
from gateway.core.settings import database_url, is_loopback, read_settings, secret


def test_nothing_said_gives_a_gateway_on_loopback_with_sqlite() -> None:
    settings = read_settings({})
    assert (settings.host, settings.port, settings.metrics_port) == ("127.0.0.1", 8080, None)
    assert settings.database_url == f"sqlite+aiosqlite:///{Path.cwd() / '.gateway' / 'gateway.db'}"
    assert settings.admin_key is None


def test_the_command_line_stands_above_the_environment() -> None:
    settings = read_settings({"GATEWAY_PORT": "1", "GATEWAY_DATA": "/a"}, port=2, data=Path("/b"))
    assert (settings.port, settings.data) == (2, Path("/b"))


def test_every_fault_is_named_at_once() -> None:
    wrong = {
        "GATEWAY_PORT": "eighty",
        "GATEWAY_METRICS_PORT": "-1",
        "GATEWAY_HOST": "0.0.0.0",
        "GATEWAY_ADMIN_KEY": "changeme",
        "GATEWAY_KEY_PEPPER": "env:NOT_SET",
    }
    with pytest.raises(BadConfiguration) as caught:
        read_settings(wrong)
    told = "\n".join(caught.value.faults)
    for name in ("GATEWAY_PORT", "GATEWAY_METRICS_PORT", "GATEWAY_ADMIN_KEY", "GATEWAY_KEY_PEPPER"):
        assert name in told
    assert "changeme" not in told, "a fault never holds a secret"


@pytest.mark.parametrize("port", ["65536", "99999999"])
def test_a_port_that_cannot_be_is_refused(port: str) -> None:
    with pytest.raises(BadConfiguration, match="GATEWAY_PORT"):
        read_settings({"GATEWAY_PORT": port})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_weak_admin_key_is_taken_where_only_this_machine_can_use_it(host: str) -> None:
    assert is_loopback(host)
    assert read_settings({"GATEWAY_HOST": host, "GATEWAY_ADMIN_KEY": "x"}).admin_key == "x"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        ("postgres://h/db", "postgresql+asyncpg://h/db"),
        ("postgresql://h/db", "postgresql+asyncpg://h/db"),
        ("postgresql+psycopg://h/db", "postgresql+psycopg://h/db"),
    ],
)
def test_a_short_database_url_gets_its_async_driver(written: str, full: str) -> None:
    assert database_url(written, Path("/data")) == full


def test_a_secret_is_read_from_where_it_is_named(tmp_path: Path) -> None:
    kept = tmp_path / "key"
    kept.write_text("  s3cret\n")
    environment = {"KEY": "from the environment"}
    assert secret("env:KEY", environment) == "from the environment"
    assert secret("env:OTHER:-otherwise", environment) == "otherwise"
    assert secret(f"file:{kept}", environment) == "s3cret"
    assert secret("", environment) is None


def test_a_secret_that_cannot_be_read_is_a_fault_and_no_exception(tmp_path: Path) -> None:
    faults: list[str] = []
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for reference in ("env:MISSING", f"file:{tmp_path}/missing", f"file:{binary}", f"file:{tmp_path}"):
        assert secret(reference, {}, faults, "the key") is None
    assert len(faults) == 4
    assert all(fault.startswith("the key: ") for fault in faults)


SIGN_IN = {
    "GATEWAY_OIDC_ISSUER": "https://id.example.com",
    "GATEWAY_OIDC_CLIENT_ID": "switchyard",
    "GATEWAY_OIDC_CLIENT_SECRET": "env:CLIENT_SECRET",
    "GATEWAY_PUBLIC_URL": "https://gateway.example.com/",
    "CLIENT_SECRET": "s",
}


def test_nobody_signs_in_unless_it_is_said_how() -> None:
    assert read_settings({}).sign_in is None
    found = read_settings(SIGN_IN).sign_in
    assert found is not None
    assert (found.client_secret, found.public_url) == ("s", "https://gateway.example.com")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"GATEWAY_OIDC_CLIENT_ID": ""}, "GATEWAY_OIDC_CLIENT_ID is not set"),
        ({"GATEWAY_PUBLIC_URL": ""}, "GATEWAY_PUBLIC_URL is not set"),
        ({"GATEWAY_OIDC_ISSUER": "http://id.example.com"}, "GATEWAY_OIDC_ISSUER"),
        ({"GATEWAY_OIDC_ISSUER": "https://id.example.com?x=1"}, "GATEWAY_OIDC_ISSUER"),
        ({"GATEWAY_PUBLIC_URL": "http://gateway.example.com"}, "GATEWAY_PUBLIC_URL"),
        ({"GATEWAY_PUBLIC_URL": "https://gateway.example.com/path"}, "GATEWAY_PUBLIC_URL"),
        ({"GATEWAY_PUBLIC_URL": "https://user@gateway.example.com"}, "GATEWAY_PUBLIC_URL"),
        ({"GATEWAY_OIDC_CLIENT_SECRET": "env:NOT_SET"}, "GATEWAY_OIDC_CLIENT_SECRET"),
        ({"GATEWAY_METRICS_AUTH": "yes"}, "GATEWAY_METRICS_AUTH"),
        ({"GATEWAY_METRICS_AUTH": "true", "GATEWAY_METRICS_PORT": "9000"}, "GATEWAY_METRICS_PORT"),
        ({"GATEWAY_KEYS_MAX_AGE_SECONDS": "0"}, "GATEWAY_KEYS_MAX_AGE_SECONDS"),
        ({"GATEWAY_KEYS_MAX_AGE_SECONDS": "an hour"}, "GATEWAY_KEYS_MAX_AGE_SECONDS"),
    ],
)
def test_a_setting_of_identity_that_cannot_be_is_named(changed: dict[str, str], told: str) -> None:
    with pytest.raises(BadConfiguration, match=told):
        read_settings(SIGN_IN | changed)


def test_this_very_machine_needs_no_https() -> None:
    local = {"GATEWAY_OIDC_ISSUER": "http://127.0.0.1:5556/dex", "GATEWAY_PUBLIC_URL": "http://localhost:8080"}
    assert read_settings(SIGN_IN | local).sign_in is not None


def test_what_runs_beside_the_calls_is_off_unless_it_is_asked_for() -> None:
    found = read_settings({})
    books = found.books
    assert (books.retention_months, books.webhook_secret, books.export, found.migrates) == (None, None, None, True)
    asked = {
        "GATEWAY_RETENTION_MONTHS": "13", "GATEWAY_MIGRATE": "False", "GATEWAY_WEBHOOK_SECRET": "env:HOOK",
        "GATEWAY_EXPORT": "parquet:/out", "GATEWAY_EXPORT_PASSWORD": "env:CLICK", "HOOK": "h", "CLICK": "c",
    }  # fmt: skip
    found = read_settings(asked)
    assert (found.books.retention_months, found.books.webhook_secret, found.migrates) == (13, "h", False)
    assert (found.books.export, found.books.export_password) == ("parquet:/out", "c")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("GATEWAY_RETENTION_MONTHS", "0"), ("GATEWAY_RETENTION_MONTHS", "-1"), ("GATEWAY_RETENTION_MONTHS", "a year"),
        ("GATEWAY_MIGRATE", "maybe"), ("GATEWAY_WEBHOOK_SECRET", "env:MISSING"),
        ("GATEWAY_EXPORT_PASSWORD", "file:/no/such/file"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_name(name: str, written: str) -> None:
    with pytest.raises(BadConfiguration, match=name):
        read_settings({name: written})

"""Beyond the contract: who opens Drive, which folders are read, and page tokens that are too old."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.knowledge.connectors.google_docs import GoogleDocsConnector, GoogleDocsSettings
from tests.fakes.api_server import ApiServer, Asked, in_json, serving
from tests.fakes.asking import QUICK, a_pass
from tests.fakes.places.google_place import GooglePlace


@pytest.fixture
def place() -> GooglePlace:
    return GooglePlace(page_size=2)


@pytest.fixture
async def server(place: GooglePlace, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with serving(place.answer) as started:
        place.url = started.url
        (tmp_path / "account.json").write_text(json.dumps(place.account()))
        yield started


def docs(server: ApiServer, tmp_path: Path, *folders: str) -> GoogleDocsConnector:
    settings = GoogleDocsSettings(
        "google_docs", server.url, folders=folders or ("top",), credentials=f"file:{tmp_path}/account.json", **QUICK
    )
    return GoogleDocsConnector(settings)


async def test_only_what_lies_in_the_folders_is_taken(place: GooglePlace, server: ApiServer, tmp_path: Path) -> None:
    place.write({"a": "alpha", "b": "beta", "c": "gamma"})
    place.folder_of = {"b": "sub", "c": "elsewhere"}
    told = await a_pass(docs(server, tmp_path))
    assert {document.title for document in told.documents.values()} == {"a", "b"}
    place.write({"a": "alpha", "b": "beta", "c": "gamma edited", "d": "delta"})
    place.folder_of["a"] = "elsewhere"
    place.log.append("a")
    after = await a_pass(docs(server, tmp_path), told.cursor)
    assert {document.title for document in after.documents.values()} == {"d"}
    assert after.removals == ["1"]
    assert {document.title for document in (await a_pass(docs(server, tmp_path, "sub"))).documents.values()} == {"b"}


async def test_pictures_in_the_text_are_left_out(place: GooglePlace, server: ApiServer, tmp_path: Path) -> None:
    place.write({"a": "alpha ![][image1]"})
    document = (await a_pass(docs(server, tmp_path))).documents["1"]
    assert document.text == "alpha"
    assert document.url == "https://docs.example.com/a"


async def test_a_refresh_token_opens_drive_too(place: GooglePlace, server: ApiServer, tmp_path: Path) -> None:
    place.write({"a": "alpha"})
    account = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "token_uri": f"{server.url}/token"}
    (tmp_path / "account.json").write_text(json.dumps(account | {"refresh_token": "r1"}))
    assert set((await a_pass(docs(server, tmp_path))).documents) == {"1"}
    (tmp_path / "account.json").write_text(json.dumps(account | {"refresh_token": "revoked-r2"}))
    (fault,) = (await a_pass(docs(server, tmp_path))).faults
    assert "invalid_grant" in fault.line
    assert "revoked-r2" not in fault.line


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ("not json", "not the JSON of a service account"),
        ('{"type": "service_account", "private_key": "no key"}', "no RSA key"),
        ('{"type": "authorized_user", "token_uri": "http://tokens.example.com/token"}', "https://"),
    ],
)
async def test_credentials_that_are_none_are_told_without_what_is_in_them(
    server: ApiServer, tmp_path: Path, account: str, words: str
) -> None:
    (tmp_path / "account.json").write_text(account)
    (fault,) = (await a_pass(docs(server, tmp_path))).faults
    assert words in fault.line
    assert fault.keeps == "*"


async def test_a_token_that_is_too_old_begins_a_new_listing(
    place: GooglePlace, server: ApiServer, tmp_path: Path
) -> None:
    place.write({"a": "alpha", "b": "beta"})
    told = await a_pass(docs(server, tmp_path))
    place.write({"b": "beta", "c": "gamma"})
    place.oldest = 99
    after = await a_pass(docs(server, tmp_path), told.cursor)
    assert {document.title for document in after.documents.values()} == {"c"}
    assert after.removals == ["1"]
    assert after.cursor is not None


async def test_a_document_that_cannot_be_exported_stops_no_pass(
    place: GooglePlace, server: ApiServer, tmp_path: Path
) -> None:
    place.write({"a": "alpha", "b": "beta"})

    def refuse(asked: Asked) -> None:
        if asked.path == "/drive/v3/files/1/export":
            server.first = [in_json({"error": {"code": 403, "message": "This file is too large to be exported."}}, 403)]

    server.before = refuse
    told = await a_pass(docs(server, tmp_path))
    assert set(told.documents) == {"2"}
    assert "too large to be exported" in told.lines[0]
    assert told.cursor is not None


async def test_an_edit_while_listing_is_not_lost(place: GooglePlace, server: ApiServer, tmp_path: Path) -> None:
    """The token is taken before the list: what is edited meanwhile is among the changes after it."""
    place.write({f"d{number}": "old" for number in range(5)})
    edited: list[str] = []

    def edit(asked: Asked) -> None:
        if asked.one("pageToken") == "2" and asked.path == "/drive/v3/files" and not edited:
            edited.append("d0")
            place.write({**place.texts, "d0": "new"})

    server.before = edit
    told = await a_pass(docs(server, tmp_path))
    assert edited
    assert told.documents["1"].text == "new"

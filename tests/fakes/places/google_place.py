"""Google: the exchange of tokens, and Drive's files, exports and changes."""

import re
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.fakes.api_server import Answer, Asked, in_json
from tests.fakes.places import Edits

FOLDER = "application/vnd.google-apps.folder"
DOCUMENT = "application/vnd.google-apps.document"


class GooglePlace(Edits):
    """All documents stand in the folder `top` unless `folder_of` says otherwise; `top` holds the folder `sub`."""

    def __init__(self, page_size: int = 40) -> None:
        super().__init__()
        self.page_size = page_size
        self.key = RSAKey.generate_key(2048)
        self.folder_of: dict[str, str] = {}
        self.log: list[str] = []
        self.oldest = 0
        self.url = ""

    def account(self) -> dict[str, str]:
        pem = self.key.as_pem(private=True).decode()
        mail = "robot@example.iam.gserviceaccount.com"
        return {
            "type": "service_account",
            "client_email": mail,
            "private_key": pem,
            "private_key_id": "k1",
            "token_uri": f"{self.url}/token",
        }

    def write(self, documents: dict[str, str]) -> None:
        before = dict(self.texts)
        super().write(documents)
        self.log += [name for name in before.keys() | documents.keys() if before.get(name) != documents.get(name)]

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/token":
            return self._token(asked)
        if self.is_away or asked.headers.get("authorization") != "Bearer opened":
            return in_json({"error": {"code": 401, "message": "Invalid Credentials"}}, 401)
        if asked.path == "/drive/v3/files":
            return self._files(asked)
        if asked.path == "/drive/v3/changes/startPageToken":
            return in_json({"startPageToken": str(len(self.log))})
        if asked.path == "/drive/v3/changes":
            return self._changes(asked)
        name = self.name_of(asked.path.split("/")[4])
        return Answer(f"{self.texts[name]}\n\n[image1]: <data:image/png;base64,AAAA>\n".encode())

    def _token(self, asked: Asked) -> Answer:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if form["grant_type"] == "refresh_token":
            is_good = form["refresh_token"] == "r1"
        else:
            claims = jwt.decode(form["assertion"], self.key, algorithms=["RS256"]).claims
            is_good = claims["aud"] == f"{self.url}/token" and "drive.readonly" in claims["scope"]
        return in_json({"access_token": "opened"}) if is_good else in_json({"error": "invalid_grant"}, 400)

    def _files(self, asked: Asked) -> Answer:
        found = re.fullmatch(r"'(\w+)' in parents and mimeType = '([\w./-]+)' and trashed = false", asked.one("q"))
        assert found is not None
        if found[2] == FOLDER:
            folders = [{"id": "sub", "mimeType": FOLDER}] if found[1] == "top" else []
            return in_json({"files": folders})
        files = [self._file(name) for name in self.texts if self.folder_of.get(name, "top") == found[1]]
        start = int(asked.one("pageToken", "0"))
        rest = files[start + self.page_size :]
        more = {"nextPageToken": str(start + self.page_size)} if rest else {}
        return in_json({"files": files[start : start + self.page_size], **more})

    def _changes(self, asked: Asked) -> Answer:
        start = int(asked.one("pageToken"))
        if start < self.oldest:
            return in_json({"error": {"code": 410, "message": "The page token is too old"}}, 410)
        part = self.log[start : start + self.page_size]
        end = start + len(part)
        changes = [
            {"fileId": str(self.numbers[name]), "removed": False, "file": self._file(name)}
            if name in self.texts
            else {"fileId": str(self.numbers[name]), "removed": True}
            for name in part
        ]
        more = {"nextPageToken": str(end)} if end < len(self.log) else {"newStartPageToken": str(end)}
        return in_json({"changes": changes, **more})

    def _file(self, name: str) -> dict[str, object]:
        return {
            "id": str(self.numbers[name]),
            "name": name,
            "mimeType": DOCUMENT,
            "modifiedTime": self.stamps[name],
            "webViewLink": f"https://docs.example.com/{name}",
            "trashed": False,
            "parents": [self.folder_of.get(name, "top")],
        }

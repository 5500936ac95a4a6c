"""I: images. Who may show them, how many, how large, and whether they are what they say."""

import base64
import binascii
from collections.abc import Iterator

from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.places import Place
from gateway.tuning.datasets.rows import Row, Turn, is_object

MOST_A_ROW = 10
MOST_BYTES = 10 * 2**20
MOST_ROWS = 50_000
_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"RIFF", "image/webp"))


class Images:
    """Looks at images, and counts the rows that have and that have not."""

    def __init__(self, context: Context) -> None:
        self._told, self._target = context.told, context.target
        self._with = self._without = 0

    def row(self, row: Row) -> None:
        found = [(turn, place, url) for turn in row.all_turns() for place, url in _images(turn)]
        self._with += bool(found)
        self._without += not found
        if not found:
            return
        if len(found) > MOST_A_ROW:
            self._told.row("I002", row, found[MOST_A_ROW][1], f"{len(found)} images; {MOST_A_ROW} a row are taken")
        for turn, place, url in found:
            if turn.role != "user":
                self._told.row("I001", row, place, f"an image of the {turn.role or 'message'}; only users show images")
            self._one(row, place, url)
        if self._target.images_all_or_none and any("weight" in turn.message for turn in row.turns):
            self._told.row("I008", row, found[0][1], f"{self._target.name}: rows with images take no weights")

    def end(self) -> None:
        if self._with > MOST_ROWS:
            self._told.file("I007", f"{self._with:,} rows with images; {MOST_ROWS:,} are taken")
        if self._with and self._without and self._target.images_all_or_none:
            told = f"{self._with} rows with images and {self._without} without; all or none may have them"
            self._told.file("I006", told)

    def _one(self, row: Row, place: Place, url: str) -> None:
        if not url.startswith("data:"):
            if self._target.images_as_data:
                self._told.row("I005", row, place, f"{self._target.name} takes images as data URLs only")
            elif not url.startswith("https://"):
                self._told.row("I005", row, place, "an image is given as a data URL or by https://")
            return
        head, comma, coded = url.partition(",")
        kind = head.removeprefix("data:").removesuffix(";base64")
        if not comma or not head.endswith(";base64"):
            self._told.row("I005", row, place, "a data URL has the form data:image/png;base64,...")
            return
        if len(coded) * 3 // 4 > MOST_BYTES:
            told = f"the image has {len(coded) * 3 / 4 / 2**20:.1f} MiB; {MOST_BYTES // 2**20} are taken"
            self._told.row("I003", row, place, told)
            return
        try:
            data = base64.b64decode(coded, validate=True)
        except (binascii.Error, ValueError):
            self._told.row("I005", row, place, "the data URL is no base64")
            return
        self._format(row, place, kind, data)

    def _format(self, row: Row, place: Place, kind: str, data: bytes) -> None:
        real = next((name for magic, name in _MAGIC if data.startswith(magic)), "")
        if real == "image/webp" and data[8:12] != b"WEBP":
            real = ""
        if not real:
            self._told.row("I004", row, place, f"the bytes given as {kind!r} are no JPEG, PNG or WebP")
        elif kind.replace("image/jpg", "image/jpeg") != real:
            self._told.row("I004", row, place, f"the image is called {kind!r} and is {real!r}")
        elif real == "image/png" and data[25:26] not in {b"\x02", b"\x06"} and len(data) > 25:
            self._told.row("I009", row, place, "the PNG is neither RGB nor RGBA")


def _images(turn: Turn) -> Iterator[tuple[Place, str]]:
    content = turn.message.get("content")
    if isinstance(content, list):
        for number, part in enumerate(content):
            image = part.get("image_url") if is_object(part) else None
            url = image.get("url") if is_object(image) else None
            if isinstance(url, str):
                yield (*turn.place, "content", number, "image_url", "url"), url


FAMILY = Family(
    "Images",
    (
        Code("I001", "error", "An image in a message that is not a user's."),
        Code("I002", "error", "More than ten images in a row."),
        Code("I003", "error", "An image of more than 10 MiB."),
        Code("I004", "error", "An image that is no JPEG, PNG or WebP, or not what it is called."),
        Code("I005", "error", "An image's address that is neither https nor a data URL in base64."),
        Code("I006", "error", "Rows with and without images, where the trainer takes only one kind."),
        Code("I007", "error", "More rows with images than are taken."),
        Code("I008", "error", "Weights in a row with images, where the trainer takes none."),
        Code("I009", "error", "A PNG that is neither RGB nor RGBA."),
    ),
    Images,
)

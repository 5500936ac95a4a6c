"""The lines of a batch's files: what they ask, what is wrong with them, and what they are answered."""

from collections.abc import AsyncIterator

import msgspec

from gateway.batches.values import Fault
from gateway.core.answered import Answered
from gateway.core.ids import new_id
from gateway.core.usage import Usage
from gateway.core.values import Value
from gateway.wire.usage import read_usage

MOST_LINES = 50_000
MOST_BYTES = 200 * 1024 * 1024
# A file that is wrong throughout need not be told of line by line to its end.
MOST_FAULTS = 1_000
MOST_ID_CHARACTERS = 512
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
EXPIRED = ("batch_expired", "This request could not be executed before the completion window expired.")


class Line(Value, frozen=True):
    """A request. number: of its line in the file, from 1. body: JSON as it was written."""

    number: int
    custom_id: str
    body: bytes
    model: str = ""


class _Written(msgspec.Struct):
    custom_id: msgspec.Raw = msgspec.Raw()
    method: msgspec.Raw = msgspec.Raw()
    url: msgspec.Raw = msgspec.Raw()
    body: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct):
    model: msgspec.Raw = msgspec.Raw()
    stream: msgspec.Raw = msgspec.Raw()


_written = msgspec.json.Decoder(_Written)
_body = msgspec.json.Decoder(_Body)
_text = msgspec.json.Decoder(str)


async def split(parts: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """The lines of a file that have something in them, with their numbers from 1."""
    rest: list[bytes] = []
    number = 0
    async for part in parts:
        *whole, last = part.split(b"\n")
        for piece in whole:
            number += 1
            line = b"".join([*rest, piece]).strip()
            rest = []
            if line:
                yield number, line
        if last:
            rest.append(last)
    line = b"".join(rest).strip()
    if line:
        yield number + 1, line


class Lines:
    """Reads lines one after the other. faults: what is wrong with them all; models: what they name."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._ids: set[str] = set()
        self.faults: list[Fault] = []
        self.models: set[str] = set()
        self.count = 0

    def read(self, number: int, written: bytes) -> Line | None:
        """A line's request; None, with its faults noted, for one that is wrong."""
        self.count += 1
        before = len(self.faults)
        try:
            found = _written.decode(written.removeprefix(b"\xef\xbb\xbf") if number == 1 else written)
        except UNREADABLE:
            self._fault("invalid_json_line", "This line is not a JSON object.", number)
            return None
        custom_id = self._custom_id(found.custom_id, number)
        if _string(found.method) != "POST":
            self._fault("invalid_method", "method must be 'POST'.", number, "method")
        if _string(found.url) != self._endpoint:
            self._fault("invalid_url", f"url must be {self._endpoint!r}, as the batch's endpoint is.", number, "url")
        model = self._model(found.body, number)
        if len(self.faults) > before:
            return None
        self.models.add(model)
        return Line(number, custom_id, bytes(found.body), model)

    def settle(self) -> list[Fault]:
        """All faults, with those of the file as a whole; a thousand at most, and then how many more there are."""
        told = self.faults[:MOST_FAULTS]
        if not self.count:
            told.append(Fault("empty_file", "The input file has no requests in it."))
        if self.count > MOST_LINES:
            told.append(
                Fault("too_many_requests", f"The file has more than {MOST_LINES:,} requests, which is the most.")
            )
        if len(self.faults) > MOST_FAULTS:
            told.append(Fault("more_errors", f"{len(self.faults) - MOST_FAULTS:,} more faults are not listed."))
        return told

    def _custom_id(self, written: msgspec.Raw, number: int) -> str:
        custom_id = _string(written)
        if not custom_id or len(custom_id) > MOST_ID_CHARACTERS or "\0" in custom_id:
            told = f"custom_id must be a text of 1 to {MOST_ID_CHARACTERS} characters."
            self._fault("missing_required_parameter", told, number, "custom_id")
            return ""
        if custom_id in self._ids:
            self._fault(
                "duplicate_custom_id", f"custom_id {custom_id!r} stands on an earlier line.", number, "custom_id"
            )
        self._ids.add(custom_id)
        return custom_id

    def _model(self, written: msgspec.Raw, number: int) -> str:
        try:
            body = _body.decode(written)
        except UNREADABLE:
            self._fault("missing_required_parameter", "body must be a JSON object.", number, "body")
            return ""
        model = _string(body.model)
        if not model:
            self._fault("missing_required_parameter", "body.model must name a model.", number, "body.model")
        if bytes(body.stream) == b"true":
            self._fault("invalid_request", "A request of a batch cannot be streamed.", number, "body.stream")
        return model or ""

    def _fault(self, code: str, message: str, line: int, param: str | None = None) -> None:
        self.faults.append(Fault(code, message, line, param))


def answer_line(line: Line, reply: Answered) -> str:
    """A line of the output file, or of the error file for a reply of a status from 300 on."""
    body = reply.body if _is_json(reply.body) else msgspec.json.encode(reply.body.decode("utf-8", "replace"))
    return _line(
        line.custom_id,
        {"status_code": reply.status, "request_id": reply.request_id, "body": msgspec.Raw(body)},
        None,
    )


def failed_line(line: Line, code: str, message: str) -> str:
    """A line of the error file, of a request that was not asked."""
    return _line(line.custom_id, None, {"code": code, "message": message})


def _line(custom_id: str, response: dict[str, object] | None, error: dict[str, str] | None) -> str:
    written = {"id": new_id("batch_req"), "custom_id": custom_id, "response": response, "error": error}
    # A reply of several lines is one here.
    return msgspec.json.encode(written).replace(b"\r", b" ").replace(b"\n", b" ").decode()


def _string(written: msgspec.Raw) -> str | None:
    try:
        return _text.decode(written) if bytes(written) else None
    except UNREADABLE:
        return None


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except UNREADABLE:
        return False
    return True


class _Answer(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


class _Response(msgspec.Struct):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct):
    response: _Response | None = None


_output = msgspec.json.Decoder(_Output)
_answer = msgspec.json.Decoder(_Answer)


class Tally:
    """What the lines of an output file used together; not known as soon as one of them does not say."""

    def __init__(self) -> None:
        self.total = Usage(0, 0)
        self.is_known = True

    def add(self, line: bytes) -> None:
        """Counts one line."""
        try:
            response = _output.decode(line).response
            usage = None if response is None else read_usage(bytes(_answer.decode(response.body).usage) or b"null")
        except UNREADABLE:
            usage = None
        if usage is None:
            self.is_known = False
            return
        names = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
        sums = {name: getattr(self.total, name) + getattr(usage, name) for name in names}
        self.total = msgspec.structs.replace(self.total, **sums)

    def written(self) -> str:
        """As OpenAI's `usage` of a batch, in JSON; "" when it is not known."""
        if not self.is_known:
            return ""
        used = self.total
        return msgspec.json.encode(
            {
                "input_tokens": used.input_tokens,
                "input_tokens_details": {
                    "cached_tokens": used.cached_tokens,
                    "cache_write_tokens": used.cache_write_tokens,
                },
                "output_tokens": used.output_tokens,
                "output_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
                "total_tokens": used.input_tokens + used.output_tokens,
            }
        ).decode()

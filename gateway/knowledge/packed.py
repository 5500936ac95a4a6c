"""Files whose text must be unpacked, PDF and DOCX: read by a process of their own within bounds."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import msgspec

from gateway.core.errors import UnreadableDocument
from gateway.core.values import Value

MOST_BYTES = 64 * 1024 * 1024
MOST_SECONDS = 90.0
_READER = Path(__file__).with_name("unpack.py")


class Packed(Value, frozen=True):
    """What was in a file. title: "" when it names none. text: Markdown. fault: why there is none."""

    title: str = ""
    text: str = ""
    fault: str | None = None


def unpack(kind: Literal["pdf", "docx"], data: bytes, seconds: float = MOST_SECONDS) -> Packed:
    """The text of a file, some 0.3 s later; call it in a thread. Raises UnreadableDocument."""
    name = kind.upper()
    if len(data) > MOST_BYTES:
        raise UnreadableDocument(f"This {name} has {len(data)} bytes; at most {MOST_BYTES} are read.")
    # -I: neither the working directory nor the environment decides what is imported.
    command = [sys.executable, "-I", str(_READER), kind]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=seconds, check=False)  # noqa: S603 - the command is ours
    except subprocess.TimeoutExpired:
        raise UnreadableDocument(f"This {name} was not read after {seconds:.0f} s.") from None
    try:
        found = msgspec.json.decode(done.stdout, type=Packed)
    except msgspec.DecodeError:
        # Ended by its limits, or by a fault in a parser's own C code.
        raise UnreadableDocument(f"This {name} cannot be read within the memory and time of a document.") from None
    if found.fault is not None:
        raise UnreadableDocument(f"This {name} cannot be read: {found.fault}.")
    return found

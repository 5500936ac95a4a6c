"""Policy files with the slips that people make, the same ones for the same seed."""

import random
import re

from gateway.policy.load import FILES, Texts

# A fault's place.
PLACED = re.compile(r"^(?P<file>.+?\.yaml):(?P<line>\d+):(?P<column>\d+): \S")
ODD = (
    *(
        "",
        "null",
        "~",
        "-1",
        "0",
        "1e400",
        ".nan",
        ".inf",
        "true",
        "[]",
        "{}",
        "[[]]",
        "x",
        "*",
        "auto",
        "kb/x",
        "''",
        "'\\0'",
    ),
    *(
        "2027-13-45",
        "!!bool maybe",
        "!!timestamp x",
        "!!python/object:x y",
        "&a [*a]",
        "*nobody",
        "9" * 30,
        "[",
        "}",
        "\t",
    ),
    *(
        "env:",
        "file:/nowhere",
        "http://h:99999",
        "http://[::1",
        "ftp://x",
        "(",
        "é" * 70,
        "x" * 500,
        "\x00",
        "%TAG",
        "---\n",
    ),
)


def mutated(text: str, chance: random.Random) -> str:
    """The text with one to three of the slips that people make."""
    lines = text.split("\n")
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(lines))
        match chance.randrange(9):
            case 0:
                del lines[at]
                lines = lines or [""]
            case 1:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 2:
                lines[at] = chance.choice([" ", "  ", "\t"]) + lines[at]
            case 3:
                lines[at] = lines[at].lstrip()
            case 4:
                lines[at] = re.sub(r": *[^:]*$", lambda _: ": " + chance.choice(ODD), lines[at], count=1)
            case 5:
                words = re.findall(r"[\w.-]+", lines[at])
                if words:
                    word = chance.choice(words)
                    lines[at] = lines[at].replace(word, chance.choice(ODD), 1)
            case 6:
                place = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + chance.choice('{}[]:,-#"&*!|>%@`\\\x07é') + lines[at][place:]
            case 7:
                place = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + lines[at][place + 1 :]
            case _:
                lines = lines[: at + 1]
    return "\n".join(lines)


def changed(texts: Texts, chance: random.Random) -> Texts:
    """The folder with one of its files mutated."""
    name = chance.choice([name for name in FILES if name in texts.files])
    text = mutated(texts.files[name].decode(), chance)
    return Texts(texts.folder, {**texts.files, name: text.encode("utf-8", "replace")})

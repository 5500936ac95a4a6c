"""How soon an edited or deleted document is in, or out of, the prompt that goes upstream, through either worker."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from bench.client import share
from bench.field import switchyard
from bench.place import cores, fresh
from bench.result import Aim, Figure, Options, Result, ms
from bench.switchyard import Switchyard
from tests.fakes.scripted_server import ScriptedServer, Visit, scripted

ROUNDS = 60
DOCUMENTS = 500
MOST_MS = 1000.0
GIVE_UP_SECONDS = 10.0
ANSWER = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Noted [1]."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


def run(_options: Options) -> Result:
    """A gateway of two workers over a folder of 500 documents; one is edited and deleted again and again."""
    folder = fresh("freshness-documents")
    for number in range(DOCUMENTS):
        (folder / f"other-{number}.md").write_text(f"# Other {number}\n\nThe shelf {number} holds parcels.\n")
    result = Result(["what", "p50 ms", "p95 ms", "worst ms", "stale after it"], [])
    with ExitStack() as stack:
        upstream = stack.enter_context(_upstream())
        url = f"http://127.0.0.1:{upstream.origin.port}/v1"
        ours = switchyard(
            stack,
            "freshness",
            {"plain": url, "stream": url},
            collections={"facts": folder},
            workers=2,
            on=cores().server,
        )
        ask = _Asked(ours, upstream)
        edits, deletions = [], []
        ask.prompt()
        for number in range(ROUNDS):
            page = folder / "quokka.md"
            page.write_text(f"# Quokka\n\nThe quokka's bus is line fact{number}.\n")
            edits.append(ask.until(lambda prompt, now=f"fact{number}": now in prompt))
            ask.stale += ask.both(lambda prompt, old=f"fact{number - 1}": old in prompt)
            if number % 2:
                page.unlink()
                deletions.append(ask.until(lambda prompt, gone=f"fact{number}": gone not in prompt))
                ask.stale += ask.both(lambda prompt, gone=f"fact{number}": gone in prompt)
    for what, seconds in (("edit", edits), ("deletion", deletions)):
        p50, p95, worst = (share(seconds, part) * 1000 for part in (0.5, 0.95, 1.0))
        result.rows.append([what, ms(p50), ms(p95), ms(worst), str(ask.stale)])
        aim = f"{what} to the upstream's prompt, over HTTP, two workers: p95 < 1 s"
        result.aims.append(Aim(aim, f"{p95:.0f} ms", p95 < MOST_MS))
        result.numbers[what] = {"p50_ms": p50, "p95_ms": p95, "worst_ms": worst}
    result.aims.append(
        Aim("prompts with the old fact after a worker had the new one: 0", str(ask.stale), ask.stale == 0)
    )
    result.notes.append(
        f"{ROUNDS} edits and {len(deletions)} deletions of a file in a folder of {DOCUMENTS + 1}. Timed from the save "
        "to the first call whose prompt, as the upstream got it, shows the change on four connections in a row that "
        "the kernel dealt out between two workers."
    )
    return result


class _Asked:
    """Asks over fresh connections, so that the kernel deals the calls out, and looks at what the upstream got."""

    def __init__(self, ours: Switchyard, upstream: ScriptedServer) -> None:
        self.stale = 0
        self._ours = ours
        self._upstream = upstream
        self._body = json.dumps(
            {"model": "kb/facts", "messages": [{"role": "user", "content": "Which line is the quokka's bus?"}]}
        )

    def until(self, shows: Callable[[str], bool]) -> float:
        """The seconds until four calls in a row show it."""
        began = time.perf_counter()
        first, row = None, 0
        while row < 4:
            asked_at = time.perf_counter()
            if shows(self.prompt()):
                first = first if row else asked_at
                row += 1
            else:
                row = 0
            if time.perf_counter() - began > GIVE_UP_SECONDS:
                return GIVE_UP_SECONDS
        return (first or began) - began

    def both(self, shows: Callable[[str], bool]) -> int:
        """How many of eight further calls still show it."""
        return sum(1 for _ in range(8) if shows(self.prompt()))

    def prompt(self) -> str:
        """What the upstream got for one call; "" when the gateway answered by itself."""
        before = len(self._upstream.visits)
        connection = http.client.HTTPConnection("127.0.0.1", self._ours.port, timeout=10)
        try:
            headers = {**self._ours.headers, "content-type": "application/json"}
            connection.request("POST", "/v1/chat/completions", self._body, headers)
            connection.getresponse().read()
        finally:
            connection.close()
        visits = self._upstream.visits[before:]
        return visits[-1].body.decode() if visits else ""


@contextmanager
def _upstream() -> Iterator[ScriptedServer]:
    """A server that answers every call alike, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def answer(visit: Visit) -> None:
        await visit.write(HEAD + ANSWER)

    made = scripted(answer)
    server = asyncio.run_coroutine_threadsafe(made.__aenter__(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(made.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


FIGURE = Figure("an edited document is in the next prompt", run)

"""RouteBench: fine-tuned, RAG or neither, by what the policy learns on one half of the requests."""

import asyncio
import os

from bench.minilm import minilm
from bench.place import Unavailable, all_cores, cores
from bench.result import Aim, Figure, Options, Result, ms
from bench.routing import Measured, measure


def run(options: Options) -> Result:
    """By words alone, and with MiniLM in this process."""
    if options.data is None or not (options.data / "routebench-dev").is_dir():
        raise Unavailable("needs --data with routebench-dev")
    data = options.data / "routebench-dev"
    # Deciding is measured here and not over a socket: the embedder's thread wants a core of its own, as in a server.
    os.sched_setaffinity(0, all_cores())
    try:
        by_words = asyncio.run(measure(data, None))
        by_meaning = asyncio.run(measure(data, minilm()))
    finally:
        os.sched_setaffinity(0, cores().load)
    named = {"words": by_words, "words and MiniLM (local, 8 bits)": by_meaning}
    return Result(
        [
            "signals",
            "macro-F1",
            "F1 fine_tuned / rag / direct",
            "accuracy",
            "right target",
            "violations",
            "p50 ms",
            "p95 ms",
            "p99 ms",
        ],
        [_row(name, one) for name, one in named.items()],
        aims=_aims(by_words, by_meaning),
        notes=_notes(by_words, by_meaning),
        numbers={name: _numbers(one) for name, one in named.items()},
    )


def _row(name: str, one: Measured) -> list[str]:
    score = one.score
    f1 = " / ".join(f"{score.by_label[label]:.3f}" for label in ("fine_tuned", "rag", "direct"))
    return [
        name,
        f"{score.macro_f1:.3f}",
        f1,
        f"{score.accuracy:.3f}",
        f"{score.right_target:.3f}",
        str(score.violations),
        ms(one.latency.p50),
        ms(one.latency.p95),
        ms(one.latency.p99),
    ]


def _aims(words: Measured, meaning: Measured) -> list[Aim]:
    violations = words.score.violations + meaning.score.violations
    target = min(words.score.right_target, meaning.score.right_target)
    p95 = meaning.latency.p95
    f1, f1_words = meaning.score.macro_f1, words.score.macro_f1
    return [
        Aim("RouteBench macro-F1 with an embedder >= 0.93", f"{f1:.3f}", f1 >= 0.93),
        Aim("RouteBench macro-F1 without >= 0.85", f"{f1_words:.3f}", f1_words >= 0.85),
        Aim("right target given right route >= 0.99", f"{target:.3f}", target >= 0.99),
        Aim("calls routed to a collection that the team may not read: 0", str(violations), violations == 0),
        Aim("p95 added by deciding with a local embedder <= 25 ms", f"{ms(p95)} ms", p95 <= 25),
    ]


def _notes(words: Measured, meaning: Measured) -> list[str]:
    others = ", ".join(f"{value:.3f}" for value in meaning.others)
    others_words = ", ".join(f"{value:.3f}" for value in words.others)
    score = meaning.score
    divided = (
        f"{score.scored} requests scored (labels fine_tuned, rag, plain), divided by the first user turn of their "
        "conversation; weights fitted on one half and scored on the other, in both directions."
    )
    target = (
        "The target of a RAG call is the collection whose own evidence scores highest; all that the team may read "
        f"are searched. With the unanswerable and vague ones counted too it is right for "
        f"{score.right_target_unanswerable_too:.3f}."
    )
    latency = (
        "Latency: from the call read to the decision, each request once, nothing of it remembered; of the longest "
        "texts the embedder is shown 300 characters."
    )
    return [
        divided,
        f"Four other divisions: macro-F1 {others} with the embedder, {others_words} without.",
        target,
        f"Of the requests that belong to a collection which has no answer, {score.no_answer_to_rag:.0%} go to RAG.",
        latency,
        f"Loading and embedding 1,624 documents and 1,231 examples took {meaning.seconds:.0f} s.",
    ]


def _numbers(one: Measured) -> dict[str, object]:
    score = one.score
    return {
        "macro_f1": score.macro_f1,
        "other_divisions": one.others,
        "f1": score.by_label,
        "accuracy": score.accuracy,
        "right_target": score.right_target,
        "violations": score.violations,
        "p50_ms": one.latency.p50,
        "p95_ms": one.latency.p95,
        "p99_ms": one.latency.p99,
    }


FIGURE = Figure("Routing: fine-tuned, RAG or neither (RouteBench)", run)

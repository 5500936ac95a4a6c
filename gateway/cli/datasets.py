"""`gateway datasets`: training files, judged, counted and priced; made and changed in datasets_edit."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.types import ExistingFile

from gateway.cli.datasets_build import build
from gateway.cli.datasets_edit import fix, redact, split
from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import settings
from gateway.core.money import usd_text

Trainer = Literal["openai", "azure", "together", "fireworks", "local"]
Kind = Literal["supervised", "dpo", "reinforcement"]


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="datasets", help="Training files: lint, fix, redact, split, count, price and build them.")
    for function in (lint, fix, redact, split, stats, estimate, build):
        group.command(function)
    app.command(group)


def lint(
    file: ExistingFile,
    *,
    target: Trainer = "openai",
    base: str = "",
    method: Kind = "supervised",
    validation: ExistingFile | None = None,
    format: Literal["text", "json", "sarif"] = "text",  # noqa: A002  # the option's name
    limit: int = 0,
    strict: bool = False,
    json: bool = False,
) -> int:
    """Says everything that is wrong with a training file, as file:line:column: code message; 1 when there are errors.

    target: the trainer whose rules hold. base: the model to be tuned, for its tokenizer and its limit. validation: a
    file whose rows must not be trained on. limit: so many faults of each code are shown; 0 shows all. strict: a
    warning makes it exit 1 too.
    """
    from gateway import __version__
    from gateway.tuning.datasets.lint import lint as judge
    from gateway.tuning.datasets.sarif import sarif
    from gateway.tuning.datasets.targets import target_of

    profile = target_of(target, base)
    with file.open("rb") as lines:
        shown = limit or None
        if validation is None:
            report = judge(lines, name=str(file), target=profile, method=method, limit=shown)
        else:
            with validation.open("rb") as held:
                report = judge(lines, name=str(file), target=profile, method=method, validation=held, limit=shown)
    if json or format == "json":
        print_json(report)
    elif format == "sarif":
        print_json(sarif(report, __version__))
    else:
        _tell(report)
    return 1 if report.errors or (strict and report.warnings) else 0


def _tell(report: Any) -> None:
    kept: dict[str, int] = {}
    for fault in report.faults:
        kept[fault.code] = kept.get(fault.code, 0) + 1
        sys.stdout.write(f"{report.name}:{fault.line}:{fault.column} {fault.code} {fault.message}\n")
    for code, count in report.counts:
        if count > kept.get(code, 0):
            say(f"{report.name}: {code} {count - kept.get(code, 0)} more times.")
    fixable = len({fault.code for fault in report.faults if fault.is_fixable})
    told = f"{report.rows} rows, {report.tokens:,} tokens{' (estimated)' if report.is_estimate else ''}"
    say(f"{report.name}: {report.errors} errors, {report.warnings} warnings; {told}, {report.dataset_hash}.")
    if fixable:
        say("`gateway datasets fix` mends some of them.")


def stats(file: ExistingFile, *, base: str = "", json: bool = False) -> None:
    """Counts rows, messages, tokens and answers of a training file."""
    from gateway.tuning.datasets.statistics import statistics
    from gateway.tuning.datasets.targets import token_limit_of

    with file.open("rb") as lines:
        counted = statistics(lines, base, token_limit_of(base))
    if json:
        print_json(counted)
        return
    say(f"{file}: {counted.rows} rows" + (f", {counted.unread} lines that are none" if counted.unread else ""))
    for name, pairs in (("forms", counted.forms), ("messages by role", counted.roles)):
        say(f"{name}: {', '.join(f'{count} {key}' for key, count in pairs)}")
    say(f"system prompts: {counted.system_prompts}; rows with tools: {counted.with_tools}")
    rows = [
        (name, spread.p5, spread.p50, spread.p95, spread.most)
        for name, spread in (("tokens of a row", counted.tokens), ("messages of a row", counted.turns))
    ]
    print_table(("", "p5", "p50", "p95", "most"), rows, frozenset({"p5", "p50", "p95", "most"}))
    estimated = f" (estimated with {counted.encoding})" if counted.is_estimate else f" ({counted.encoding})"
    say(f"tokens: {counted.total_tokens:,}, of them in answers that are learned {counted.trained_tokens:,}{estimated}")
    if counted.answers:
        shown = ", ".join(f"{answer!r} {count}" for answer, count in counted.answers)
        say(f"answers: {counted.different_answers} different ones; most often {shown}")


def estimate(
    file: ExistingFile,
    *,
    base: str = "gpt-4o-mini-2024-07-18",
    epochs: int | None = None,
    against: list[str] | None = None,
    prompt_tokens: int | None = None,
    answer_tokens: int | None = None,
    context_tokens: int = 2_000,
    calibrate: bool = False,
    policies: Annotated[Path | None, Parameter()] = None,
    json: bool = False,
) -> None:
    """Says what training on a file would cost, and after how many calls it is cheaper than RAG.

    epochs: the documented default for so many rows when not given. against: models that would answer from documents
    instead; the base itself when none is named. prompt_tokens, answer_tokens: of a call to come; the file's mean when
    not given. context_tokens: what a lookup adds to a prompt. calibrate: by what jobs for
    this base that ended here were billed beside what had been estimated for them.
    """
    from gateway.core.clock import utc_day
    from gateway.live import load_all
    from gateway.tuning.datasets import estimates
    from gateway.tuning.datasets.statistics import statistics
    from gateway.tuning.datasets.targets import token_limit_of

    found = settings(policies=policies)
    prices = load_all(found.policies, None, found.data).prices
    day = utc_day(time.time())
    with file.open("rb") as lines:
        counted = statistics(lines, base, token_limit_of(base))
    made = estimates.estimate(counted, epochs)
    calibration = estimates.calibrated(made, _finished(base)) if calibrate else None
    billed = made.billed_tokens if calibration is None else calibration.billed_tokens
    costs = estimates.trainer_costs(base, billed, prices, day)
    call = estimates.Call(
        counted.prompt if prompt_tokens is None else prompt_tokens,
        counted.answer if answer_tokens is None else answer_tokens,
        context_tokens,
    )
    tuned = prices.rates(f"ft:{base}", day)
    evens = [
        estimates.break_even(costs[0].nano_usd, tuned, prices.rates(model, day), model, call)
        for model in against or [base]
    ]
    if json:
        print_json(
            {"tokens": counted.tokens, "estimate": made, "costs": costs, "call": call, "break_even": evens}
            | ({} if calibration is None else {"calibration": calibration})
        )
        return
    _tell_estimate(base, counted.tokens, made, calibration, costs, call, evens)


def _tell_estimate(
    base: str, spread: Any, made: Any, calibration: Any, costs: Any, call: Any, evens: list[Any]
) -> None:
    from gateway.tuning.datasets.estimates import FORMULA

    near = " (estimated: the base's tokenizer is not known)" if made.is_estimate else ""
    say(f"{made.rows} rows; tokens of a row: p5 {spread.p5}, p50 {spread.p50}, p95 {spread.p95}{near}")
    say(f"{made.per_epoch:,} tokens x {made.epochs} epochs = {made.billed_tokens:,} billed tokens")
    if calibration is not None:
        say(_calibrated(calibration))
    print_table(("trainer", "USD", "note"), [(one.trainer, _usd(one.nano_usd), one.note) for one in costs])
    say(f"Break-even = {FORMULA}.")
    say(f"A call: {call.prompt} tokens of prompt, {call.answer} of answer; a lookup adds {call.context}.")
    for even in evens:
        say(_even(base, even))


def _finished(base: str) -> list[Any]:
    from gateway.cli.tuning_place import with_tuned
    from gateway.tuning.datasets.estimates import Finished

    pairs = with_tuned(lambda tuned: tuned.jobs.finished(base))
    return [Finished(estimated, trained) for estimated, trained in pairs]


def _calibrated(found: Any) -> str:
    if found.ratio is None:
        return "No job here has ended of which both figures are known: the estimate stands as it is."
    spread = f"{found.billed_tokens:,} ({found.billed_low:,} to {found.billed_high:,})"
    return f"{found.jobs} jobs for this base were billed {found.ratio:.2f} times their estimate: {spread}"


def _usd(nano: int | None) -> str:
    return "unknown" if nano is None else usd_text(nano)


def _even(base: str, even: Any) -> str:
    against = f"ft:{base} against RAG on {even.rag_model}"
    if even.missing:
        return f"{against}: unknown; no price is known for {', '.join(even.missing)}."
    costs = f"{even.tuned_pico_usd / 1e9:.4g} against {even.rag_pico_usd / 1e9:.4g} USD per 1,000 calls"
    if even.is_never:
        return f"{against}: never; a tuned call costs no less ({costs})."
    return f"{against}: after {even.requests:,} calls ({costs})."

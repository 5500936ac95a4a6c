"""`gateway tuning import openai`: what a provider's account holds of fine-tuning, brought here before it goes."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cyclopts import App

from gateway.cli.output import print_json, say
from gateway.cli.place import database, run, settings
from gateway.cli.tuning_place import Place
from gateway.core.errors import InvalidRequest

MOST_TOLD = 20


def register(group: App) -> None:
    """Adds the commands to those of `gateway tuning`."""
    importing = App(name="import", help="Files, jobs and models of a provider's account, brought here.")
    importing.command(openai)
    group.command(importing)


def openai(*, upstream: str | None = None, team: str | None = None, dry_run: bool = False, json: bool = False) -> None:
    """Brings files, jobs, events, checkpoints and results of an OpenAI account here.

    All but events and checkpoints, which are numbered anew, keep their ids.

    upstream: one of models.yaml, the default one without. team: whose they become; without it what each job's metadata
    `team` says. What is here already is left alone, so it may be run again, also after it was stopped. Nothing is
    booked. Models that come with it can be called by their team alone from then on.
    """

    async def work() -> Any:
        found = settings()
        async with database(found) as opened, _upstream(Place(opened, found), upstream) as (place, at):
            return await _import(place, opened, at, team, is_dry=dry_run)

    made = run(work())
    if json:
        print_json(made)
        return
    verb = "would be brought here" if made.is_dry else "are here now"
    say(
        f"{made.jobs} jobs, {made.files} files, {made.events} events, {made.checkpoints} checkpoints and "
        f"{len(made.models)} models {verb}; {made.here_already} jobs were here already."
    )
    for what, why in made.left_out[:MOST_TOLD]:
        say(f"{what} was left out: {why}.")
    if len(made.left_out) > MOST_TOLD:
        say(f"... and {len(made.left_out) - MOST_TOLD} more.")
    if made.missing:
        say(f"The provider has no more: {', '.join(made.missing[:MOST_TOLD])}.")


async def _import(place: Place, opened: Any, at: Any, team: str | None, *, is_dry: bool) -> Any:
    from gateway.identity.pepper import read_pepper
    from gateway.identity.store import IdentityStore
    from gateway.importing import Importer
    from gateway.training import trainers_of

    known = {
        one.name for one in await IdentityStore(opened, read_pepper(place.settings.data, place.settings.pepper)).teams()
    }
    if team is not None and team not in known:
        raise InvalidRequest(f"There is no team {team!r}. Create it first: gateway teams create {team}", param="team")
    entries = trainers_of(place.loaded.rulebook)
    trainer = next((name for name, entry in entries.items() if entry.upstream == at.name), at.name)
    importer = Importer(place.files, place.jobs, at, trainer, _tell, is_dry=is_dry)
    try:
        return await importer.run(team, known)
    finally:
        if not is_dry:
            # Also of an import that was stopped: what it brought may be called.
            await place.lines.touch()


@asynccontextmanager
async def _upstream(place: Place, name: str | None) -> AsyncIterator[tuple[Place, Any]]:
    from gateway.core.settings import environment
    from gateway.upstream.httpx_transport import HttpxTransport
    from gateway.upstream.transport import Http1Transport
    from gateway.upstream.upstreams import Upstreams

    rulebook = place.loaded.rulebook
    name = name or rulebook.policy.catalogue.default_upstream()
    entry = rulebook.models.upstreams.get(name)
    if entry is None:
        told = ", ".join(sorted(rulebook.models.upstreams))
        raise InvalidRequest(f"Upstream {name!r} is not in models.yaml; there are {told}.", param="upstream")
    transports: dict[str, Any] = {"http1": Http1Transport(), "httpx": HttpxTransport()}
    try:
        yield place, Upstreams(transports, environment(), place.clock).build({name: entry})[name]
    finally:
        for transport in transports.values():
            await transport.close()


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
    else:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()

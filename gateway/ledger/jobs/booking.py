"""Into the books: what a job that has ended came to."""

import msgspec

from gateway.core.call import Principal
from gateway.core.event import UsageEvent
from gateway.ledger.entry import Ledger
from gateway.ledger.jobs.store import Job
from gateway.ledger.records import Final


def book_job(ledger: Ledger, job: Job, events: list[UsageEvent]) -> None:
    """Books rows, without an await; after a kill here the same rows come again, and change nothing."""
    metadata = tuple(sorted(msgspec.json.decode(job.metadata, type=dict[str, str]).items()))
    owner = Principal(job.team, job.key_id, "", organisation=job.organisation)
    for told in events:
        meters = ledger.budgets.meters(owner, metadata, told.at)
        event = msgspec.structs.replace(told, metadata=metadata, pools=tuple([meter.pool for meter in meters]))
        ledger.journal.finish(Final(event))
        ledger.book(event)
        ledger.budgets.charge(meters, event.cost_nano_usd or 0)

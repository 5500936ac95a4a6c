"""CPU of one plain chat call at saturation."""

from bench.bodies import plain_request
from bench.field import LITELLM, NGINX, RELAY, SWITCHYARD, Field
from bench.load import Summary, in_turns
from bench.result import Aim, Figure, Options, Result, ms, times, us

COLUMNS = ["system", "CPU us per call", "least - most", "to Switchyard", "calls/s", "p50 ms", "p99 ms", "failed"]
LINE = (
    "Switchyard: key check, 100 rules that look only at the call (team, model, header, metadata, key, prompt length, "
    "tools and endpoint, text pattern, in turn), a budget for the team, journal, shipper to SQLite, metrics, and the "
    "access log, one line a call, to a file. Nothing is switched off."
)


def run(options: Options) -> Result:
    """Everyone in turn on the same core, against the same upstream."""
    with Field("plain") as field:
        found = in_turns(field.targets("plain"), {"": [plain_request()]}, options.seconds, options.rounds, field.folder)
        result = shown(found)
        cpu = {summary.name: summary.cpu_us for summary in found}
        ours, limit, bare = cpu[SWITCHYARD], cpu[NGINX], cpu[RELAY]
        result.aims = [
            Aim("whole line, plain call: <= 350 us", f"{us(ours)} us", ours <= 350),
            nginx_aim(ours, limit, bare),
            rival_aim(result, ours, 60, field.rival_missing),
            Aim(">= 12 x Portkey, ahead of TensorZero", "not measured", None, "neither is installed by this bench"),
        ]
        result.notes.append(LINE)
        return result


def shown(found: list[Summary]) -> Result:
    """The table of a field of systems."""
    cpu = {summary.name: summary.cpu_us for summary in found}
    rows = [
        [
            summary.name,
            us(summary.cpu_us),
            f"{us(summary.least_us)} - {us(summary.most_us)}",
            times(summary.cpu_us / cpu[SWITCHYARD]),
            f"{summary.per_second:,.0f}",
            ms(summary.p50_ms),
            ms(summary.p99_ms),
            str(summary.failed),
        ]
        for summary in found
    ]
    details = {f"{summary.name} turns": summary._asdict() for summary in found}
    return Result(COLUMNS, rows, numbers={**cpu, **details})


def nginx_aim(ours: float, limit: float, bare: float) -> Aim:
    """How many times nginx costs we do, and how much of it is ours."""
    got = ours / limit
    why = "" if got <= 9 else f"the bare relay costs {us(bare)} us here, the gateway above it {us(ours - bare)} us"
    return Aim("<= 9 x nginx", times(got), got <= 9, why)


def rival_aim(result: Result, ours: float, least: float, missing: str) -> Aim:
    """How many times LiteLLM costs what we do."""
    aim = f">= {least:.0f} x better than LiteLLM"
    theirs = result.numbers.get(LITELLM)
    if not isinstance(theirs, float):
        return Aim(aim, "not measured", None, missing)
    got = theirs / ours
    return Aim(aim, times(got), got >= least, "" if got >= least else f"{us(theirs)} us against {us(ours)}; see Limits")


FIGURE = Figure("Plain chat call, one core, to saturation", run)

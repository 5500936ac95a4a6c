"""CPU of one stream of 104 events that the upstream sends at once."""

from bench.bodies import stream_request
from bench.field import RELAY, SWITCHYARD, Field
from bench.figures.plain import rival_aim, shown
from bench.load import in_turns
from bench.result import Aim, Figure, Options, Result, us

INJECTED = "Switchyard, usage injected"


def run(options: Options) -> Result:
    """Everyone in turn; Switchyard twice, because asking for the usage itself costs more."""
    with Field("stream") as field:
        targets = field.targets("stream")
        ours = next(target for target in targets if target.name == SWITCHYARD)
        targets.append(ours._replace(name=INJECTED))
        bodies = {"": [stream_request()], INJECTED: [stream_request(asks_usage=False)]}
        found = in_turns(targets, bodies, options.seconds, options.rounds, field.folder)
        result = shown(found)
        cpu = {summary.name: summary.cpu_us for summary in found}
        asked, injected = cpu[SWITCHYARD], cpu[INJECTED]
        result.aims = [
            Aim("whole line, 104-event stream at once: <= 600 us", f"{us(asked)} us", asked <= 600),
            Aim("the same where the caller does not ask for usage", f"{us(injected)} us", injected <= 600),
            rival_aim(result, asked, 200, field.rival_missing),
            Aim(">= 5 x TensorZero", "not measured", None, "it is not installed by this bench"),
        ]
        result.notes.append(
            f"`{INJECTED}`: the caller sent no `stream_options`; the gateway asks for the usage and takes its traces "
            f"out of the stream again. `{RELAY}`: uvicorn and our transport, with no gateway between."
        )
        return result


FIGURE = Figure("Stream of 104 events sent at once, one core, to saturation", run)

"""Hyperparameters: what may be asked for, and what `auto` comes to."""

from gateway.core.values import Value
from gateway.tuning.contract import Method, Parameters

# How many epochs, by the rule that OpenAI's cookbook gives for its default: about 100 to 25,000 examples seen.
_USUAL_EPOCHS, _MOST_EPOCHS = 3, 25
_LEAST_SEEN, _MOST_SEEN = 100, 25_000
_BATCH_SHARE, _MOST_BATCH = 0.002, 256
# What a multiplier of 1 is for LoRA; preference pairs are learnt from far more gently.
_LEARNING_RATES = {"supervised": 2e-4, "dpo": 2e-5}
_BETA = 0.1
_RANGES: dict[str, tuple[float, float, bool]] = {
    "n_epochs": (1, 50, True),
    "batch_size": (1, 256, True),
    "learning_rate_multiplier": (0, 10_000, False),
    "beta": (0, 2, False),
}


class Hyperparameters(Value, frozen=True):
    """All of them settled. learning_rate: what the multiplier and the recipe's rate come to; beta: of dpo."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    beta: float

    def listed(self, method: Method) -> Parameters:
        """As the job's object names them."""
        beta = (("beta", self.beta),) if method == "dpo" else ()
        return (
            *beta,
            ("n_epochs", self.n_epochs),
            ("batch_size", self.batch_size),
            ("learning_rate_multiplier", self.learning_rate_multiplier),
        )


def hyperparameter_faults(asked: Parameters, method: Method) -> list[str]:
    """Why these cannot be; none when they can."""
    faults = []
    for name, value in asked:
        least, most, is_whole = _RANGES.get(name, (0, 0, False))
        if name not in _RANGES or (name == "beta" and method != "dpo"):
            faults.append(f"{name} is no hyperparameter of {method} here.")
        elif not isinstance(value, int | float) or isinstance(value, bool) or (is_whole and value != int(value)):
            faults.append(f"{name} is {value!r}; it must be a {'whole ' if is_whole else ''}number or 'auto'.")
        elif not (least <= value if is_whole else least < value) or value > most:
            begins = f"{least:g} or more" if is_whole else f"over {least:g}"
            faults.append(f"{name} is {value}; it must be {begins} and at most {most:g}.")
    return faults


def settle(asked: Parameters, method: Method, examples: int, learning_rate: float | None) -> Hyperparameters:
    """What a job is trained with. asked: without faults. examples: at least 1. learning_rate: the base's own."""
    given = {name: float(value) for name, value in asked}
    multiplier = given.get("learning_rate_multiplier", 1.0)
    return Hyperparameters(
        n_epochs=int(given.get("n_epochs", _epochs(examples))),
        batch_size=int(given.get("batch_size", max(1, min(_MOST_BATCH, round(examples * _BATCH_SHARE))))),
        learning_rate_multiplier=multiplier,
        learning_rate=multiplier * (_LEARNING_RATES[method] if learning_rate is None else learning_rate),
        beta=given.get("beta", _BETA),
    )


def _epochs(examples: int) -> int:
    if examples * _USUAL_EPOCHS < _LEAST_SEEN:
        return min(_MOST_EPOCHS, _LEAST_SEEN // examples)
    if examples * _USUAL_EPOCHS > _MOST_SEEN:
        return max(1, _MOST_SEEN // examples)
    return _USUAL_EPOCHS

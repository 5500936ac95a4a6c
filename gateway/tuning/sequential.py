"""Whether a canary is worse than its champion, looked at as often as one likes.

Each measure is a share of calls that went wrong, of either arm. The evidence against "the canary is no worse" is an
e-process: the likelihood of what was seen, averaged over all pairs of shares (Beta(1/2, 1/2) each), over the greatest
likelihood that "no worse" allows. Under "no worse" its expectation never exceeds 1, so that by Ville's inequality it
ever reaches 1/a with a probability of at most a, however often one looks and whenever one stops (Wasserman, Ramdas and
Balakrishnan 2020). It needs sums alone and does not mind how calls were shared out, or that the share was changed.
"""

import math
from typing import Literal

from gateway.core.values import Value

# Of a canary that is as good as its champion: rolled back at most this often, over all measures and for ever.
FALSE_ROLLBACKS = 0.05
STEPS = 80

Judgement = Literal["go_on", "roll_back"]


class Counts(Value, frozen=True):
    """What was seen of one arm since the canary began.

    errors: calls that failed. malformed: answers that were not of the form that was asked for, of `formed` calls that
    asked for one. disliked: bad words among `rated` answers. slow: calls above a bound that was fixed before the
    canary began, the champion's 95th percentile for instance: one outlier counts for one, however long it took.
    """

    calls: int = 0
    errors: int = 0
    formed: int = 0
    malformed: int = 0
    rated: int = 0
    disliked: int = 0
    slow: int = 0

    def shares(self) -> dict[str, tuple[int, int]]:
        """Of each measure how many went wrong, and of how many."""
        return {
            "errors": (self.errors, self.calls),
            "malformed": (self.malformed, self.formed),
            "disliked": (self.disliked, self.rated),
            # A call that failed was not timed.
            "slow": (self.slow, self.calls - self.errors),
        }


class Evidence(Value, frozen=True):
    """What one measure says. log_evidence: natural, against "no worse"; threshold: where it rolls the canary back."""

    measure: str
    log_evidence: float
    threshold: float

    @property
    def suffices(self) -> bool:
        """Whether it rolls the canary back."""
        return self.log_evidence >= self.threshold


def judge(champion: Counts, canary: Counts, tolerance: float = 0.0) -> Judgement:
    """`roll_back` when the canary is worse in one of the measures by more than `tolerance`, else `go_on`.

    tolerance: how much greater a share may be, 0.01 for a point. The counts are sums since the canary began; with new
    ones the test begins anew. Raises ValueError for counts that cannot be.
    """
    return "roll_back" if any(one.suffices for one in evidence(champion, canary, tolerance)) else "go_on"


def evidence(champion: Counts, canary: Counts, tolerance: float = 0.0) -> tuple[Evidence, ...]:
    """What each measure says. Raises ValueError for counts that cannot be."""
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is {tolerance}; it must be from 0 to 1")
    theirs, ours = champion.shares(), canary.shares()
    threshold = math.log(len(ours) / FALSE_ROLLBACKS)
    found = []
    for measure, (wrong, of) in ours.items():
        before, of_before = theirs[measure]
        for least, most in ((wrong, of), (before, of_before)):
            if not 0 <= least <= most:
                raise ValueError(f"{measure}: {least} of {most} cannot be")
        found.append(Evidence(measure, _log_evidence(before, of_before, wrong, of, tolerance), threshold))
    return tuple(found)


def _log_evidence(before: int, of_before: int, wrong: int, of: int, tolerance: float) -> float:
    if not of or not of_before:
        return 0.0
    averaged = _log_average(before, of_before) + _log_average(wrong, of)
    return averaged - _log_greatest(before, of_before, wrong, of, tolerance)


def _log_average(wrong: int, of: int) -> float:
    """The likelihood of a sequence with so many wrong, averaged over Beta(1/2, 1/2)."""
    return _log_beta(wrong + 0.5, of - wrong + 0.5) - _log_beta(0.5, 0.5)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_greatest(before: int, of_before: int, wrong: int, of: int, tolerance: float) -> float:
    """The greatest likelihood with the canary's share at most the champion's plus the tolerance."""
    if wrong / of <= before / of_before + tolerance:
        return _log_likelihood(before, of_before, before / of_before) + _log_likelihood(wrong, of, wrong / of)

    # Beyond, it lies where the two differ by just the tolerance; the likelihood has one top along that line.
    def along(share: float) -> float:
        return _log_likelihood(before, of_before, share) + _log_likelihood(wrong, of, share + tolerance)

    if not tolerance:
        return along((before + wrong) / (of_before + of))
    low, high = 0.0, 1.0 - tolerance
    for _ in range(STEPS):
        third = (high - low) / 3
        if along(low + third) < along(high - third):
            low += third
        else:
            high -= third
    return along((low + high) / 2)


def _log_likelihood(wrong: int, of: int, share: float) -> float:
    right = of - wrong
    likelihood = 0.0
    if wrong:
        likelihood += wrong * math.log(share) if share > 0 else -math.inf
    if right:
        likelihood += right * math.log1p(-share) if share < 1 else -math.inf
    return likelihood

"""How many false claims chance alone makes where the rule's 5 % holds."""

from scipy import stats


def most_claims(cases: int, rate: float = 0.05, doubt: float = 1e-4) -> int:
    """Return the most of ``cases`` that claim, but for one run in ``1 / doubt``.

    A share is no limit for a few cases: 1 of 18 is over 5 %, and the rule that claims 1.5 % of the
    time does that in every fourth run.
    """
    return int(stats.binom.ppf(1 - doubt, cases, rate))

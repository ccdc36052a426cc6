"""Betting against a hypothesis: evidence that may be looked at after every observation, for ever.

A gambler starts with 1 and bets on each observation at odds that are fair, or too dear, if the hypothesis is true. Then
his wealth is a test (super)martingale: the chance that it ever reaches 1 / alpha is at most alpha, however often one looks
and whenever one stops (Ville 1939; Shafer and Vovk, Game-Theoretic Foundations for Probability and Finance, 2019; Ramdas,
Gruenwald, Vovk, Shafer, Game-Theoretic Statistics and Safe Anytime-Valid Inference, 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


class Wealth:
    """Several gamblers who share one stake, each betting that losses are as likely as he believes; all against the
    hypothesis that the next observation is a loss with probability at most `null`."""

    __slots__ = ("_logs",)

    def __init__(self, gamblers: int) -> None:
        self._logs = [-math.log(gamblers)] * gamblers

    @property
    def log(self) -> float:
        """Natural log of the wealth of all of them; 0 at the start."""
        top = max(self._logs)
        return top + math.log(sum(math.exp(one - top) for one in self._logs))

    def bet(self, lost: bool, null: float, believed: Sequence[float]) -> None:
        """One observation. `null` and `believed` must not depend on it, only on what was seen before.

        A gambler who believes in no more than `null` keeps his money.
        """
        for number, belief in enumerate(believed):
            if belief > null:
                self._logs[number] += math.log(belief / null if lost else (1.0 - belief) / (1.0 - null))

    def against(self, alpha: float) -> bool:
        """Whether the hypothesis is refuted at the level `alpha`, valid at any time."""
        return self.log >= -math.log(alpha)


class Stakes:
    """Gamblers against the hypothesis that the next payoff, -1..1, has a mean of at most `null`: each lays a fixed share of
    the greatest stake that can not ruin him (Waudby-Smith and Ramdas, Estimating means of bounded random variables by
    betting, 2024)."""

    SHARES = (0.15, 0.3, 0.5, 0.75)

    __slots__ = ("_logs",)

    def __init__(self) -> None:
        self._logs = [0.0] * len(self.SHARES)

    @property
    def log(self) -> float:
        """Natural log of the wealth of all of them; 0 at the start."""
        top = max(self._logs)
        return top + math.log(sum(math.exp(one - top) for one in self._logs) / len(self._logs))

    def bet(self, payoff: float, null: float) -> None:
        """One payoff. `null`, above -1, must not depend on it."""
        for number, share in enumerate(self.SHARES):
            self._logs[number] += math.log1p(share / (1.0 + null) * (payoff - null))

    def against(self, alpha: float) -> bool:
        """Whether the hypothesis is refuted at the level `alpha`, valid at any time."""
        return self.log >= -math.log(alpha)

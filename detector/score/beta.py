"""Tails of count distributions through the regularized incomplete beta function.

``I_x(a, b)`` by its continued fraction (DLMF 8.17.22, https://dlmf.nist.gov/8.17#v), evaluated with the modified
Lentz algorithm (Thompson and Barnett 1986, doi:10.1016/0021-9991(86)90046-X). Everything is kept as logarithms, so that
a tail of 1e-500 is still a number.
"""

import math
from typing import Any, Final

from detector.state.compiled import kernel

_TINY: Final = 1e-300  # stands for zero in a denominator
_PRECISION: Final = 1e-14
_MOST_TERMS: Final = 5_000  # near the mean about the square root of the parameters are needed


@kernel
def _fraction(a: Any, b: Any, x: Any) -> Any:
    """The continued fraction of I_x(a, b), which converges fast for x < (a + 1) / (a + b + 2)."""
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        step = 1.0
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + term / c
            c = c if abs(c) > _TINY else _TINY
            step = d * c
            value *= step
        if abs(step - 1.0) < _PRECISION:
            break
    return value


@kernel
def log_beta_tail(a: Any, b: Any, x: Any) -> Any:
    """ln I_x(a, b) for a, b > 0 and 0 < x < 1."""
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return min(front + math.log(_fraction(a, b, x) / a), 0.0)
    rest = min(math.exp(front) * _fraction(b, a, 1.0 - x) / b, 1.0)
    return math.log1p(-rest) if rest < 1.0 else -math.inf


@kernel
def log_count_tail(count: Any, shape: Any, mean: Any) -> Any:
    """ln P(N >= count) of a negative binomial: a Poisson count whose rate is Gamma with this shape and mean.

    Args:
        count: real, so that an exposure may scale it; at most 0 has probability 1.
        shape: above 0; infinity would be Poisson.
        mean: above 0.
    """
    if count <= 0.0:
        return 0.0
    return log_beta_tail(count, shape, mean / (mean + shape))

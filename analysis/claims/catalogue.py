"""The claims of the literature, theme by theme; verdicts.py tests them on records. A claim that fails stays here.

To add one, put an entry into the table of its theme, beside the function that measures it.
"""

from analysis.claims import constraints, ensembles, inference_time, labels, optimisers, rounds, sight, sizes
from analysis.claims.claim import Claim

CLAIMS: tuple[Claim, ...] = (
    *ensembles.CLAIMS,
    *inference_time.CLAIMS,
    *optimisers.CLAIMS,
    *labels.CLAIMS,
    *sight.CLAIMS,
    *rounds.CLAIMS,
    *constraints.CLAIMS,
    *sizes.CLAIMS,
)

"""Laws of over-optimization: their forms, fits to curves, intervals over seeds, and the comparison of forms."""

from gold_sim.laws.fits import (
    AT_REFERENCE,
    GRID,
    LawFit,
    SeedFits,
    Trend,
    common_grid,
    estimate,
    fit,
    fit_seeds,
    fit_seeds_shared,
    fit_shared,
    law_fit,
    least_squares,
    least_squares_shared,
    on_grid,
    r_squared,
    seed_averaged,
    trend,
    trend_over_groups,
)
from gold_sim.laws.forms import FORMS, evaluate, form_named, overoptimization_bon, overoptimization_rl, peak
from gold_sim.laws.intervals import LEVEL, t_interval

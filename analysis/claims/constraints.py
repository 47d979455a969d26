"""Claims on constrained optimisation of a composite reward (Moskovitz et al. 2024), who look at the ends of runs."""

from analysis.claims.claim import Claim, Part
from analysis.claims.measured import at_equilibrium, best_of, fall_along
from analysis.studies.constrained import thresholds

HELD = ("mu", "xi", "all")


def constraints_met(read) -> list[Part]:
    """Components at the end over their thresholds, minus 1: xi within 5 %, mu at least -5 %, all at most 5 %."""
    kinds = {"mu": {"threshold": -0.05}, "xi": {"equal": True, "margin": 0.05}, "all": {"threshold": 0.05, "sign": -1}}
    out = []
    for name, own in kinds.items():
        for i, threshold in enumerate(thresholds(read, f"{name}_joint")):
            off = at_equilibrium(read, f"{name}_joint", name=f"component_{i}") / threshold - 1
            out.append(Part(f"{name} at {threshold:g}", off, **{"margin": 0.0, **own}))
    return out


def joint_points(read) -> list[Part]:
    ends = {name: at_equilibrium(read, f"xi_{name}") for name in ("joint", "independent")}
    note = f"{ends['joint'].mean():.2f} minus {ends['independent'].mean():.2f}"
    return [Part("joint minus independent", ends["joint"] - ends["independent"], note=note)]


def composite_falls(read) -> list[Part]:
    fall = fall_along(read, "composite", "rl", last=0.25)
    return [Part("fall of the composite", fall.values, note=f"from {fall.peak.mean():.2f}")]


def constrained_fall_less(read) -> list[Part]:
    plain = fall_along(read, "composite", "rl", last=0.25).values
    fall = lambda name: fall_along(read, f"{name}_joint", "rl", last=0.25).values
    return [Part(name, plain - fall(name)) for name in HELD]


def against_penalties(read) -> list[Part]:
    best = best_of({name: at_equilibrium(read, name) for name in ("xi_joint", "mu_joint")})
    note = f"of {best.mean():.2f}"
    return [
        Part(f"minus {read.label(name)}", best - at_equilibrium(read, name), note=note)
        for name in ("kl_penalty", "adaptive_kl")
    ]


MOSKOVITZ = "Moskovitz et al. 2024"
LAST = "over the last quarter of the steps"
FALL = f"gold at the peak over the first half of the steps (chosen on the earlier seeds) minus gold {LAST}"
CLAIMS = (
    Claim(
        name="constraints_met",
        experiment="constrained",
        source=MOSKOVITZ,
        says="runs end at their thresholds: xi within 5 %, mu not below, all not above",
        estimand=f"components {LAST} over their thresholds, minus 1; all",
        measure=constraints_met,
        variants=tuple(f"{name}_joint" for name in HELD),
    ),
    Claim(
        name="joint_points",
        experiment="constrained",
        source=MOSKOVITZ,
        says="joint proxy points keep more gold than independent ones",
        estimand=f"gold of xi {LAST}, joint minus independent",
        measure=joint_points,
        variants=("xi_joint", "xi_independent"),
    ),
    Claim(
        name="composite_falls",
        experiment="constrained",
        source="none",
        says="the unconstrained composite falls",
        estimand=FALL,
        measure=composite_falls,
        variants=("composite",),
        kind="premise",
    ),
    Claim(
        name="constrained_fall_less",
        experiment="constrained",
        source=MOSKOVITZ,
        says="constrained runs end nearer their peak than the unconstrained composite",
        estimand=f"{FALL}: the composite's minus each constraint's; all",
        measure=constrained_fall_less,
        variants=("composite", *(f"{name}_joint" for name in HELD)),
        premises=("composite_falls",),
    ),
    Claim(
        name="constrained_against_penalties",
        experiment="constrained",
        source=MOSKOVITZ,
        says="constraints end higher than a tuned and an adaptive KL penalty",
        estimand=f"gold {LAST}, the better of xi and mu (chosen on the earlier seeds) minus each penalty's; both",
        measure=against_penalties,
        variants=("xi_joint", "mu_joint", "kl_penalty", "adaptive_kl"),
    ),
)

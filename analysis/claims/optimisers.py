"""Claims on optimisers, direct alignment, penalties and shaping."""

from functools import partial

import numpy as np
import pandas as pd

from analysis import curves, runs
from analysis.claims.claim import Claim, NotMeasured, Part
from analysis.claims.ensembles import AT_RL, FALL, falls_at_all
from analysis.claims.measured import (
    KLS,
    Term,
    at_equilibrium,
    at_kl,
    best_of,
    contrast,
    course,
    fall_along,
    falls,
    minus,
    nats,
    not_reached,
    of_prompts,
    peaks,
    reached,
    small_fall,
    steady,
)
from gold_sim import laws

GRADIENTS = ("rloo", "reinforce", "ppo", "grpo")
CHI_PO_FROM = 0.1  # beta, nats
STEADY = 0.2  # share by which KL may change over a penalised run's last part


# --- optimisers -----------------------------------------------------------------------------------


def against_best_of_n(read) -> list[Part]:
    """Gold of best-of-n minus that of each optimiser, at the KLs of best-of-n."""
    bon = runs.by_seed(read, "best_of_n", "bon")
    out, kls = [], KLS["bon"]
    for name in GRADIENTS:
        rl = runs.by_seed(read, name, "rl")
        rows = {
            s: at_kl(bon[s]["d"], bon[s]["gold"], kls) - at_kl(r["d"], r["gold"], kls)
            for s, r in rl.items()
            if s in bon
        }
        table = pd.DataFrame.from_dict(rows, orient="index", columns=[*kls])
        far = {s: float(r["d"].max() ** 2) for s, r in rl.items()}
        if not (counted := reached(table)):
            raise NotMeasured(f"{name}: {not_reached(kls[0], far)}")
        note = ", ".join(f"{table[kl].mean():.2f} at {kl:g}" for kl in counted)
        prompts = of_prompts(read, [Term(1.0, "best_of_n")], counted)  # RL is measured on others
        out.append(Part(read.label(name), table[counted].mean(axis=1, skipna=False), prompts=prompts, note=note))
    return out


def one_curve(read) -> list[Part]:
    names = (*GRADIENTS[1:], "expert_iteration")
    return [contrast(read, "rl", minus(name, "rloo"), read.label(name), equal=True) for name in names]


# --- direct alignment -----------------------------------------------------------------------------


def _losses(read):
    for loss in sorted(read.curves["optimiser"].unique()):
        yield loss, sorted(float(b) for b in read.curves.loc[read.curves["optimiser"] == loss, "dpo_beta"].unique())


def peaks_before_the_end(read) -> list[Part]:
    out = []
    for loss, betas in _losses(read):
        fall = fall_along(read, betas[0], "direct", optimiser=loss)
        out.append(Part(f"{loss} at beta {betas[0]:g}", fall.values, note=f"from {fall.peak.mean():.2f}"))
    return out


def smaller_beta_goes_further(read) -> list[Part]:
    out = []
    for loss, betas in _losses(read):
        ends = [course(read, b, "direct", "kl", optimiser=loss).iloc[:, -1] for b in betas]
        table = np.log(pd.DataFrame(dict(zip(betas, ends, strict=True))).clip(lower=1e-9))
        steep = table.apply(lambda row: np.corrcoef(np.log(row.index), row)[0, 1], axis=1)
        out.append(Part(loss, steep, -0.7, -1, margin=0.0))
    return out


def rl_form_beats_quadratic(read) -> list[Part]:
    """Error of both forms, fitted to the points of all betas of a loss together, seed by seed."""
    out = []
    for loss, betas in _losses(read):
        found = [runs.by_seed(read, beta, "direct", optimiser=loss) for beta in betas]
        less, rl = {}, []
        for seed in set.intersection(*map(set, found)):
            mine = pd.concat([curves.outward(of_beta[seed]) for of_beta in found])
            mine = mine[mine["d"] >= laws.FORMS["rl"].d_min]
            if len(mine) < 4:
                raise NotMeasured(f"{loss} hardly leaves the reference policy")
            d, gold = mine["d"].to_numpy(), mine["gold"].to_numpy()
            errors = {form: _rmse(form, d, gold) for form in ("rl", "quadratic")}
            less[seed] = errors["quadratic"] - errors["rl"]
            rl.append(errors["rl"])
        out.append(Part(loss, pd.Series(less).sort_index(), margin=0.0, note=f"of {np.mean(rl):.3f}"))
    return out


def _rmse(form: str, d, gold) -> float:
    fit = laws.fit(form, [d], [gold])
    return float(np.sqrt(np.mean(np.square(laws.evaluate(form, d, fit.alpha, fit.beta) - gold))))


def pessimistic_alignment(read) -> list[Part]:
    """RPO at any beta, chi-PO from CHI_PO_FROM on, where it is said to hold."""
    out = []
    for beta in sorted(float(b) for b in read.curves["dpo_beta"].unique()):
        for name in ("rpo", "chi_po") if beta >= CHI_PO_FROM else ("rpo",):
            fall = fall_along(read, name, "direct", dpo_beta=beta)
            out.append(small_fall(f"{read.label(name)} at beta {beta:g}", fall, 0.05, falls=False))
    return out


def dpo_falls(read) -> list[Part]:
    beta = float(read.curves["dpo_beta"].min())
    fall = fall_along(read, "dpo", "direct", dpo_beta=beta)
    return [Part(f"fall of DPO at beta {beta:g}", fall.values, note=f"from {fall.peak.mean():.2f}")]


# --- penalties, shaping ---------------------------------------------------------------------------


def penalised_runs_are_steady(read) -> list[Part]:
    """The change of KL over the last quarter of every penalised run."""
    names = [name for name in read.variants if name.startswith(("kl_", "chi2_"))]
    return [Part(read.label(name), steady(read, name), STEADY, -1, margin=0.0) for name in names]


def chi2_beats_kl(read) -> list[Part]:
    """The best coefficient of either kind, chosen on the earlier seeds; as many of each."""
    options = {kind: [n for n in read.variants if n.startswith(f"{kind}_")] for kind in ("chi2", "kl")}
    if len({len(names) for names in options.values()}) > 1:
        counts = " against ".join(f"{len(names)} {kind}" for kind, names in options.items())
        raise NotMeasured(f"{counts} coefficients: the better of more is higher by chance")
    best = {kind: best_of({n: at_equilibrium(read, n) for n in names}) for kind, names in options.items()}
    note = f"{best['chi2'].mean():.2f} minus {best['kl'].mean():.2f}"
    return [Part("chi2 minus KL", best["chi2"] - best["kl"], -0.05, margin=0.0, note=note)]


def par(read) -> list[Part]:
    peak = peaks(read, "rl", {name: (name, {}) for name in ("none", "par")})
    found = falls(read, "rl", {name: name for name in ("none", "par")})
    moved = peak["par"] - peak["none"]
    return [
        Part("peak with minus without", moved, equal=True, margin=0.15 * float(peak["none"].mean())),
        Part("fall without minus with", found["none"].values - found["par"].values, note=found["none"].where),
    ]


GAO, RAFAILOV = "Gao et al. 2023", "Rafailov et al. 2024"
END = "gold at the peak over the first half of the data (chosen on the earlier seeds) minus gold at the end"
CLAIMS = (
    Claim(
        name="bon_is_thrifty",
        experiment="optimisers",
        source=GAO,
        says="best-of-n pays least KL for equal gold",
        estimand=f"gold at equal KL, best-of-n's minus each policy gradient's, mean over {nats('bon')}; all",
        measure=against_best_of_n,
        variants=("best_of_n", *GRADIENTS),
    ),
    Claim(
        name="one_curve",
        experiment="optimisers",
        source="none",
        says="policy-gradient methods and expert iteration give the same gold at equal KL",
        estimand=f"gold, each one's minus RLOO's, {AT_RL}: within 0.1 s.d.; all",
        measure=one_curve,
        variants=(*GRADIENTS, "expert_iteration"),
    ),
    Claim(
        name="dpo_peaks_early",
        experiment="direct_alignment",
        source=RAFAILOV,
        says="at small beta gold peaks before the data ends",
        estimand=f"{END}, the smallest beta; all losses",
        measure=peaks_before_the_end,
    ),
    Claim(
        name="beta_and_kl",
        experiment="direct_alignment",
        source=RAFAILOV,
        says="smaller beta goes further",
        estimand="correlation of log KL at the end with log beta, against -0.7; all losses",
        measure=smaller_beta_goes_further,
    ),
    Claim(
        name="rl_form",
        experiment="direct_alignment",
        source=RAFAILOV,
        says="the RL form fits better than the quadratic",
        estimand="RMSE over the points of all betas, the quadratic's minus the RL form's; all losses",
        measure=rl_form_beats_quadratic,
    ),
    Claim(
        name="dpo_falls",
        experiment="direct_alignment_pessimism",
        source="none",
        says="25 % noise: DPO falls at the smaller beta",
        estimand=END,
        measure=dpo_falls,
        variants=("dpo",),
        kind="premise",
    ),
    Claim(
        name="pessimistic_alignment",
        experiment="direct_alignment_pessimism",
        source="Liu et al. 2024; Huang et al. 2024",
        says=f"25 % noise: RPO, and chi-PO from beta {CHI_PO_FROM:g} on, end within 5 % of their peak",
        estimand=f"{END}, minus 5 % of the peak; RPO at both betas and chi-PO at the larger: all",
        measure=pessimistic_alignment,
        variants=("rpo", "chi_po"),
        premises=("dpo_falls",),
    ),
    Claim(
        name="penalised_runs_are_steady",
        experiment="divergence",
        source="none",
        says="penalised runs end at their equilibrium: KL changes by 20 % at most over the last quarter",
        estimand="KL of the last eighth of the points minus that of the one before, over their mean; all penalties",
        measure=penalised_runs_are_steady,
        variants=("kl_*", "chi2_*"),
        kind="premise",
    ),
    Claim(
        name="chi2",
        experiment="divergence",
        source="Laidlaw et al. 2024",
        says="the best chi2 penalty keeps as much gold as the best KL penalty (0.05 s.d.)",
        estimand="gold over the last quarter of the steps, the best of each kind (chosen on the earlier seeds, of as "
        "many), against -0.05",
        measure=chi2_beats_kl,
        variants=("kl_*", "chi2_*"),
        premises=("penalised_runs_are_steady",),
    ),
    Claim(
        name="unshaped_falls",
        experiment="reward_shaping",
        source="none",
        says="without shaping gold falls",
        estimand=FALL,
        measure=partial(falls_at_all, variant="none"),
        variants=("none",),
        kind="premise",
    ),
    Claim(
        name="par",
        experiment="reward_shaping",
        source="Fu et al. 2025",
        says="PAR leaves the peak (15 %) and falls less",
        estimand=f"gold at the peak within 15 % of that without; {FALL}: without minus with; both",
        measure=par,
        variants=("none", "par"),
        premises=("unshaped_falls",),
    ),
)

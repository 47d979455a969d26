"""Laws that saturate, shares of successes, surfaces, and first halves: against answers found in other ways."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

from analysis.__main__ import main
from analysis.fit import bounded_coverage
from analysis.fit.coverage import correlated_noise
from gold_sim import laws
from gold_sim.laws import prediction, response, saturation, saturation_fits, shares, surface

X = np.linspace(0.0, 1000.0, 41)
TRUE = (0.1, 0.7, 150.0, 1.3)


def law(x, r0=0.1, a=0.7, c_mid=150.0, b=1.3):
    """Khatri et al. 2025, eq. 1, as it stands in the paper."""
    with np.errstate(divide="ignore"):
        return r0 + (a - r0) / (1 + (c_mid / np.asarray(x, float)) ** b)


def of(found):
    return found.R0, found.A, found.C_mid, found.B


# --- laws that saturate --------------------------------------------------------------------------


def test_the_law_by_hand():
    """(C_mid / x)^B = 4^(1/2) = 2 at x = 1: 0.1 + 0.6 / 3 = 0.3.  Half of the way at C_mid; R0 at 0."""
    assert saturation.evaluate([0.0, 1.0, 4.0], 0.1, 0.7, 4.0, 0.5) == pytest.approx([0.1, 0.3, 0.4])


@pytest.mark.parametrize("scale", [1.0, 1e21])  # steps, flops
@pytest.mark.parametrize("truth", [TRUE, (0.9, 0.2, 30.0, 3.0), (0.0, 1.0, 700.0, 0.6)])
def test_a_laws_own_points_give_it_back_in_any_unit(scale, truth):
    """The second falls, as losses do; the third is at 55 % of its way where the data end."""
    r0, a, c_mid, b = truth
    found = saturation_fits.fit("sigmoid", [X * scale] * 2, [law(X, *truth)] * 2)
    assert of(found) == pytest.approx((r0, a, c_mid * scale, b), rel=1e-4, abs=1e-6)
    assert found.A_ci == pytest.approx((a, a), abs=1e-5) and found.r2 == pytest.approx(1)
    end = law(1000.0, *truth)
    assert found.short == pytest.approx(a - end, abs=1e-5)
    assert found.reached == pytest.approx((end - r0) / (a - r0), abs=1e-5)


def test_hill_is_the_sigmoid_that_starts_at_0():
    y = law(X, 0.0)
    assert of(saturation_fits.fit("hill", [X], [y])) == pytest.approx((0.0, *TRUE[1:]), rel=1e-6)
    noisy = y + 0.03 * np.random.default_rng(0).standard_normal(len(X))
    held = saturation_fits.fit("sigmoid", [X], [noisy], start=[0.0])
    assert of(held) == pytest.approx(of(saturation_fits.fit("hill", [X], [noisy])), rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("noise", [0.03, 0.3])
def test_no_other_start_of_another_optimiser_finds_less(seed, noise):
    """scipy's trust-region least squares in the same box, from 60 random starts. At 0.3 there are many valleys."""
    rng = np.random.default_rng(seed)
    y = law(X) + noise * rng.standard_normal(len(X))
    data = saturation.Data(X, y, np.ones(len(X)))
    box, best = saturation.bounds(data), np.inf
    for start in rng.uniform(*box, (60, 4)):
        start[:2] = rng.uniform(y.min(), y.max(), 2)
        best = min(best, 2 * optimize.least_squares(lambda t: saturation.at(X, t) - y, start, bounds=box).cost)
    ours = np.sum((saturation.at(X, saturation.estimate(data)) - y) ** 2)
    assert ours <= best * (1 + 1e-6)


def test_weights_and_runs_of_unlike_length():
    """A point of ten times the weight counts as ten points; a run of 41 points as much as one of 21."""
    rng = np.random.default_rng(1)
    y = law(X) + 0.03 * rng.standard_normal(len(X))
    se = np.where(np.arange(len(X)) == 7, np.sqrt(0.1), 1.0)
    ten = [np.concatenate([c, np.full(9, c[7])]) for c in (X, y)]
    one, many = saturation_fits.fit("sigmoid", [X], [y], ses=[se]), saturation_fits.fit("sigmoid", *[[c] for c in ten])
    assert of(one) == pytest.approx(of(many), rel=1e-6)
    other = law(X[::2], a=0.8)
    twice = [np.concatenate([c, c]) for c in (X[::2], other)]
    short = saturation_fits.fit("sigmoid", [X, X[::2]], [y, other])
    assert of(short) == pytest.approx(of(saturation_fits.fit("sigmoid", [X, twice[0]], [y, twice[1]])), rel=1e-6)


# --- shares of successes --------------------------------------------------------------------------


def test_binomial_fit_is_the_maximum_of_the_likelihood():
    """Another optimiser on scipy's own binomial distribution; a few trials only, so that least squares is elsewhere."""
    rng = np.random.default_rng(0)
    n = rng.integers(5, 40, len(X))
    k = rng.binomial(n, law(X))
    minus = lambda t: -stats.binom.logpmf(k, n, np.clip(law(X, t[0], t[1], np.exp(t[2]), np.exp(t[3])), 1e-12, 1)).sum()
    options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 20_000, "maxfev": 20_000}
    other = optimize.minimize(minus, [0.1, 0.7, 5.0, 0.3], method="Nelder-Mead", options=options)
    found = saturation_fits.fit("sigmoid", [X], [k / n], trials=[n])
    assert found.at_bounds == () and found.log_likelihood == pytest.approx(-other.fun, abs=1e-8)
    assert of(found) == pytest.approx((*other.x[:2], *np.exp(other.x[2:])), rel=1e-4)
    assert of(saturation_fits.fit("sigmoid", [X], [k / n])) != pytest.approx(of(found), rel=1e-2)


def test_an_asymptote_on_its_bound_is_named_and_shares_stay_within():
    rng = np.random.default_rng(3)
    y = rng.binomial(50, np.minimum(law(X, 0.0, 1.3, 60.0, 2.5), 1)) / 50
    found = saturation_fits.fit("sigmoid", [X], [y], trials=[np.full(len(X), 50)])
    assert "A" in found.at_bounds and found.A == 1.0 and np.isnan(found.A_ci).all()
    assert all(0 <= p <= 1 for p in found(np.array([0.0, 1.0, 1e9])))
    one = prediction.second_half_of_shares("sigmoid", X, y, np.full(len(X), 50))
    assert (one.low >= 0).all() and (one.high <= 1).all()


def test_overdispersion_is_told_and_widens():
    """Shares twice as far off as trials have it: Pearson's chi-squared is 4 times as large, intervals twice as wide."""
    rng = np.random.default_rng(0)
    n, p = np.full(len(X), 4000), law(X)
    y = rng.binomial(n, p) / n
    plain = saturation_fits.fit("sigmoid", [X], [y], trials=[n])
    fitted = plain(X)
    wide = saturation_fits.fit("sigmoid", [X], [fitted + 2 * (y - fitted)], trials=[n])
    assert plain.dispersion_p > 0.01 > wide.dispersion_p and wide.dispersion == pytest.approx(
        4 * plain.dispersion, rel=0.02
    )
    ratio = np.diff(wide.A_ci)[0] / np.diff(plain.A_ci)[0]
    assert ratio == pytest.approx(np.sqrt(wide.dispersion / max(plain.dispersion, 1)), rel=0.1)


def test_shares_over_distance_are_a_logistic_regression():
    """p0 and alpha of the linear law maximise the likelihood that scipy's optimiser maximises; the peak is bon's."""
    rng = np.random.default_rng(0)
    d, n = np.linspace(0, 4, 41), np.full(41, 30)
    k = rng.binomial(n, special.expit(laws.evaluate("bon", d, 1.0, 0.2)))
    minus = lambda t: -stats.binom.logpmf(k, n, special.expit(t[0] + t[1] * d - t[2] * d**2)).sum()
    other = optimize.minimize(minus, np.zeros(3), method="BFGS", options={"gtol": 1e-8}).x
    found = shares.fit("bon", [d], [k / n], [n])
    assert (special.logit(found.p0), found.alpha, found.beta) == pytest.approx(other, abs=1e-4)
    assert found.d_peak == pytest.approx(found.alpha / (2 * found.beta))
    assert found.share_peak == pytest.approx(found(np.array([found.d_peak]))[0])
    held = shares.fit("bon", [d], [k / n], [n], start=[0.5])
    assert held.p0 == 0.5 and np.isnan(held.p0_ci).all()


def test_beta_binomial_interval_is_scipys():
    n, a, b = 40, 3.0, 5.0
    of_share = stats.betabinom(n, a, b)
    given = of_share.mean() / n, n, of_share.var() / n**2, 0.9
    assert prediction.beta_binomial_interval(*given) == pytest.approx(np.array(of_share.ppf([0.05, 0.95])) / n)


# --- first halves and coverage ---------------------------------------------------------------------


def test_the_variance_beyond_a_fit_by_hand():
    """A line through 0 with independent noise: 1 + x^2 / sum x^2.  Else (-H, 1) R (-H, 1)', with R_ij = c^|i - j|."""
    x, far = np.arange(1.0, 9.0), np.array([9.0, 10.0])
    plain = prediction.relative_variance(x[:, None], far[:, None], 0.0)
    assert plain == pytest.approx(1 + far**2 / (x @ x))
    for i in range(2):
        row = np.concatenate([-far[i] * x / (x @ x), np.eye(2)[i]])
        r = np.array([[0.8 ** abs(a - b) for a in range(10)] for b in range(10)])
        assert prediction.relative_variance(x[:, None], far[:, None], 0.8)[i] == pytest.approx(row @ r @ row)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_noise_of_long_runs_is_known(correlation):
    noise = 0.3 * correlated_noise(np.random.default_rng(0), (40, 80), correlation)
    j = np.stack([np.linspace(0, 1, 80), np.linspace(0, 1, 80) ** 2], -1)
    variance, seen, df = prediction.noise_of(noise + j[:, 0] * np.arange(40)[:, None], j)
    assert seen == pytest.approx(correlation, abs=0.04) and variance == pytest.approx(0.09, rel=0.15)
    assert df < 40 * 78 + 1 and (correlation > 0 or df == pytest.approx(40 * 78, rel=0.01))


@pytest.mark.parametrize("form", ["sigmoid", "hill"])
def test_intervals_and_bands_cover(form):
    """In 150 made data sets, standard error 0.025 (and less of bands). With 500: docs/trusting_fits.md."""
    for runs, within in ((4, None), (1, 0.0)):
        found = bounded_coverage.saturating(form, runs, within, np.random.default_rng(1), 150)
        bands, intervals = found.pop("second half"), [found[name] for name in bounded_coverage.TRUTH if name in found]
        assert len(intervals) == 4 - (form == "hill") and all(0.83 <= share <= 0.97 for share in intervals)
        assert bands > 0.78 if within is None else 0.85 <= bands <= 0.97


def test_a_wrong_law_does_not_predict_the_second_half():
    y = law(X) + 0.01 * np.random.default_rng(0).standard_normal((4, len(X)))
    assert prediction.second_half("sigmoid", X, y).covered > 0.7
    assert prediction.second_half("linear", np.sqrt(X), y).covered < 0.2


# --- surfaces --------------------------------------------------------------------------------------


def test_chinchillas_surface_is_given_back():
    """Hoffmann et al. 2022, eq. 10: E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e8, 1e11, 6)))
    y = 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28
    found = response.response(np.stack([n, d], 1), y, (("n", "power"), ("d", "power")))
    assert found.fitted.linear == pytest.approx([1.69, 406.4, 410.7], rel=1e-4)
    assert found.fitted.exponents == pytest.approx([0.34, 0.28], rel=1e-5) and not found.fitted.at_bounds.any()
    assert found([1e9], [1e9]) == pytest.approx(1.69 + 406.4 / 1e9**0.34 + 410.7 / 1e9**0.28)


def test_the_one_step_jackknife_is_the_jackknife_where_all_is_linear():
    rng = np.random.default_rng(0)
    x = np.exp(rng.standard_normal((30, 2)))
    y, seeds = rng.standard_normal(30), np.repeat(np.arange(5), 6)
    found = response.response(x, y, (("a", "log"), ("b", "log")), seeds).fitted
    design = np.concatenate([np.ones((30, 1)), np.log10(x)], 1)
    fit = lambda keep: np.linalg.lstsq(design[keep], y[keep], rcond=None)[0]
    pseudo = np.stack([5 * fit(seeds >= 0) - 4 * fit(seeds != u) for u in range(5)])
    assert np.diff(found.linear_ci)[:, 0] == pytest.approx(np.diff(laws.t_interval(pseudo), axis=0)[0])


def test_a_laws_coefficients_with_a_power_term():
    d, runs = np.linspace(0.2, 4, 12), []
    for size in (-1.0, 0.0, 1.0):
        for data in (3.0, 4.0, 5.0, 6.0):
            alpha, beta = 0.5 + 0.1 * size - 3 * 10 ** (-0.4 * data), 0.1 + 0.5 * 10 ** (-0.4 * data)
            runs += [surface.Run(d, laws.evaluate("bon", d, alpha, beta), (size, data), seed) for seed in (0, 1)]
    found = surface.surface("bon", runs, ("size", "data"), kinds=("log", "power"))
    assert found.alpha == pytest.approx([0.5, 0.1, -3.0], rel=1e-4) and found.exponents == pytest.approx(
        [0.4], rel=1e-4
    )
    assert found.beta == pytest.approx([0.1, 0.0, 0.5], rel=1e-4, abs=1e-6)
    assert found.coefficients(1.0, 4.0) == pytest.approx((0.6 - 3 * 10**-1.6, 0.1 + 0.5 * 10**-1.6), rel=1e-4)


# --- the command -----------------------------------------------------------------------------------


def table(tmp_path, **columns):
    """A trainer's log of two runs that were resumed, with scores at every other step."""
    rows = []
    for seed in (0, 1):
        y = law(X) + 0.003 * np.random.default_rng(seed).standard_normal(len(X))
        run = pd.DataFrame({"step": X, "seed": seed, "kl": X / 50, "loss": 0.3, "gold": y, "proxy": 2 * y, "wins": 0.5})
        run.loc[1::2, ["gold", "proxy"]] = np.nan
        rows += [run.assign(**columns), run.tail(2).assign(**columns)]
    pd.concat(rows).to_csv(tmp_path / "log.csv", index=False)
    return tmp_path / "log.csv"


def run(tmp_path, *arguments):
    assert main(["fit", *map(str, arguments), "--json", str(tmp_path / "fit.json")]) == 0
    return json.loads((tmp_path / "fit.json").read_text())


def test_steps_need_no_unit_of_kl_and_the_result_says_what_x_is(tmp_path, capsys):
    path = table(tmp_path)
    found = run(tmp_path, path, "--x", "steps", "--form", "sigmoid", "--seed-column", "seed", "--halves")
    (group,) = found["groups"]
    assert [group[name] for name in saturation.NAMES] == pytest.approx(TRUE, rel=0.1)
    assert found["x"] == {"of": "steps", "column": "step", "unit": "steps, as the column counts them"}
    text = " ".join(found["warnings"])
    assert "A not reached: the asymptote" in text or group["reached"] >= 0.9
    assert group["second_half"]["covered"] > 0.6 and "of the first half of step holds" in capsys.readouterr().out
    assert not any(word in text.lower() for word in ("kl", "distance", "nats", "reference"))
    stated = found["checklist"]["stated"]
    assert "fitted: R0, A, C_mid, B a group" in stated["form"] and stated["objective"].startswith(
        "squared error; a grid"
    )
    assert "column step" in stated["variables"] and stated["validation"] == "the second half, by the law of the first"
    proxy = run(tmp_path, path, "--x", "steps=step", "--y", "proxy", "--form", "hill", "--seed-column", "seed")
    assert proxy["y"] == "proxy" and proxy["groups"][0]["A"] == pytest.approx(1.4, rel=0.1)
    held = run(tmp_path, path, "--x", "steps", "--form", "sigmoid", "--seed-column", "seed", "--reference", 0.1)
    assert held["groups"][0]["R0"] == 0.1 and held["groups"][0]["R0_ci"] == [None, None]
    first = run(tmp_path, path, "--x", "steps", "--form", "sigmoid", "--seed-column", "seed", "--reference", "first")
    starts = [law(0) + 0.003 * np.random.default_rng(seed).standard_normal() for seed in (0, 1)]
    assert first["groups"][0]["R0"] == pytest.approx(np.mean(starts))


def test_kl_of_a_trainers_log_still_wants_its_unit(tmp_path, capsys):
    path = table(tmp_path)
    assert main(["fit", str(path), "--x", "kl", "--form", "sigmoid"]) == 2
    assert "--kl-unit response" in capsys.readouterr().err
    found = run(tmp_path, path, "--x", "kl", "--kl-unit", "response", "--form", "sigmoid", "--seed-column", "seed")
    assert found["groups"][0]["C_mid"] == pytest.approx(3.0, rel=0.1) and found["x"]["unit"] == "nats a response"


def test_shares_through_the_command(tmp_path):
    """The command's figures are those of the function; criteria by hand: k = 4, and no variance."""
    rng = np.random.default_rng(0)
    wins = rng.binomial(50, law(X)) / 50
    pd.DataFrame({"tokens": X * 1e6, "wins": wins, "of": 50}).to_csv(tmp_path / "w.csv", index=False)
    arguments = [tmp_path / "w.csv", "--x", "tokens", "--y", "wins", "--form", "sigmoid"]
    found = run(tmp_path, *arguments, "--trials", "of")
    plain = saturation_fits.fit("sigmoid", [X * 1e6], [wins], trials=[np.full(len(X), 50)])
    assert [found["groups"][0][name] for name in saturation.NAMES] == pytest.approx(of(plain))
    assert found["groups"][0]["A_ci"] == pytest.approx(plain.A_ci) and found["likelihood"] == "binomial"
    assert found["bic"] == pytest.approx(4 * np.log(41) - 2 * plain.log_likelihood)
    assert run(tmp_path, *arguments, "--trials", 50)["groups"] == found["groups"]
    distance = run(tmp_path, arguments[0], "--x", "sqrt_kl=tokens", "--y", "wins", "--form", "linear", "--trials", "of")
    for result, form in ((found, "R(x) = R0"), (distance, "logit p = logit p0 + R(d)")):
        stated = result["checklist"]["stated"]
        assert stated["objective"].startswith("binomial likelihood") and stated["form"].startswith(form)
        assert "share of successes" in stated["variables"] and "binomial" in stated["uncertainty"]


@pytest.mark.parametrize(("kind", "column"), [("steps", "Step"), ("flops", "total_flos"), ("samples", "episode")])
def test_x_is_found_by_the_names_that_trainers_use(tmp_path, kind, column):
    pd.DataFrame({column: X, "B": "one", "score": law(X), "start": 0}).to_csv(tmp_path / "t.csv", index=False)
    found = run(tmp_path, tmp_path / "t.csv", "--x", kind, "--y", "score", "--form", "sigmoid", "--seed-column", "B")
    assert found["x"]["of"] == kind and found["x"]["column"] == column and found["groups"][0]["converged"]


SCORES = {"step": X, "score": law(X), "n": 20, "size": 1.0}
REFUSED = {
    "a share above 1": ({"score": 55.0}, "--trials 20", "score=55 in data row 1; with --trials shares from 0 to 1"),
    "a share below 0": ({"score": np.where(X == 25, -0.1, 0.2)}, "--trials 20", "score=-0.1 in data row 2"),
    "an error of 0": ({"n": np.where(X == 0, 0.0, 1.0)}, "--se n", "n=0 in data row 1; a standard error above 0"),
    "no trials": ({"n": np.where(X == 50, 0, 20)}, "--trials n", "n=0 in data row 3; at least 1 trial"),
    "half a trial": ({}, "--trials 0.5", "--trials 0.5: allowed are a column, and numbers from 1"),
    "both errors": ({}, "--trials 20 --se n", "--trials with --se"),
    "a start above 1": ({}, "--trials 20 --reference 2", "share 2 at x = 0: allowed are 0 to 1"),
    "a logit of 0": ({}, "--x kl=step --form bon --trials 20 --reference 0", "share 0 at the reference policy"),
    "a start of hill": ({}, "--form hill --reference 0.1", "hill, which starts at 0"),
    "hill at 0": ({}, "--form hill --trials 20", "is 0 at x = 0, where a share is 0.1"),
    "a distance": ({}, "--d-min 0.3", "--x-min leaves out points below"),
    "a law of distance": ({}, "--form rl", "--x steps is none; allowed are sigmoid, hill"),
    "the unit of KL": ({}, "--kl-unit token", "--kl-unit token goes with --x kl"),
    "one alpha": ({}, "--share alpha", "--share with --form sigmoid"),
    "steps below 0": ({"step": X - 1.0}, "", "step=-1 in data row 1; allowed from 0"),
    "another x": ({}, "--x stairs", "allowed are kl, sqrt_kl, n, steps, tokens, flops, samples"),
    "another form": ({}, "--form sigmoidal", "linear, sigmoid, hill"),
    "a shape": ({}, "--x kl=step --form power --trials 20", "allowed are bon, rl, log1p"),
    "a term": ({}, "--surface step:cube", "step:log, step:power"),
    "another surface": ({}, "--surface size:log", "coefficients of laws of distance alone"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_one_line(tmp_path, capsys, case):
    changes, words, said = REFUSED[case]
    pd.DataFrame(SCORES | changes).to_csv(tmp_path / "t.csv", index=False)
    default = ["--x", "steps", "--y", "score", "--form", "sigmoid"]
    assert main(["fit", str(tmp_path / "t.csv"), *default, *words.split()]) == 2
    text = capsys.readouterr().err.strip()
    assert said in text and "\n" not in text


def test_a_surface_through_the_command(tmp_path, capsys):
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e8, 1e11, 6)))
    y = 1.69 + 406.4 / n**0.34 + 0.2 * np.log10(d)
    pd.DataFrame({"N": n, "D": d, "loss": y}).to_csv(tmp_path / "n.csv", index=False)
    found = run(tmp_path, tmp_path / "n.csv", "--y", "loss", "--surface", "N:power,D:log")
    assert [row["value"] for row in found["groups"]] == pytest.approx([1.69, 406.4, 0.2, 0.34], rel=1e-4)
    assert [row["term"] for row in found["groups"]] == ["1", "N^-p", "log10 D", ""]
    assert "every row counts as an independent run" in found["warnings"][0]
    rows = []
    for size in (1.0, 10.0, 100.0):
        for seed in (0, 1):
            gold = laws.evaluate("bon", np.linspace(0, 4, 9), 0.5 + 0.1 * np.log10(size) + 0.01 * seed, 0.1)
            rows.append(pd.DataFrame({"kl": np.linspace(0, 4, 9) ** 2, "gold": gold, "size": size, "seed": seed}))
    pd.concat(rows).to_csv(tmp_path / "k.csv", index=False)
    arguments = [tmp_path / "k.csv", "--x", "kl", "--form", "bon", "--surface", "size:log", "--seed-column", "seed"]
    found = run(tmp_path, *arguments)
    assert [row["value"] for row in found["groups"]] == pytest.approx([0.505, 0.1, 0.1, 0.0], abs=1e-9)
    assert np.diff(found["groups"][0]["value_ci"])[0] == pytest.approx(2 * stats.t.ppf(0.95, 1) * 0.005)
    assert not found["warnings"]

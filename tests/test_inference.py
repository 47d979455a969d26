"""Selection rules: one contract, exact answers where there are any."""

import numpy as np
import pytest
import scipy.stats

from gold_sim.optimisation import best_of_n, selection_rules

RNG = np.random.default_rng(0)
PROXY = RNG.normal(size=(6, 1024))
GOLD = 0.6 * PROXY + 0.8 * RNG.normal(size=PROXY.shape)
NS = best_of_n.ns_up_to(1024)


@pytest.mark.parametrize("name", list(selection_rules.RULES))
def test_properties_of_every_rule(name):
    found, kl = selection_rules.RULES[name](PROXY, {"proxy": PROXY, "gold": GOLD}, NS, 0.3)
    assert found["gold"].shape == (6, len(NS)) and kl.shape == (len(NS),)
    assert np.allclose(found["proxy"][:, 0], PROXY.mean(1)) or name == "tilt"  # n = 1: no choice
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert np.all(kl >= -1e-9) and np.all(kl <= np.log(1024))
    assert np.all(np.diff(found["proxy"].mean(0)) > -0.05)
    shuffled = np.random.default_rng(1).permutation(1024)
    again, _ = selection_rules.RULES[name](PROXY[:, shuffled], {"gold": GOLD[:, shuffled]}, NS, 0.3)
    assert np.allclose(again["gold"], found["gold"], atol=1e-9)  # scores stay with their samples


def test_tilt_at_the_start_is_the_pool():
    found, _ = selection_rules.tilt(PROXY, {"gold": GOLD}, [1], 0.3)
    assert np.allclose(found["gold"][:, 0], GOLD.mean(1))


def test_tilt_of_a_gaussian_proxy():
    """exp(r / c) moves N(0, 1) to N(1 / c, 1), at KL 1 / (2 c^2): 1 / c = sqrt(n) - 1."""
    proxy = scipy.stats.norm.ppf((np.arange(40_000) + 0.5) / 40_000)[None]
    found, kl = selection_rules.tilt(proxy, {"proxy": proxy}, [4, 9], 0.3)
    assert np.allclose(found["proxy"], [[1, 2]], atol=0.02) and np.allclose(kl, [0.5, 2], atol=0.05)


def test_poisson_is_best_of_a_poisson_number():
    """Against drawing n = 1 + Poisson(3) and taking the best, and against its KL by its own weights."""
    n = 1 + RNG.poisson(3, 200_000)
    best = np.array([u.max() for u in np.split(RNG.random(n.sum()), np.cumsum(n)[:-1])])
    grid = np.linspace(0.05, 0.95, 10)
    assert np.allclose([(best <= u).mean() for u in grid], selection_rules.poisson_cdf(grid, 3.0), atol=0.005)
    w = np.diff(selection_rules.poisson_cdf(np.linspace(0, 1, 100_001), 3.0))
    assert selection_rules.poisson_kl([3.0]) == pytest.approx(np.sum(w * np.log(w * 100_000)), abs=1e-5)


def test_poisson_is_within_a_thousandth_nat_of_the_tilt():
    """Khalaf et al. 2025: at equal mean quantile; best-of-n at n = 2 pays 1e-2 more."""

    def tilted(mean):
        quantile_mean = lambda t: 1 / (1 - np.exp(-t)) - 1 / t
        t = scipy.optimize.brentq(lambda t: quantile_mean(t) - mean, 1e-6, 500)
        return t * mean - np.log(np.expm1(t) / t)

    for mu in (0.5, 2.0, 4.0, 20.0):
        u = (np.arange(400_000) + 0.5) / 400_000
        mean = np.sum(u * (mu * u + 1) * np.exp(mu * (u - 1))) / len(u)
        assert 0 <= selection_rules.poisson_kl([mu])[0] - tilted(mean) < 1e-3
    assert best_of_n.kl_bound(2) - tilted(2 / 3) > 0.015


def test_pessimism_weights_by_hand():
    """r = (0, 1, 3), coef 1: top 1 gives lambda (3 - 3) / 1 = 0, but 1 > 0; top 2: (4 - 3) / 2 = 1/2, and 0 is below.

    relu(r - 1/2) = (0, 1/2, 5/2), mean 1; normalised (0, 1/6, 5/6).
    """
    w = selection_rules.pessimism_weights(np.array([0.0, 1.0, 3.0]), 1.0)
    assert np.allclose(w, [0, 1 / 6, 5 / 6])
    many = selection_rules.pessimism_weights(PROXY, 0.3)
    assert np.allclose(many.sum(1), 1) and np.all((many > 0).sum(1) > 1)
    assert np.allclose(selection_rules.pessimism_weights(PROXY, 1e-4).argmax(1), PROXY.argmax(1))


def test_soft_weights_run_from_equal_to_the_best():
    assert np.allclose(selection_rules.soft_weights(PROXY, 1e6), 1 / 1024, rtol=1e-4)
    assert np.allclose(selection_rules.soft_weights(PROXY, 1e-3).max(1), 1)


def test_kl_of_subset_rules_is_that_of_best_of_n_in_the_limit():
    """Soft selection at temperature 0 is best-of-n: its binned KL lies below log n - (n - 1)/n, by little."""
    _, kl = selection_rules.RULES["soft"](PROXY, {"gold": GOLD}, NS, 1e-3)
    inner = (NS > 1) & (NS <= 64)
    short = best_of_n.kl_bound(NS[inner]) - kl[inner]
    assert np.all(np.abs(short) < 0.15), short  # six prompts: the noise of the ranks


def test_light_tails_and_heavy_tails():
    """Huang et al. 2025: with t3 errors best-of-n falls back, pessimism does not; with normal errors neither falls."""
    gold = RNG.normal(size=(60, 4096))
    ns = best_of_n.ns_up_to(4096)
    light, heavy = RNG.normal(size=gold.shape), RNG.standard_t(3, size=gold.shape)
    curve = lambda rule, error: selection_rules.RULES[rule](gold + error, {"gold": gold}, ns, 0.3)[0]["gold"].mean(0)
    assert np.all(np.diff(curve("best_of_n", light)) > -0.05)
    fallen = curve("best_of_n", heavy)
    assert fallen[-1] < 0.5 * fallen.max() and ns[fallen.argmax()] <= 64
    kept = curve("pessimism", heavy)
    assert kept[-1] > 0.9 * kept.max() and kept.max() > 0.6


def test_hedge_finds_where_gold_turns():
    """gold = u (1 - u)^(1/2) u.. in the proxy quantile u alone: E gold at n is known, its maximum is at the root."""
    u = (np.arange(200_000) + 0.5) / 200_000
    gold = u - 1.5 * u**8
    ns = np.linspace(1, 60, 2000)
    expected = ns / (ns + 1) - 1.5 * ns / (ns + 8)  # E u^k = n / (n + k)
    assert selection_rules.hedge_n(u, gold, 1000) == pytest.approx(ns[expected.argmax()], rel=0.02)
    assert selection_rules.hedge_n(u, u, 1000) == 1000 and selection_rules.hedge_n(u, -u, 1000) == 1.0


def test_hedge_is_judged_on_other_prompts():
    gold = RNG.normal(size=(80, 1024))
    told = selection_rules.hedge(gold + RNG.standard_t(3, size=gold.shape), gold, 1024)
    assert 0.5 * told["n_oracle"] <= told["n"] <= 4 * told["n_oracle"]
    assert told["gold"] > 0.85 * told["gold_oracle"] and told["gold_at_largest_n"] < told["gold"]


def test_hedge_weighs_a_quantile_by_its_samples():
    """Gold 1, 0, -3 at quantiles 0.2, 0.6, 1.0, of which the middle one is there a hundred times: the root of the
    definition's sum over all samples."""
    u, g = np.repeat([0.2, 0.6, 1.0], [1, 100, 1]), np.repeat([-1.0, 1.0, -3.0], [1, 100, 1])

    def slope(n):
        w = u ** (n - 1) / np.sum(u ** (n - 1))
        return np.sum(w * (g - w @ g) * (1 / n + np.log(u)))

    n = selection_rules.hedge_n(u, g, 1000)
    assert 1 < n < 1000 and slope(n) == pytest.approx(0, abs=1e-8) and slope(0.9 * n) > 0 > slope(1.1 * n)

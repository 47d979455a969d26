"""Best-of-n against brute force: all subsets of a pool, all draws from a listed distribution."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold_sim.config import WorldConfig
from gold_sim.language.topics import world
from gold_sim.optimisation import best_of_n
from gold_sim.stages import pool

PROXIES = {
    "distinct": [0.3, -1.0, 2.0, 0.7, 1.1, -0.2, 0.0, 5.0],
    "ties": [1.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 2.0],
    "constant": [4.0] * 8,
}
GOLD = np.array([0.1, 3.0, -2.0, 0.5, 7.0, -1.0, 2.5, -4.0])


def mean_of_best(proxy, gold, draws):
    """Mean over `draws` (tuples of indices) of gold at the best proxy, ties averaged."""
    picked = []
    for drawn in draws:
        top = max(proxy[i] for i in drawn)
        picked.append(np.mean([gold[i] for i in drawn if proxy[i] == top]))
    return np.mean(picked)


@pytest.mark.parametrize("kind", PROXIES)
def test_estimator_is_the_mean_over_all_subsets(kind):
    proxy, ns = np.array(PROXIES[kind]), np.arange(1, 9)
    got = best_of_n.expected(proxy[None], {"gold": GOLD[None], "proxy": proxy[None]}, ns)
    for name, values in (("gold", GOLD), ("proxy", proxy)):
        wanted = [mean_of_best(proxy, values, itertools.combinations(range(8), n)) for n in ns]
        assert np.allclose(got[name][0], wanted, atol=1e-10)


def test_moments_of_the_selected_samples_are_those_of_all_subsets_of_all_prompts():
    """Gold and rubric of the best of every set of n, of two prompts together: their s.d. and correlation."""
    rng = np.random.default_rng(1)
    proxy, gold, rubric = rng.normal(size=(3, 2, 7))
    ns = np.arange(1, 8)
    scores = {"gold": gold, "rubric": rubric} | best_of_n.products(gold, rubric)
    found = best_of_n.spread(**{name: values.mean(0) for name, values in best_of_n.expected(proxy, scores, ns).items()})
    for k, n in enumerate(ns):
        picked = [
            (p, max(of, key=lambda i, p=p: proxy[p, i])) for p in (0, 1) for of in itertools.combinations(range(7), n)
        ]
        chosen = np.array([(gold[at], rubric[at]) for at in picked])
        assert np.allclose((found["gold_sd"][k], found["rubric_sd"][k]), chosen.std(0), atol=1e-10)
        assert found["gold_rubric_correlation"][k] == pytest.approx(np.corrcoef(chosen.T)[0, 1], abs=1e-9)
    still = best_of_n.spread(*np.array([[1.0], [2.0], [1.0], [5.0], [2.0]]))  # gold is 1 everywhere
    assert still["gold_sd"] == [0.0] and still["rubric_sd"] == [1.0] and np.isnan(still["gold_rubric_correlation"])


def test_prompts_keep_to_themselves():
    """Each row of a table of prompts is what the prompt alone gives, and gold is sorted along with its proxy."""
    rng = np.random.default_rng(0)
    proxy, gold, ns = rng.normal(size=(3, 20)), rng.normal(size=(3, 20)), [1, 4, 20]
    together = best_of_n.expected(proxy, {"gold": gold}, ns)["gold"]
    for p in range(3):
        assert np.allclose(together[p], best_of_n.expected(proxy[p : p + 1], {"gold": gold[p : p + 1]}, ns)["gold"])
    assert np.allclose(together[:, 0], gold.mean(1))
    assert np.allclose(together[:, 2], gold[np.arange(3), proxy.argmax(1)])


@pytest.mark.parametrize("proxy", [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 1.0, -1.0], [2.0, 2.0, 2.0, 2.0]])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_exact_distribution_is_brute_force(proxy, n):
    """All 4^n draws with replacement; the winner is chosen evenly among the drawn that tie."""
    probs = np.array([0.1, 0.2, 0.3, 0.4])
    wanted = np.zeros(4)
    for drawn in itertools.product(range(4), repeat=n):
        top = max(proxy[i] for i in drawn)
        best = [i for i in drawn if proxy[i] == top]
        for i in best:
            wanted[i] += np.prod(probs[list(drawn)]) / len(best)
    assert np.allclose(best_of_n.exact_distribution(probs, proxy, n), wanted, atol=1e-12)


def test_kl_bound_by_hand():
    """log 1 - 0 = 0;  log 2 - 1/2 = 0.1931;  log 4 - 3/4 = 0.6363."""
    assert np.allclose(best_of_n.kl_bound([1, 2, 4]), [0, 0.1931, 0.6363], atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(
    weights=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=12),
    data=st.data(),
    n=st.integers(1, 200),
)
def test_kl_bound_bounds(weights, data, n):
    """Beirami et al. 2024: with atoms and ties the exact KL never exceeds log n - (n - 1)/n."""
    proxy = data.draw(st.lists(st.integers(0, 4), min_size=len(weights), max_size=len(weights)))
    probs = np.array(weights) / np.sum(weights)
    kl = best_of_n.exact_kl(probs, proxy, n)
    assert -1e-9 <= kl <= best_of_n.kl_bound(n) + 1e-9


def test_kl_bound_is_reached_without_atoms():
    """100,000 equal responses with distinct proxies are nearly a continuum."""
    probs = np.full(100_000, 1e-5)
    for n in (2, 16, 64):
        assert best_of_n.exact_kl(probs, np.arange(100_000), n) == pytest.approx(best_of_n.kl_bound(n), abs=2e-3)


@pytest.mark.parametrize("num_samples", [2, 8, 1000, 60_000])
def test_weights_sum_to_one(num_samples):
    ns = best_of_n.ns_up_to(num_samples)
    table = best_of_n.weights(num_samples, ns)
    assert np.allclose(table.sum(1), 1, atol=1e-9)
    assert np.all(table >= 0)
    assert table[-1, -1] == pytest.approx(1, abs=1e-9)  # n = N: the best of the pool


def test_ns_by_hand():
    """Two an octave: 1, 1.41 -> 1, 2, 2.83 -> 3, 4, 5.66 -> 6, 8, and the end."""
    assert best_of_n.ns_up_to(10).tolist() == [1, 2, 3, 4, 6, 8, 10]


@settings(deadline=None, max_examples=60)
@given(
    proxy=st.lists(st.integers(-20, 20), min_size=6, max_size=6),
    slope=st.sampled_from([0.125, 0.5, 2.0, 64.0]),
    shift=st.integers(-50, 50),
)
def test_affine_change_of_proxy_changes_nothing(proxy, slope, shift):
    """Powers of two and integers: exact in floating point, so ties stay ties."""
    proxy, ns = np.array(proxy, float)[None], np.arange(1, 7)
    gold = {"gold": GOLD[None, :6]}
    before, after = (best_of_n.expected(p, gold, ns)["gold"] for p in (proxy, slope * proxy + shift))
    assert np.array_equal(before, after)


@settings(deadline=None, max_examples=40)
@given(order=st.permutations(range(8)), kind=st.sampled_from(sorted(PROXIES)))
def test_order_of_the_pool_changes_nothing(order, kind):
    proxy, order = np.array(PROXIES[kind]), list(order)
    run = lambda o: best_of_n.expected(proxy[None, o], {"gold": GOLD[None, o]}, np.arange(1, 9))["gold"]
    assert np.allclose(run(order), run(list(range(8))), atol=1e-12)


@pytest.mark.parametrize("ns", [[1, 9], [0, 2]])
def test_n_beyond_the_pool_raises(ns):
    with pytest.raises(ValueError, match="8 samples"):
        best_of_n.expected(np.zeros((1, 8)), {}, ns)


@pytest.mark.parametrize("num", [3, 64, 100])
def test_a_pool_has_prompts_of_every_kind_by_its_share(num):
    """Counts are the shares of kinds in a larger draw, rounded; those with the largest remainders are rounded up."""
    language = world.make(WorldConfig())
    prompts = pool.of_every_kind(language, jax.random.key(0), num)
    kinds = np.bincount(np.asarray(language.read(prompts)[1]), minlength=5)
    assert prompts.shape == (num, language.prompt_len) and len(np.unique(prompts, axis=0)) > 0.9 * num
    drawn = language.prompts(jax.random.key(0), max(4096, 16 * num), held_out=True)
    shares = num * np.bincount(np.asarray(language.read(drawn)[1]), minlength=5) / len(drawn)
    up, left = kinds > np.floor(shares), shares % 1
    assert np.array_equal(kinds - up, np.floor(shares)) and left[up].min() > left[~up].max()
    other = pool.of_every_kind(language, jax.random.key(1), num)
    assert not np.array_equal(other, prompts)

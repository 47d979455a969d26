"""What is measured goes under its own name: proxy is not gold, and KL is policy to reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim import language as languages
from gold_sim.config import Config
from gold_sim.language import sequences
from gold_sim.optimisation import exact, measure
from gold_sim.stages import tables
from gold_sim.stages.measurement import held_out_prompts
from gold_sim.store.columns import CURVE_COLUMNS


def measured(tiny, params, prompts, proxy, gold, affine=(0.0, 1.0), rubric=None, **more):
    """(OfPolicy, OfProxy) of a policy, both of the same responses."""

    fixed = tiny.language, tiny.net, tiny.ref_params, prompts, gold, affine, rubric or tiny.language.rubric

    def both(params, key):
        responses, of_policy = measure.of_policy(*fixed)(params, key)
        return of_policy, measure.of_proxy(prompts, responses, proxy, **more)

    return jax.jit(both)(params, jax.random.key(0))


def test_scores_are_kept_apart_and_kl_is_that_of_the_policy(tiny):
    constant = lambda value: lambda prompts, responses: jnp.full(responses.shape[:2], value)
    prompts = jnp.tile(tiny.prompts[:1], (4096, 1))
    both = lambda prompts, responses: (constant(1.0)(prompts, responses), constant(0.5)(prompts, responses))
    moved = dict(tiny.ref_params, head=dict(tiny.ref_params["head"], bias=jnp.arange(tiny.net.outputs) * 0.3))
    found, of_proxy = measured(tiny, moved, prompts, both, constant(2.0), (3.0, 10.0))
    assert (of_proxy.proxy, of_proxy.proxy_spread, found.gold) == (1.0, 0.5, 2.0)
    assert found.gold_raw == pytest.approx(2.0 * 10.0 + 3.0)
    log_p = jax.jit(exact.response_log_probs, static_argnums=0)(tiny.net, moved, tiny.prompts[:1], tiny.responses)
    kl = float(exact.kl(log_p, tiny.ref[:1])[0])
    reverse = float(exact.kl(tiny.ref[:1], log_p)[0])
    assert abs(found.kl - kl) < 5 * found.kl_se < abs(kl - reverse)  # and not the other direction
    assert np.isnan(found.gold_rubric_correlation)  # gold does not vary
    others = found._replace(gold_rubric_correlation=None)
    assert all(np.isfinite(value).all() for value in jax.tree.leaves((others, of_proxy)))
    assert found.kept.responses.shape == (measure.SAMPLES, 3) and of_proxy.kept.shape == (measure.SAMPLES,)


def test_means_errors_and_rates_are_those_of_the_responses_that_are_returned(tiny):
    """Recomputed by numpy. Gold is the sum of the tokens; not every prompt asks what a policy may fail at."""
    prompts = jnp.concatenate([tiny.prompts] * 40)
    gold = lambda prompts, responses: jnp.sum(responses, -1).astype(jnp.float32)
    rubric = lambda prompts, responses: 0.5 * responses[..., 0] - jnp.sum(prompts, -1, keepdims=True) % 3
    of_policy = measure.of_policy(tiny.language, tiny.net, tiny.ref_params, prompts, gold, (1.0, 2.0), rubric)
    responses, found = jax.jit(of_policy)(tiny.ref_params, jax.random.key(6))
    scores = np.asarray(gold(prompts, responses))
    assert found.gold == pytest.approx(scores.mean(), rel=1e-5)
    assert found.gold_se == pytest.approx(scores.std(ddof=1) / len(prompts) ** 0.5, rel=1e-5)
    wanted = np.asarray(rubric(prompts, responses))
    assert found.rubric == pytest.approx(wanted.mean(), rel=1e-5) and abs(found.rubric) > 0.1
    assert found.rubric_se == pytest.approx(wanted.std(ddof=1) / len(prompts) ** 0.5, rel=1e-5)
    assert (found.gold_sd, found.rubric_sd) == pytest.approx((scores.std(), wanted.std()), rel=1e-5)
    correlation = np.corrcoef(scores.ravel(), wanted.ravel())[0, 1]
    assert found.gold_rubric_correlation == pytest.approx(correlation, abs=1e-5) and abs(correlation) < 0.9
    assert found.length == pytest.approx(np.mean(np.asarray(sequences.lengths(responses))), rel=1e-5)
    attributes = jax.tree.map(np.asarray, jax.jit(tiny.language.attributes)(prompts, responses))
    for name, values in attributes.items():
        assert found.attributes[name] == pytest.approx(np.mean(values), abs=1e-5)
    failings = jax.tree.map(np.asarray, tiny.language.failings(prompts, attributes))
    assert any(0 < np.sum(failed) < np.sum(asked) < len(prompts) for failed, asked in failings.values())
    for name, (failed, asked) in failings.items():
        assert found.failings[name] == pytest.approx(np.sum(failed) / max(1, np.sum(asked)), rel=1e-5)


def test_transcripts_are_words_of_the_kept_responses(tiny):
    """Two points of two prompts: rows run over prompts within a point."""
    prompts = tiny.prompts[jnp.array([0, 3])]
    responses = np.stack([tiny.responses[[5, 9]], tiny.responses[[7, 0]]])
    of_policy = measure.OfPolicy(*[None] * 15, {}, {}, measure.Kept(responses, np.zeros((2, 2))))
    of_proxy = measure.OfProxy(None, None, None, np.array([[0.1, 0.2], [0.3, 0.4]]))
    told = tables.transcripts(tiny.language, prompts, measure.Point(np.array([0, 10]), None, of_policy, of_proxy))
    assert told["control"].tolist() == [0, 0, 10, 10] and told["prompt_id"].tolist() == [0, 1, 0, 1]
    assert told["kind"].tolist() == ["plain", "harmful"] * 2 and told["proxy"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert told["response"].tolist() == [tiny.language.decode(r) for r in responses.reshape(4, -1)]
    assert told["prompt"][1] == "<bos> oven oven hazard0 person0 <ask>"


def test_what_length_alone_would_earn_by_hand(tiny):
    """Lengths 1 1 3 with rewards 0 2 5: 1 at one token, 5 at three; two lie between, four are as three."""
    found = measure.by_length(np.array([[0.0, 2.0, 5.0]]), np.array([[1, 1, 3]]), 4)
    assert found.tolist() == [1.0, 3.0, 5.0, 5.0]
    lengths = np.array([1, 2, 2, 4])
    assert measure.by_length(3.0 * lengths, lengths, 4).tolist() == [3.0, 6.0, 9.0, 12.0]  # length alone: itself
    constant = lambda prompts, responses: (jnp.ones(responses.shape[:2]),) * 2
    truth = lambda prompts, responses: jnp.ones(responses.shape[:2])
    fixed = (tiny, tiny.ref_params, tiny.prompts, constant, truth)
    at = jnp.array([10.0, 20.0, 30.0])
    of_policy, of_proxy = measured(*fixed, of_length=at)
    assert of_proxy.proxy_of_length == pytest.approx(10 * float(of_policy.length), abs=1e-4)
    assert measured(*fixed)[1].proxy_of_length is None


def test_prompts_with_the_response_of_another():
    """Rows 0, 2 and 4 are equal, 1 and 3 differ in one token: three of five."""
    rows = np.zeros((5, 6), np.int32) + np.arange(6)
    rows[1, 5], rows[3, 0] = 9, 9
    assert measure.same(jnp.asarray(rows)) == pytest.approx(0.6)
    assert measure.same(jnp.asarray(np.random.default_rng(0).integers(0, 99, (512, 6)))) == 0


def test_every_measured_number_has_its_column(tiny):
    """And what is None has none: fields, attributes, failings and components of a curve of two points."""
    constant = lambda prompts, responses: (jnp.ones(responses.shape[:2]),) * 2
    truth = lambda prompts, responses: jnp.ones(responses.shape[:2])
    parts = lambda prompts, responses: jnp.stack([jnp.ones(responses.shape[:2]), 2 * jnp.ones(responses.shape[:2])])
    both = measured(tiny, tiny.ref_params, tiny.prompts, constant, truth, components=parts)
    point = jax.tree.map(np.asarray, measure.Point(np.int32(3), np.float32(0.5), *both))
    columns = tables.measured(jax.tree.map(lambda a: np.stack([a, a]), point))
    assert columns["component_1"].tolist() == [2.0, 2.0] and columns["control"].tolist() == [3, 3]
    scalars = set(measure.Point._fields + measure.OfPolicy._fields + measure.OfProxy._fields)
    scalars -= {"policy", "kept", "attributes", "failings", "components"}
    absent = {"gold_training", "proxy_training", "implicit_accuracy", "proxy_left_out", "proxy_of_length"}
    found = {f"attr_{name}" for name in both[0].attributes} | set(both[0].failings) | {"component_0", "component_1"}
    assert columns.keys() == scalars - absent | found and scalars <= CURVE_COLUMNS.keys()


def test_every_seed_has_prompts_of_its_own():
    """Those of a seed are the same whatever seeds it is measured with: variants of a seed are paired."""
    language = languages.make(Config().world)
    both = held_out_prompts(language, 5, jnp.array([1, 2]), 32)
    alone = held_out_prompts(language, 5, jnp.array([2]), 32)
    assert both.shape == (2, 32, language.prompt_len) and (both[1] == alone[0]).all()
    assert (both[0] != both[1]).any(-1).mean() > 0.9
    assert (held_out_prompts(language, 6, jnp.array([2]), 32)[0] != alone[0]).any(-1).mean() > 0.9

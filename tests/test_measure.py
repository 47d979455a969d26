"""What is measured goes under its own name: proxy is not gold, and KL is policy to reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim.language import sequences
from gold_sim.optimisation import exact, measure


def test_scores_are_kept_apart_and_kl_is_that_of_the_policy(tiny):
    constant = lambda value: lambda prompts, responses: jnp.full(responses.shape[:2], value)
    prompts = jnp.tile(tiny.prompts[:1], (4096, 1))
    both = lambda prompts, responses: (constant(1.0)(prompts, responses), constant(0.5)(prompts, responses))
    score = measure.scores(tiny.language, tiny.net, tiny.ref_params, prompts, both, constant(2.0), (3.0, 10.0))
    moved = dict(tiny.ref_params, head=dict(tiny.ref_params["head"], bias=jnp.arange(tiny.net.outputs) * 0.3))
    found = jax.jit(score)(moved, jax.random.key(0))
    assert (found["proxy"], found["proxy_spread"], found["gold"]) == (1.0, 0.5, 2.0)
    assert found["gold_raw"] == pytest.approx(2.0 * 10.0 + 3.0)
    log_p = jax.jit(exact.response_log_probs, static_argnums=0)(tiny.net, moved, tiny.prompts[:1], tiny.responses)
    kl = float(exact.kl(log_p, tiny.ref[:1])[0])
    reverse = float(exact.kl(tiny.ref[:1], log_p)[0])
    assert abs(found["kl"] - kl) < 5 * found["kl_se"] < abs(kl - reverse)  # and not the other direction
    assert all(np.isfinite(value).all() for value in found.values())
    assert found["sample_responses"].shape == (measure.SAMPLES, 3)


def test_means_errors_and_rates_are_those_of_the_responses_that_are_returned(tiny):
    """Recomputed by numpy. Gold is the sum of the tokens; not every prompt asks what a policy may fail at."""
    prompts = jnp.concatenate([tiny.prompts] * 40)
    gold = lambda prompts, responses: jnp.sum(responses, -1).astype(jnp.float32)
    of_policy = measure.of_policy(tiny.language, tiny.net, tiny.ref_params, prompts, gold, (1.0, 2.0))
    responses, found = jax.jit(of_policy)(tiny.ref_params, jax.random.key(6))
    scores = np.asarray(gold(prompts, responses))
    assert found["gold"] == pytest.approx(scores.mean(), rel=1e-5)
    assert found["gold_se"] == pytest.approx(scores.std(ddof=1) / len(prompts) ** 0.5, rel=1e-5)
    assert found["length"] == pytest.approx(np.mean(np.asarray(sequences.lengths(responses))), rel=1e-5)
    attributes = jax.tree.map(np.asarray, tiny.language.attributes(prompts, responses))
    for name, values in attributes.items():
        assert found[f"attr_{name}"] == pytest.approx(np.mean(values), abs=1e-5)
    failings = jax.tree.map(np.asarray, tiny.language.failings(prompts, attributes))
    assert any(0 < np.sum(failed) < np.sum(asked) < len(prompts) for failed, asked in failings.values())
    for name, (failed, asked) in failings.items():
        assert found[name] == pytest.approx(np.sum(failed) / max(1, np.sum(asked)), rel=1e-5)
        assert f"{name} asked" not in found


def test_transcripts_are_words_of_the_kept_responses(tiny):
    """Two points of two prompts: rows run over prompts within a point."""
    prompts = tiny.prompts[jnp.array([0, 3])]
    responses = np.stack([tiny.responses[[5, 9]], tiny.responses[[7, 0]]])
    kept = dict(responses=responses, proxy=np.array([[0.1, 0.2], [0.3, 0.4]]), gold=np.zeros((2, 2)))
    told = measure.transcripts(tiny.language, prompts, np.array([0, 10]), kept)
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
    fixed = (tiny.language, tiny.net, tiny.ref_params, tiny.prompts, constant, truth, (0.0, 1.0))
    at = jnp.array([10.0, 20.0, 30.0])
    scored = jax.jit(measure.scores(*fixed, of_length=at))(tiny.ref_params, jax.random.key(0))
    assert scored["proxy_of_length"] == pytest.approx(10 * float(scored["length"]), abs=1e-4)
    assert "proxy_of_length" not in jax.eval_shape(measure.scores(*fixed), tiny.ref_params, jax.random.key(0))

"""Another language, another architecture: what the protocols promise holds of ours and of the two examples."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.__main__ import main as analysis_main
from experiments.__main__ import main as experiments_main
from experiments.plan import missing, plan
from gold_sim import language, preferences
from gold_sim.config import Config, PreferencesConfig, RewardModelConfig, WorldConfig
from gold_sim.language import sequences
from gold_sim.rewards import reward_model, reward_network, sight, synthetic_errors
from gold_sim.settings import replace
from gold_sim.stages import pipeline, sizes
from gold_sim.stages.declared import STAGES
from gold_sim.store import Store
from tests.conftest import demonstrations, judge_init
from tests.number_language import HEDGE, NAMES, Numbers
from tests.test_smoke import here

LANGUAGES = ("topics", "tests.number_language:make")
NETWORKS = ("transformer", "tests.bag_of_words:network")


# --- whole experiments ----------------------------------------------------------------------------


def run_and_analyse(runs, out, overrides: dict):
    """rm_size at smoke size, in this process: (its store, cells of its curves, summary of its analysis)."""
    words = [f"{path}={value}" for path, value in overrides.items()]
    _, curves, cells = plan("rm_size", "smoke", overrides)
    for cell in missing(Store(runs), curves, cells):
        pipeline.run(Store(runs), cell)
    common = ("rm_size", "--preset", "smoke", "--runs", runs, "--set", *words)
    assert here(experiments_main, *common) == 0
    assert here(analysis_main, *common, "--out", out) == 0
    return Store(runs), curves, json.loads(next(out.glob("rm_size+*/summary.json")).read_text())


def test_an_experiment_in_another_language(tmp_path, capsys):
    """Attributes that it shares with ours are in their columns, its own behind them, those that it lacks are NaN."""
    store, curves, summary = run_and_analyse(tmp_path / "runs", tmp_path, {"world.language": LANGUAGES[1]})
    assert "0 to do" in capsys.readouterr().out
    table = store.table(fingerprints=[c.fingerprint for c in curves])
    shown = ["gold", "proxy", "kl", "rubric", "rubric_sd", "attr_length", "attr_hedging", "attr_error"]
    assert np.isfinite(table[shown]).all(axis=None)
    assert table[["attr_relevance", "attr_refusal", "sycophancy"]].isna().all(axis=None)
    assert table["attr_error"].between(0, 10).all() and table["attr_error"].nunique() > 5
    samples = store.table("samples", [c.fingerprint for c in curves])
    assert set(samples["kind"]) == {"plain", "carries"} and samples["prompt"].str.fullmatch(r"\d \+ \d").all()
    assert set(" ".join(samples["response"]).split()) <= set(NAMES)
    assert len(summary["sizes"]) == 2
    assert "error" in next(tmp_path.glob("rm_size+*/attributes.md")).read_text()


def test_an_experiment_with_another_architecture(tmp_path, capsys):
    store, curves, summary = run_and_analyse(tmp_path / "runs", tmp_path, {"reward_model.network": NETWORKS[1]})
    assert "0 to do" in capsys.readouterr().out
    table = store.table(fingerprints=[c.fingerprint for c in curves])
    assert np.isfinite(table[["gold", "proxy", "kl"]]).all(axis=None)
    spoken = language.make(WorldConfig())
    sizes = {int(width): (spoken.vocab_size + 1) * int(width) + 1 for width in table["rm_width"].unique()}
    assert (table["rm_params"] == table["rm_width"].map(sizes)).all() and len(summary["sizes"]) == len(sizes)


# --- what a language promises ---------------------------------------------------------------------


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_language_keeps_its_promises(name):
    config = WorldConfig(language=name, response_len=8)
    made = language.make(config)
    assert language.sizes(config) == (made.vocab_size, made.num_writable, made.prompt_len, made.response_len)
    prompts, held_out = (np.asarray(made.prompts(jax.random.key(0), 300, held_out=h)) for h in (False, True))
    assert prompts.shape == held_out.shape == (300, made.prompt_len) and prompts.max() < made.vocab_size
    assert not {tuple(p) for p in prompts.tolist()} & {tuple(p) for p in held_out.tolist()}
    drawn = np.asarray(demonstrations(made, jax.random.key(1), prompts, 2))
    assert drawn.shape == (300, 2, 8) and drawn.min() >= 0 and drawn.max() < made.num_writable <= made.vocab_size
    assert np.array_equal(sequences.close(drawn), drawn)
    read = lambda p, r: (made.attributes(p, r), {"rubric": made.rubric(p, r)}, made.features(r))
    for found in jax.jit(read)(prompts, drawn):
        assert found and all(value.shape == (300, 2) for value in found.values())
    for failed, where in jax.jit(lambda p, r: made.failings(p, made.attributes(p, r)))(prompts, drawn).values():
        assert failed.shape == where.shape == (300, 2) and not (failed & ~where).any()
    assert made.relevant(prompts).shape[0] == 300
    assert {len(made.kinds(prompts)), len([made.decode(p) for p in prompts])} == {300}
    assert made.decode(np.zeros(8, int)) == ""
    words = set(np.flatnonzero(sight.written_words(made)))
    assert words.isdisjoint(sight.manners(made)) and words >= set(made.topical)
    written = {tuple(pair) for pair in np.stack([drawn[..., :-1], drawn[..., 1:]], -1).reshape(-1, 2).tolist()}
    unwritten = {tuple(pair) for pair in np.asarray(made.unwritten_pairs()).tolist()}
    assert unwritten and len(unwritten & written) < 0.5 * len(unwritten)


def test_languages_are_told_apart():
    """Programs are shared between what is equal: one language must never be taken for another."""
    made = [language.make(WorldConfig(language=name, response_len=n)) for name in LANGUAGES for n in (8, 9)]
    again = [language.make(WorldConfig(language=name, response_len=n)) for name in LANGUAGES for n in (8, 9)]
    assert made == again and len(set(made)) == 4 and len({*made, *again}) == 4


def test_the_language_of_numbers_by_hand():
    """3 + 9: "1 2" is right, "about about 1 3" 1 off: 2 / (1 + 1) - 0.5 - 0.25 = 0.25. No number is 10 off: 2 / 11."""
    numbers, t = Numbers(6), lambda text: [NAMES.index(word) for word in text.split()]
    texts = ("1 2", "about about 1 3", "about", "9 9 9 9 9 9")
    responses = jnp.array([[t(text) + [0] * (6 - len(t(text))) for text in texts]])
    found = numbers.attributes(jnp.array([t("3 + 9")]), responses)
    assert found["error"].tolist() == [[0, 1, 10, 10]] and found["hedging"].tolist() == [[0, 2, 1, 0]]
    rubric = numbers.rubric(jnp.array([t("3 + 9")]), responses)
    assert np.allclose(rubric, [[2 - 0.5, 0.25, 2 / 11, 2 / 11 - 0.5 - 0.75]])


# --- what an architecture promises ----------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_an_architecture_keeps_its_promises(name):
    """Scores do not see what lies behind EOS nor hidden tokens; of two heads the first may be kept alone."""
    spoken = language.make(WorldConfig(response_len=8))
    config = RewardModelConfig(width=8, network=name)
    net = reward_network.make(spoken, config)
    assert net == reward_network.make(spoken, config) and hash(net) == hash(reward_network.make(spoken, config))
    assert net != reward_network.make(spoken, RewardModelConfig(width=16, network=name))
    params = judge_init(net, jax.random.key(0))
    like = jax.tree.map(lambda a: (a.shape, a.dtype), params)
    assert like == jax.tree.map(lambda a: (a.shape, a.dtype), reward_network.shapes(net))
    assert reward_network.num_params(net) == sum(a.size for a in jax.tree.leaves(params))

    prompts = spoken.prompts(jax.random.key(1), 5)
    responses = jax.random.randint(jax.random.key(2), (5, 3, 8), 1, spoken.num_writable).at[..., 5].set(sequences.EOS)
    lengths = sequences.lengths(responses)
    heads = jax.jit(lambda p, r: net.heads(p, prompts, r, lengths))
    raw = heads(params, responses)
    assert raw.shape == (5, 3, 1) and jnp.std(raw) > 0
    assert np.allclose(heads(params, responses.at[..., 6:].set(3)), raw, atol=1e-6)
    token = int(responses[0, 0, 0])
    blind = net.hide(params, jnp.ones((spoken.vocab_size, 1)).at[jnp.array([token, token % 5 + 1])].set(0.0))
    other = jnp.where(responses == token, token % 5 + 1, responses)
    assert np.allclose(heads(blind, other), heads(blind, responses), atol=1e-6)
    assert not np.allclose(heads(params, other), raw, atol=1e-4)

    two = jax.jit(lambda key: net.init(key, heads=2))(jax.random.key(3))
    assert two["head"]["kernel"].shape == (params["head"]["kernel"].shape[0], 2) and two["head"]["bias"].shape == (2,)
    first = dict(two, head=jax.tree.map(lambda a: a[..., :1], two["head"]))
    assert np.allclose(heads(first, responses)[..., 0], heads(two, responses)[..., 0], atol=1e-6)
    assert net.training_bytes(1000) > net.training_bytes(100) > net.forward_bytes(100) > 0 and net.flops() > 0


@pytest.mark.parametrize("changes", [{}, {"heads": "odin"}, {"loss": "margin"}, {"diversity": "order", "members": 2}])
def test_a_bag_of_words_learns_what_a_bag_of_words_can(changes):
    """Gold is the number of hedges, labels of 900 pairs say so; where hedges are hidden from it, it cannot."""
    spoken, count = Numbers(6), 1000
    prompts = spoken.prompts(jax.random.key(0), count)
    responses = demonstrations(spoken, jax.random.key(1), prompts, 2)
    gold = jnp.sum(responses == HEDGE, -1).astype(jnp.float32)
    config = PreferencesConfig(num_pairs=count)
    pairs = preferences.split(config, preferences.collect(config, spoken, prompts, responses, gold))
    settings = dict(width=4, network=NETWORKS[1], epochs=3, learning_rate=3e-2) | changes
    sees = reward_model.fit(spoken, RewardModelConfig(**settings), *pairs, 0)[1]["val_accuracy"]
    blind = reward_model.fit(spoken, RewardModelConfig(**settings, blind=("hedging",)), *pairs, 0)[1]["val_accuracy"]
    assert blind < 0.7 < 0.8 < sees, (blind, sees)


# --- names ----------------------------------------------------------------------------------------


def test_what_is_computed_is_counted_for_another_architecture():
    """A bag of words costs far less than a transformer of its width, and is compiled for itself."""
    settings, others = Config(), replace(Config(), {"reward_model.network": NETWORKS[1]})
    for stage in (STAGES[name] for name in ("reward_model", "scores", "policy_gradient")):
        assert 0 < stage.work(others).flops < stage.work(settings).flops
        assert 0 < stage.holds(others) <= stage.holds(settings) and stage.blocks(others) < stage.blocks(settings)
        assert stage.program_key(others) != stage.program_key(settings)
    assert STAGES["policy_gradient"].shared_key(others) == STAGES["policy_gradient"].shared_key(settings)
    net = reward_network.make(language.make(WorldConfig()), settings.reward_model)
    assert sizes.of_proxy(settings).judged.flops == net.flops()
    assert sizes.of_proxy(settings).num_params == reward_network.num_params(net)


@pytest.mark.parametrize(
    "path, name, says",
    [
        ("world.language", "topic", "world.language='topic': allowed are topics, or module:function of yours"),
        ("reward_model.network", "lstm", "reward_model.network='lstm': allowed are transformer, or module:function"),
        ("reward_model.blind", ("fluency",), "reward_model.blind='fluency': allowed are template, hedging, agreement"),
        ("preferences.bias_on", "relevance", "preferences.bias_on='relevance': allowed are length, template"),
    ],
)
def test_a_name_that_nothing_has_is_refused_in_one_line(path, name, says):
    with pytest.raises(ValueError, match="^[^\n]*$") as error:
        replace(Config(), {path: name})
    assert says in str(error.value)


def test_an_address_that_leads_nowhere_is_refused_in_one_line():
    for address in ("tests.no_such_file:make", "tests.number_language:missing", "tests.number_language:NAMES"):
        with pytest.raises(
            ValueError, match=f"^world.language='{address}': a function \\(config\\) is wanted; [^\n]*$"
        ):
            language.make(WorldConfig(language=address))
        with pytest.raises(ValueError, match="^world.language="):
            plan("rm_size", "smoke", {"world.language": address})
    numbers = Numbers(6)
    with pytest.raises(ValueError, match="^reward_model.blind='template': allowed in this language are hedging$"):
        sight.hidden_tokens(numbers, ("template",))
    config, none = PreferencesConfig(annotator="biased", bias_on="refusal"), jnp.zeros((1, 2))
    with pytest.raises(
        ValueError, match="^preferences.bias_on='refusal': allowed in this language are length, hedging$"
    ):
        preferences.collect(config, numbers, jnp.zeros((1, 3), int), jnp.zeros((1, 2, 6), int), none)
    with pytest.raises(ValueError, match="^error.kind='extremal': this language has no attribute repetition"):
        synthetic_errors.extremal(numbers, None, jnp.zeros((1, 3), int), jnp.zeros((1, 2, 6), int), None)
    with pytest.raises(ValueError, match="^rounds.sight='alternating': allowed with world.language='topics'$"):
        replace(Config(), {"world.language": LANGUAGES[1], "rounds.sight": "alternating"})

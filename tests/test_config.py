"""Settings: refused when made if out of range, and one line says what is allowed; fingerprints are canonical."""

import pytest

from gold_sim.config import Config, OptimiserConfig
from gold_sim.settings import fingerprint, from_dict, overrides, parse, replace, to_dict
from gold_sim.stages import graph

NAN, INF = float("nan"), float("inf")
RANKED = {"preferences.keep": "ranking", "preferences.annotator": "mallows"}
XI = {"optimiser.constraint": "xi", "optimiser.thresholds": (1.0,)}
TWO = {"reward_model.members": 2}
BAD = [
    # Types and ranges.
    ({"reward_model.width": 3}, ("reward_model.width=3", "from 4 to 16384")),
    ({"reward_model.width": "wide"}, ("reward_model.width='wide'", "whole number")),
    ({"reward_model.width": 8.5}, ("reward_model.width=8.5", "whole number")),
    ({"reward_model.width": INF}, ("reward_model.width=inf", "whole number")),
    ({"reward_model.width": 33}, ("reward_model.width=33", "multiples", "heads")),
    ({"reward_model.learning_rate": 1e12}, ("reward_model.learning_rate=1000000000000.0", "to 0.1")),
    ({"reward_model.learning_rate": 10**400}, ("reward_model.learning_rate=1000", "a number")),
    ({"gold.steps": True}, ("gold.steps=True",)),
    ({"gold.steps": None}, ("gold.steps=None", "whole number")),
    ({"optimiser.length_share": 1}, ("optimiser.length_share=1", "true or false")),
    ({"reward": ["gold"]}, ("reward=['gold']", "'proxy'")),
    ({"preferences.label_noise": 0.7}, ("preferences.label_noise=0.7", "0.5")),
    ({"preferences.annotator": "crowd"}, ("'crowd'", "bradley_terry")),
    ({"optimiser.name": "sarsa"}, ("sarsa", "rloo")),
    ({"optimiser.kl_target": 0}, ("optimiser.kl_target=0",)),
    ({"best_of_n.num_prompts": 1}, ("best_of_n.num_prompts=1", "from 2")),
    ({"shaping.name": "foo"}, ("shaping.name='foo'", "length_penalty", "module:function")),
    ({"shaping.name": "../x:bar"}, ("shaping.name='../x:bar'", "module:function")),
    ({"shaping.name": ".x:bar"}, ("shaping.name='.x:bar'",)),
    ({"shaping.name": 5}, ("shaping.name=5", "a word")),
    # Values of tuples.
    ({"seeds": (-1,)}, ("seeds=-1",)),
    ({"seeds": [7, 7]}, ("seeds=(7, 7)", "once")),
    ({"seeds": "all"}, ("seeds='all'",)),
    ({"seeds": list(range(2000))}, ("seeds=(0, 1, 2", "1 to 1000 values")),
    ({"kl_coefs": ()}, ("kl_coefs=()", "1 to 1000 values")),
    ({"kl_coefs": (NAN,)}, ("kl_coefs=nan",)),
    ({"kl_coefs": (0.0, -0.0)}, ("kl_coefs=(0.0, 0.0)", "once")),
    ({"dpo_betas": (0.1, 0.1)}, ("dpo_betas=(0.1, 0.1)", "once")),
    ({"reward_model.blind": ("hedging", "hedging")}, ("reward_model.blind", "once")),
    ({"world.kinds": [0, 0, 0, 0, 0]}, ("world.kinds=(0.0, 0.0", "0.001 or more")),
    ({"world.kinds": [1.0]}, ("world.kinds=(1.0,)", "5 values")),
    ({"world.kinds": []}, ("world.kinds=()", "5 values")),
    ({"world.kinds": [[1, 1, 1, 1, 1]]}, ("world.kinds=[1, 1", "a number")),
    ({"world.weights": [1.0]}, ("world.weights=(1.0,)", "9 values")),
    ({"world.weights": [NAN] * 9}, ("world.weights=nan", "-100 to 100")),
    ({"world.weights": [1e-30] * 9}, ("world.weights=(1e-30,", "0.001 or more")),
    ({"optimiser.thresholds": (NAN,)}, ("optimiser.thresholds=nan",)),
    # Names of fields, and groups.
    ({"reward_model.wdith": 8}, ("reward_model.wdith", "allowed", "width")),
    ({"optimizer.steps": 8}, ("optimizer", "optimiser")),
    ({"a\nb": 8}, (r"a\nb: no such field",)),
    ({"a" * 100_000: 8}, ("aaa..", "no such field")),
    ({"seeds.x": 1}, ("seeds", "no fields")),
    ({"ensemble.take.x": 1}, ("ensemble.take", "no fields")),
    ({"reward_model.num_pairs.x": 1}, ("reward_model.num_pairs", "no fields")),
    ({"reward_model.width.x.y": 1}, ("reward_model.width", "no fields")),
    ({"optimiser": {}}, ("optimiser={}", "field by field", "optimiser.name=")),
    ({"policy": {"width": 16}}, ("policy={'width': 16}", "field by field")),
    ({"optimiser": "rloo"}, ("optimiser='rloo'", "field by field")),
    ({"optimiser": None}, ("optimiser=None", "field by field")),
    # Between fields of a group.
    ({"preferences.num_pairs": 20, "preferences.held_out": 0.01}, ("preferences.held_out=0.01", "is 0", "wants 2")),
    ({"preferences.keep": "ranking"}, ("preferences.keep='ranking'", "plackett_luce", "not deterministic")),
    (RANKED | {"preferences.label_noise": 0.1}, ("preferences.label_noise=0.1",)),
    ({"reward_model.loss": "all_pairs", "reward_model.heads": "odin"}, ("reward_model.heads='odin'", "pairs")),
    ({"reward_model.loss": "unbiased", "reward_model.loss_coef": 0.5}, ("reward_model.loss_coef=0.5", "below 0.5")),
    ({"reward_model.loss": "huberised", "reward_model.loss_coef": 0}, ("reward_model.loss_coef=0", "to 0.999")),
    ({"reward_model.weight_decay": 1000}, ("reward_model.weight_decay=1000", "up to", "333.3")),
    ({"reward_model.diversity": "disjoint"}, ("reward_model.members=1", "2 or more")),
    ({"reward_model.train_until": "converged"}, ("reward_model.epochs=1", "the most passes", "2 or more")),
    ({"reward_model.trunk": "own"}, ("reward_model.trunk='own'", "start='pretrained'", "'fresh'")),
    ({"reward_model.start": "pretrained", "reward_model.network": "a:b"}, ("reward_model.start=", "'transformer'")),
    ({"reward_model.start": "reference"}, ("reward_model.start='reference'", "16x1", "48x2")),
    ({"reward_model.diversity": "components"}, ("reward_model.members=1", "'components' has 2")),
    ({"ensemble.rule": "robust", "ensemble.coef": 0}, ("ensemble.coef=0", "1e-6")),
    ({"ensemble.only": 0, "ensemble.take": 1}, ("ensemble.only=0", "without take")),
    ({"ensemble.rule": "weight_average", "ensemble.take": 1}, ("ensemble.take=1", "all members")),
    ({"direct.num_pairs": 1}, ("direct.batch=64", "num_pairs=1")),
    ({"direct.batch": 100_000}, ("direct.batch=100000", "num_pairs=8000")),
    ({"direct.evaluations": 7}, ("direct.evaluations=7", "250 steps")),
    ({"optimiser.evaluations": 7}, ("optimiser.evaluations=7", "divide steps=300")),
    ({"optimiser.name": "ppo", "optimiser.minibatches": 3}, ("optimiser.minibatches=3", "prompts=32")),
    ({"optimiser.group_size": 1}, ("optimiser.group_size=1", "at least 2")),
    (
        {"optimiser.name": "reinforce", "optimiser.prompts": 1, "optimiser.group_size": 1},
        ("optimiser.group_size=1", "at least 2"),
    ),
    ({"optimiser.name": "online_dpo", "optimiser.group_size": 3}, ("optimiser.group_size=3", "even")),
    ({"optimiser.name": "ppo", "optimiser.divergence": "chi2"}, ("optimiser.divergence='chi2'", "not ppo")),
    ({"optimiser.thresholds": (1.0,)}, ("optimiser.thresholds=(1.0,)", "'none'")),
    (XI | {"optimiser.name": "ppo"}, ("optimiser.constraint='xi'", "'rloo'")),
    # Between groups.
    ({"reward_model.num_pairs": 10**6}, ("reward_model.num_pairs=1000000", "14400", "collected")),
    ({"reward_model.width": 512}, ("512x1 is larger than gold 64x3",)),
    ({"reward_model.loss": "all_pairs"}, ("reward_model.loss='all_pairs'", "keep='ranking'")),
    (
        {"reward_model.diversity": "disjoint", "reward_model.members": 3, "reward_model.num_pairs": 2},
        ("reward_model.members=3", "2 training pairs"),
    ),
    (TWO | {"reward_model.diversity": "components", "reward": "gold"}, ("reward='gold'", "'components'")),
    ({"ensemble.only": 1}, ("ensemble.only=1", "1 members")),
    ({"ensemble.only": 0, "reward": "gold"}, ("ensemble.only=0", "no members")),
    ({"ensemble.take": 2}, ("ensemble.take=2", "members=1")),
    ({"ensemble.rule": "weight_average", "reward": "synthetic"}, ("ensemble.rule='weight_average'", "'synthetic'")),
    ({"reward": "synthetic", "error.kind": "adversarial", "world.classes": 2}, ("world.classes=2", "3 or more")),
    ({"optimiser.name": "online_dpo"}, ("kl_coefs=0", "above 0")),
    ({"optimiser.constraint": "xi"}, ("optimiser.thresholds=()", "'xi'", "takes 1")),
    ({"optimiser.constraint": "adaptive_kl", "optimiser.thresholds": (1.0,)}, ("thresholds=(1.0,)", "takes 0")),
    (TWO | XI | {"optimiser.thresholds": (1, 1), "reward": "gold"}, ("thresholds=(1.0, 1.0)", "takes 1")),
    (XI | {"kl_coefs": 0.1}, ("kl_coefs=0.1", "'xi'")),
    (XI | {"shaping.name": "par"}, ("'xi'", "shaping")),
    ({"rounds.count": 2, "kl_coefs": (0.0, 0.1)}, ("rounds.count=2", "one kl_coef")),
]


@pytest.mark.parametrize(("changes", "words"), BAD)
def test_bad_settings_say_what_is_allowed(changes, words):
    """Most of these were once accepted, and then failed in a worker or gave plausible nonsense."""
    with pytest.raises(ValueError) as error:
        replace(Config(), changes)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"direct.num_pairs": 16_000}, ("direct.num_pairs=16000", "14400")),
        ({"rounds.count": 2}, ("rounds.count=2", "one round")),
    ],
)
def test_a_stage_refuses_what_others_do_not_read(changes, words):
    config = replace(Config(), changes)
    graph.cell("policy_gradient", config)
    with pytest.raises(ValueError) as error:
        graph.cell("direct_alignment", config)
    assert all(word in str(error.value) for word in words), error.value


def test_the_names_of_many_coefficients_fit_into_a_folder():
    rising = [1 + i / 1000 for i in range(120)]
    many = replace(Config(), {"kl_coefs": rising, "dpo_betas": rising})
    assert graph.cell("policy_gradient", many).name == "rloo-16x1-Dall-kl1..1.119-of-120"
    assert graph.cell("direct_alignment", many).name == "dpo-D8000-1..1.119-of-120"
    few = replace(Config(), {"kl_coefs": [0, 0.1, 1e-5]})
    assert graph.cell("policy_gradient", few).name == "rloo-16x1-Dall-kl0,0.1,1e-05"
    long = replace(Config(), {"shaping.name": f"{'a' * 300}:f"})
    assert len(graph.cell("policy_gradient", long).name) == graph.NAME_MOST


def test_dict_round_trip_and_nested_replacement():
    changed = replace(Config(), {"policy.width": 64, "kl_coefs": 0.5, "world.seed": 7})
    assert changed.policy.width == 64 and changed.kl_coefs == (0.5,) and changed.world.seed == 7
    assert from_dict(Config, to_dict(changed)) == changed
    assert hash(changed) == hash(from_dict(Config, to_dict(changed)))
    assert replace(Config(), {"policy.width": 64, "policy": None}).policy is None
    assert replace(changed, {"optimiser": OptimiserConfig()}) == changed
    with pytest.raises(ValueError, match="reward_model.wdith"):
        from_dict(Config, {"reward_model": {"wdith": 8}})


def test_zero_has_one_fingerprint():
    assert str(replace(Config(), {"kl_coefs": -0.0}).kl_coefs) == "(0.0,)"


def test_command_line_values():
    assert parse("seeds=[1,2]") == ("seeds", [1, 2])
    assert parse("optimiser.name=ppo") == ("optimiser.name", "ppo")
    assert parse("reward_model.num_pairs=null") == ("reward_model.num_pairs", None)
    for bad in ("seeds", "=3"):
        with pytest.raises(ValueError, match="path=value"):
            parse(bad)
    for bad in ("[" * 100_000, "1" * 5000):
        with pytest.raises(ValueError, match="--set seeds=.{70,80}: a value of JSON") as error:
            parse(f"seeds={bad}")
        assert len(str(error.value)) < 300


@pytest.mark.parametrize(("first", "second"), [("seeds=1", "seeds=1"), ("policy.width=8", "policy=null")])
def test_a_field_is_set_once(first, second):
    for texts in ((first, "reward=gold", second), (second, first)):
        with pytest.raises(ValueError, match=f"--set {texts[0]} and --set {texts[-1]}: .* once"):
            overrides(texts)
    assert overrides([first, "reward=gold"]).keys() == {first.partition("=")[0], "reward"}


def test_fingerprints_see_every_part_and_refuse_what_has_no_canonical_form():
    base = fingerprint("gold", 1, {"a": 1}, {"reference": "x"})
    assert base == fingerprint("gold", 1, {"a": 1}, {"reference": "x"})
    others = [("golds", 1, {"a": 1}, {"reference": "x"}), ("gold", 2, {"a": 1}, {"reference": "x"})]
    others += [("gold", 1, {"a": 2}, {"reference": "x"}), ("gold", 1, {"a": 1}, {"reference": "y"})]
    assert len({base, *(fingerprint(*o) for o in others)}) == 5
    with pytest.raises((TypeError, ValueError)):
        fingerprint("gold", 1, {"a": object()}, {})
    with pytest.raises(ValueError):
        fingerprint("gold", 1, {"a": float("nan")}, {})

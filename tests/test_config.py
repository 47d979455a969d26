"""Settings: refused when made if out of range, and one line says what is allowed; fingerprints are canonical."""

import pytest

from gold_sim.config import Config
from gold_sim.settings import fingerprint, from_dict, parse, replace, to_dict


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reward_model.width": 3}, ("width=3", "from 4")),
        ({"reward_model.width": "wide"}, ("width='wide'", "int")),
        ({"reward_model.wdith": 8}, ("wdith", "allowed", "width")),
        ({"optimizer.steps": 8}, ("optimizer", "optimiser")),
        ({"seeds.x": 1}, ("seeds", "no fields")),
        ({"preferences.label_noise": 0.7}, ("label_noise=0.7", "0.5")),
        ({"preferences.annotator": "crowd"}, ("'crowd'", "bradley_terry")),
        ({"optimiser.name": "sarsa"}, ("sarsa", "rloo")),
        ({"optimiser.evaluations": 7}, ("evaluations=7", "divide")),
        ({"reward_model.num_pairs": 10**6}, ("1000000", "collected")),
        ({"reward_model.width": 512}, ("larger than gold",)),
        ({"optimiser.group_size": 1}, ("group_size=1", "at least 2")),
        ({"kl_coefs": ()}, ("at least one",)),
        ({"kl_coefs": (float("nan"),)}, ("kl_coefs=nan",)),
        ({"seeds": (-1,)}, ("seeds=-1",)),
        ({"gold.steps": True}, ("steps=True",)),
        ({"preferences.keep": "ranking"}, ("plackett_luce", "not deterministic")),
        (
            {"preferences.keep": "ranking", "preferences.annotator": "mallows", "preferences.label_noise": 0.1},
            ("label_noise=0.1",),
        ),
        ({"reward_model.loss": "all_pairs"}, ("'all_pairs'", "keep='ranking'")),
        ({"reward_model.loss": "all_pairs", "reward_model.heads": "odin"}, ("'odin'", "pairs")),
        ({"optimiser.thresholds": (1.0,)}, ("thresholds=(1.0,)", "'none'")),
        ({"optimiser.constraint": "xi"}, ("thresholds=()", "'xi'", "takes 1")),
        ({"optimiser.constraint": "adaptive_kl", "optimiser.thresholds": (1.0,)}, ("thresholds=(1.0,)", "takes 0")),
        ({"optimiser.constraint": "mu", "optimiser.thresholds": (1.0,), "kl_coefs": 0.1}, ("'mu'", "kl_coefs=(0,)")),
        ({"optimiser.constraint": "mu", "optimiser.thresholds": 1.0, "optimiser.name": "ppo"}, ("'mu'", "'rloo'")),
        ({"optimiser.constraint": "mu", "optimiser.thresholds": 1.0, "shaping.name": "par"}, ("'mu'", "shaping")),
        ({"optimiser.thresholds": (float("nan"),)}, ("thresholds=nan",)),
        ({"optimiser.kl_target": 0}, ("kl_target=0",)),
        ({"reward_model.diversity": "components"}, ("members=1", "'components' has 2")),
        ({"ensemble.only": 1}, ("only=1", "1 members")),
    ],
)
def test_bad_settings_say_what_is_allowed(changes, words):
    with pytest.raises(ValueError) as error:
        replace(Config(), changes)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


def test_dict_round_trip_and_nested_replacement():
    changed = replace(Config(), {"policy.width": 64, "kl_coefs": 0.5, "world.seed": 7})
    assert changed.policy.width == 64 and changed.kl_coefs == (0.5,) and changed.world.seed == 7
    assert from_dict(Config, to_dict(changed)) == changed
    assert hash(changed) == hash(from_dict(Config, to_dict(changed)))


def test_command_line_values():
    assert parse("seeds=[1,2]") == ("seeds", [1, 2])
    assert parse("optimiser.name=ppo") == ("optimiser.name", "ppo")
    assert parse("reward_model.num_pairs=null") == ("reward_model.num_pairs", None)
    for bad in ("seeds", "=3"):
        with pytest.raises(ValueError, match="path=value"):
            parse(bad)


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

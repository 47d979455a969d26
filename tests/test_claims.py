"""Claims: what is measured by hand, every verdict on made values, and worlds that agree or do not."""

import json
import types

import numpy as np
import pandas as pd
import pytest

from analysis import records
from analysis.__main__ import main
from analysis.claims import catalogue, ensembles, inference_time, labels, measured, optimisers, sight, sizes, verdicts
from analysis.claims.claim import ANY, Claim, NotMeasured, Part, combined
from analysis.studies import data_split
from gold_sim.laws import decisions
from tests.made_records import one_run

SEEDS = range(8)
SIZES = {"small": 1000, "large": 100_000}  # parameters of policies
NEAR = np.array([-0.02, -0.01, 0.0, 0.01, 0.02, 0.0, 0.01, -0.01])  # of 8 seeds, about a mean


def series(mean=0.0, noise=NEAR):
    return pd.Series(mean + noise, SEEDS)


def claim(name, *parts, **about):
    """An entry whose comparisons are given."""
    about = {"experiment": "made", "source": "", "says": name, "estimand": ""} | about
    return Claim(name=name, measure=lambda read: list(parts), **about)


def judged(monkeypatch, *claims, **manifest):
    monkeypatch.setattr(catalogue, "CLAIMS", claims)
    about = {"experiment": "made", "preset": "cpu", "overrides": {}} | manifest
    return verdicts.judged(types.SimpleNamespace(manifest=about, variants=[], labels={}, warnings=[]))


def words(found):
    return {name: one.verdict for name, one in found.items()}


# --- verdicts -------------------------------------------------------------------------------------


def test_every_verdict_is_reached(monkeypatch):
    found = judged(
        monkeypatch,
        claim("up", Part("", series(0.5))),
        claim("down", Part("", series(-0.5))),
        claim("none", Part("", series(0.01))),
        claim("unsure", Part("", series(0.1, 20 * NEAR))),
        claim("alike", Part("", series(0.01), equal=True)),
        claim("unlike", Part("", series(0.5), equal=True)),
        claim("below_two", Part("", series(1.5), threshold=2.0, sign=-1, margin=0.0)),
        claim("ground", Part("", series(0.5)), kind="premise"),
        claim("no_ground", Part("", series(0.1, 20 * NEAR)), kind="premise"),
        claim("stands", Part("", series(0.5)), premises=("ground",)),
        claim("hangs", Part("", series(0.5)), premises=("ground", "no_ground")),
    )
    assert words(found) == dict(
        up="holds", down="fails", none="equivalent", unsure="open", alike="holds", unlike="fails", below_two="holds",
        ground="holds", no_ground="open", stands="holds", hangs="no premise",
    )  # fmt: skip
    assert "premise no ground: open" in found["hangs"].found and found["up"].seeds == 8
    assert found["below_two"].found.startswith(" 1.500 [1.4") and found["unsure"].seeds_wanted > 8


@pytest.mark.parametrize(
    ("means", "every", "one"),
    [
        ((0.5, 0.5), ("holds", ""), ("holds", "a")),
        ((0.5, -0.5), ("fails", "b"), ("holds", "a")),
        ((0.5, 0.0), ("equivalent", "b"), ("holds", "a")),
        ((-0.5, -0.5), ("fails", "a"), ("fails", "")),
        ((0.0, 0.0), ("equivalent", "a"), ("equivalent", "")),
    ],
)
def test_several_comparisons(monkeypatch, means, every, one):
    """All must show, or one of them: a claim that all show is refuted by one, which is then named."""
    parts = [Part(name, series(mean)) for name, mean in zip("ab", means, strict=True)]
    found = judged(monkeypatch, claim("all", *parts), claim("any", *parts, combine=ANY))
    for name, (word, by) in dict(all=every, any=one).items():
        told = found[name].found
        assert found[name].verdict == word and told.startswith(f"by {by}: a " if by else "a ")


def test_the_p_values_of_several_comparisons_by_hand():
    """All: the largest for, and twice the smallest against; any: the other way round."""
    parts = [Part("", series(0.02, 3 * NEAR)), Part("", series(-0.01, 3 * NEAR))]
    each = [part.decide() for part in parts]
    above, below, alike = ([getattr(d, p) for d in each] for p in ("p_above", "p_below", "p_equivalent"))
    of_all, of_any = combined(parts, "all")[0], combined(parts, ANY)[0]
    twice = lambda ps: min(1.0, 2 * min(ps))
    assert (of_all.p_above, of_all.p_below, of_all.p_equivalent) == (max(above), twice(below), twice(alike))
    assert (of_any.p_above, of_any.p_below, of_any.p_equivalent) == (twice(above), max(below), max(alike))


def test_a_claim_is_settled_once_all_its_comparisons_are():
    """It then passes its share of the family's level on; one that surely is and one that is not do not suffice."""
    sure, unsure = Part("", series(1.0)), Part("", series(0.1, 20 * NEAR))
    of = lambda *parts: combined(list(parts), "all")[0].p_outside
    assert of(sure, sure) == decisions.settled(sure.decide(), "above") < 0.01
    assert of(sure, unsure) == of(unsure, sure) == decisions.settled(unsure.decide(), "above") > 0.05


def test_holm_is_within_the_claims_of_an_experiment(monkeypatch):
    """A value that decides alone does not among ten that do not; checks and premises take no part of the level."""
    alone = Part("", series(0.15, 8 * NEAR))
    noise = Part("", series(0.1, 20 * NEAR))
    others = lambda kind: [claim(f"other_{i}", noise, kind=kind) for i in range(10)]
    assert words(judged(monkeypatch, claim("it", alone), *others("check")))["it"] == "holds"
    assert words(judged(monkeypatch, claim("it", alone), *others("claim")))["it"] == "open"


def test_prompts_that_all_seeds_share_widen_what_is_judged(monkeypatch):
    of = lambda prompts: judged(monkeypatch, claim("it", Part("", series(0.2), prompts=prompts)))["it"].verdict
    assert of(0.0) == "holds" and of(0.04) == "open"


def test_known_values_decide_by_themselves():
    """Losses of policies do not vary between seeds; values that do not vary and are estimated are judged by sign."""
    part = Part("", pd.Series(0.04, range(2)), threshold=0.05, sign=-1, margin=0.0, exact=True)
    assert part.decide().p_above == 0.0
    assert combined([part], "all")[0].p_below == 1.0
    estimated = Part("", pd.Series(0.04, range(2)), threshold=0.05, sign=-1, margin=0.0)
    assert estimated.decide().p_above > 0.2


def test_what_records_cannot_tell_is_not_tested(monkeypatch):
    def short(read):
        raise NotMeasured("reaches 12 of 40 nats in 3 of 8 seeds")

    about = dict(experiment="made", source="", says="", estimand="", measure=short)
    found = judged(monkeypatch, Claim(name="it", **about), Claim(name="on_it", premises=("it",), **about))
    assert words(found) == dict(it="not tested", on_it="not tested") and "12 of 40 nats" in found["it"].found
    found = judged(monkeypatch, Claim(name="it", variants=("later",), **about))
    assert found["it"].verdict == "not tested" and "declared without later" in found["it"].found


# --- what is measured -----------------------------------------------------------------------------


def test_values_at_a_kl_by_hand():
    """d 0, 1, 3, 2, 4: KL 4 is first reached half way from d = 1 to 3, and KL 12.25 from d = 2 to 4; KL 25 never."""
    d, values = np.array([0.0, 1, 3, 2, 4]), np.array([0.0, 1, 5, 7, 9])
    found = measured.at_kl(d, values, [0.0, 1.0, 4.0, 12.25, 25.0])
    np.testing.assert_allclose(found, [0, 1, 3, 8.5, np.nan])
    assert np.isnan(measured.at_kl(d + 2, values, [1.0])).all()  # it begins beyond
    assert np.isnan(measured.at_kl(d, values * np.nan, [1.0])).all()


def test_a_peak_is_chosen_on_the_earlier_seeds_by_hand():
    """Of the first four, sums of the other three are [2, 1], [0, 2], [2, 2] and [2, 1]; before the fifth [2, 2]."""
    table = pd.DataFrame([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.5, 7.0]], columns=[3.0, 5.0])
    value, place = measured.chosen_on_earlier(table)
    assert value.tolist() == [0.0, 0.0, 0.0, 0.0, 0.5] and place.tolist() == [3.0, 5.0, 3.0, 3.0, 3.0]
    more = pd.concat([table, table + 9])  # seeds that are appended leave the values of those before
    assert measured.chosen_on_earlier(more)[0].tolist()[:5] == value.tolist()
    assert np.isnan(measured.chosen_on_earlier(table[:1])[0]).all()
    assert measured.best_of({"a": table[3.0], "b": table[5.0]}).tolist() == value.tolist()


def test_pure_noise_has_no_fall_on_average():
    """Peaks picked on the same values would lie above the end by the height of the noise."""
    rng = np.random.default_rng(0)
    tables = [pd.DataFrame(rng.standard_normal((8, 20))) for _ in range(300)]
    crossed = [(measured.chosen_on_earlier(t.iloc[:, :-1])[0] - t.iloc[:, -1]).mean() for t in tables]
    naive = [(t[t.mean(axis=0).idxmax()] - t.iloc[:, -1]).mean() for t in tables]
    assert abs(np.mean(crossed)) < 0.1 and np.mean(naive) > 0.5


def test_the_part_of_prompts_by_hand():
    """Rows [1, 3] and [1, 3]: nothing but prompts, variance 2 of each, over 2 prompts 1. [1, 3], [3, 1]: none."""
    assert measured.two_way([[1.0, 3.0], [1.0, 3.0]]) == pytest.approx(1.0)
    assert measured.two_way([[1.0, 3.0], [3.0, 1.0]]) == 0.0


def best_of_n_with_prompts(monkeypatch, alpha):
    """Best-of-n of eight seeds. Gold of four prompts, alike in all seeds: 0 up to n = 128, then minus 1, 2, 3, 4."""
    runs = [one_run("bon", s, alpha, 0.3, spread=0.01) for s in SEEDS]
    by_prompt = [[0.0] * 4, [0.0] * 4, [0.0] * 4, [-1.0, -2.0, -3.0, -4.0]]
    kept = {"n": [1, 16, 128, 1024], "seeds": [*SEEDS], "gold": [by_prompt] * len(SEEDS)}
    monkeypatch.setattr(records.Data, "record", lambda read, stage, cell: {"prompts": kept})
    return runs


@pytest.mark.parametrize("alpha", [0.3, 0.9])  # a peak at d = 0.5, and one at 1.5: n = 4 and 27
def test_prompts_enter_falls_of_best_of_n_by_hand(monkeypatch, alpha):
    """Falls of 1, 2, 3 and 4: their variance is 5/3, of the mean of four prompts 5/12. A share of 0 adds none."""
    read = made({"it": best_of_n_with_prompts(monkeypatch, alpha)}, store=object())
    at_kl = measured.falls(read, "bon", {"it": "it"})["it"]
    along = measured.fall_along(read, "it", "bon", until=128)
    for fall in (at_kl, along):
        assert fall.prompts() == pytest.approx(5 / 12) and fall.prompts(0.5) == pytest.approx(5 / 12)
        assert measured.small_fall("", fall, 0.05, falls=True).prompts == pytest.approx(5 / 12)


def test_prompts_enter_best_of_n_against_rl_by_hand(monkeypatch):
    """Mean over n = 16, 128 and 1,024: a third of minus 1, 2, 3, 4. Variance 5/27, of four prompts 5/108."""
    bon = best_of_n_with_prompts(monkeypatch, 0.9)
    rl = {name: ending_at(5.0) for name in optimisers.GRADIENTS}
    parts = optimisers.against_best_of_n(made({"best_of_n": bon} | rl, store=object()))
    assert [part.prompts for part in parts] == pytest.approx([5 / 108] * 4)


def made(runs, store=None, **manifest):
    """Records of runs given as variant -> tables of points."""
    table = pd.concat([run.assign(cell=key, variant=key) for key, each in runs.items() for run in each])
    table["variant"] = pd.Categorical(table["variant"], list(runs), ordered=True)
    about = {"experiment": "made", "axis": "variant", "variants": {key: key for key in runs}} | manifest
    return records.Data(about, table, pd.DataFrame(), [], {}, store)


def ending_at(d_end, alpha=0.75, beta=0.3, seeds=SEEDS):
    return [one_run("rl", s, alpha, beta, d_end, spread=0.01) for s in seeds]


def test_a_kl_that_few_runs_reach_does_not_count_and_is_said():
    """sqrt(12) = 3.46, sqrt(22) = 4.69: with ends near d = 4.2 gold is compared at 5 and 12 nats, with 2 at none."""
    read = made({"one": ending_at(4.2), "other": ending_at(4.2, 0.85), "short": ending_at(2.0)})
    part = measured.contrast(read, "rl", measured.minus("other", "one"), "gain")
    at = np.mean([0.1 * np.sqrt(kl) for kl in (5, 12)])  # of alphas that differ by 0.1
    assert part.values.mean() == pytest.approx(at, abs=0.02) and len(part.values) == 8
    assert "of 22 nats in 8 of 8 seeds" in part.note
    with pytest.raises(NotMeasured, match="reaches .* of 5 nats in 8 of 8 seeds"):
        measured.contrast(read, "rl", measured.minus("short", "one"), "gain")


def test_seeds_that_reach_no_kl_count_among_those_that_do_not():
    """Three of eight end at d = 2, before sqrt(5): five seeds reach 5 nats, which are too few."""
    other = ending_at(4.2, 0.85, seeds=range(5)) + ending_at(2.0, seeds=(5, 6, 7))
    read = made({"one": ending_at(4.2), "other": other})
    with pytest.raises(NotMeasured, match="of 5 nats in 3 of 8 seeds"):
        measured.contrast(read, "rl", measured.minus("other", "one"), "gain")


def test_gaps_of_prompts_are_from_their_start():
    """Training prompts that are 1 s.d. easier from the start are no gap; by the end the policy gains d / 10 on them."""
    runs = {}
    for count, gain in ((4.0, 0.1), (1024.0, 0.0)):
        easier = lambda run, n=count, gain=gain: run["proxy"] + (1.0 if n == 4 else 0.0) + gain * run["d"]
        own = {"train_prompts": count}
        runs[f"{count:g}"] = [run.assign(proxy_training=easier(run), **own) for run in ending_at(5.0)]
    (part,) = sight.held_out(made(runs, axis="train_prompts"))
    assert part.values.mean() == pytest.approx(0.1 * np.mean(np.sqrt([5, 12, 22])), abs=0.01)


def test_pairs_are_of_equal_seeds():
    """A run that diverged is left out with its partner, wherever it stands."""
    both = {"one": ending_at(5.0), "other": ending_at(5.0, 0.85, seeds=range(1, 8))}
    part = measured.contrast(made(both), "rl", measured.minus("other", "one"), "gain")
    assert [label[-1] for label in part.values.dropna().index] == list(range(1, 8))
    assert part.values.std() < 0.1


def test_falls_are_to_the_farthest_kl_that_all_arms_reach():
    """d (0.75 - 0.42 log d) peaks at d = 2.19, KL 4.8, at 0.92, and is 0.79 at 12 nats; beta 0.2 still rises."""
    read = made({"falls": ending_at(5.0, beta=0.42), "rises": ending_at(5.0, beta=0.2)})
    found = measured.falls(read, "rl", {"falls": "falls", "rises": "rises"})
    assert found["falls"].values.mean() == pytest.approx(0.92 - 0.79, abs=0.03)
    assert found["rises"].values.mean() < -0.1 and found["falls"].where.startswith("at 12 nats; ")
    assert (found["falls"].values.std() > 0) and (found["rises"].values.std() > 0)


def test_survival_by_hand():
    """Times 1, 2+, 3 (2 is censored), up to 4: survival 1, then 2/3 from 1 on, then 0 from 3 on: 1 + 4/3 = 7/3.

    Without censoring pseudo-values are the times themselves, cut at the horizon.
    """
    times, seen = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    assert data_split.kaplan_meier_mean(times, seen, 4.0) == pytest.approx(7 / 3)
    assert data_split.restricted(times, np.ones(3, bool), 2.5) == pytest.approx([1.0, 2.0, 2.5])
    # 3 x 7/3 minus 2 x the mean without one: of {2+, 3} 3, of {1, 3} 2, of {1, 2+} 2.5. The censored one counts as 3.
    assert data_split.restricted(times, seen, 4.0) == pytest.approx([1.0, 3.0, 2.0])


def test_sizes_that_hardly_part_are_not_told_apart():
    """All means would be the horizon, and so alike."""
    runs = {}
    for i, key in enumerate(("policy_small", "policy_large")):
        runs[key] = [run.assign(policy_params=500 * 10**i, proxy_left_out=run["proxy"]) for run in ending_at(5.0)]
    with pytest.raises(NotMeasured, match="0 of 16 runs part within 22 nats"):
        sight.parting_trend(made(runs), "policy", "rl")


def test_chi_po_is_asked_at_the_betas_of_which_it_is_said():
    """Not at 0.025, where nobody said that it keeps its peak."""
    of = lambda beta: [run.assign(stage="direct_alignment", dpo_beta=beta) for run in ending_at(5.0, beta=0.2)]
    parts = optimisers.pessimistic_alignment(made({name: of(0.025) + of(0.1) for name in ("rpo", "chi_po")}))
    assert [part.what for part in parts] == ["rpo at beta 0.025", "rpo at beta 0.1", "chi_po at beta 0.1"]


@pytest.mark.parametrize(("regressional", "verdict"), [(0.2, "holds"), (0.45, "fails")])
def test_kinds_of_errors_by_what_is_said_of_each(regressional, verdict):
    """Extremal errors must make gold fall, and normal ones must not: beta 0.45 falls by 22 nats, 0.2 does not."""
    betas = {"extremal": 0.45, "regressional": regressional, "causal": 0.2}
    runs = [run.assign(error_kind=kind) for kind, beta in betas.items() for run in ending_at(5.5, beta=beta)]
    found = combined(ensembles.kinds_fall(made({"none": runs})), "all")[0]
    assert decisions.verdicts([found], "above") == [verdict]


def test_a_margin_in_gold_is_none_of_shares_and_tokens():
    """A behaviour that surely rises by 0.05 of the responses has risen; 0.1 gold s.d. says nothing of it."""
    raised = {"likes_agreement": "sycophancy", "likes_refusals": "over_refusal", "likes_length": "attr_length"}
    share = lambda run, level: dict.fromkeys(raised.values(), level + 0.001 * run["seed"] * (level > 0.2))
    of = lambda level: [run.assign(**share(run, level)) for run in ending_at(5.0)]
    parts = labels.bias_raises_its_own(made({"middle_proxy": of(0.2)} | {key: of(0.25) for key in raised}))
    found = combined(parts, "all")[0]
    assert decisions.verdicts([found], "above") == ["holds"] and len(parts) == 3


def test_a_margin_of_a_slope_is_that_of_its_ends():
    """Policies of 1,000 and 100,000 parameters: 0.1 s.d. between them are 0.05 a tenfold."""
    runs = {key: [run.assign(policy_params=size) for run in ending_at(5.0)] for key, size in SIZES.items()}
    (part,) = sizes.policies_gain_less(made(runs, axis="policy_params"), "rl")
    assert part.margin == pytest.approx(0.05) and part.values.mean() == pytest.approx(0.0, abs=0.01)


# --- worlds, and the entries that are written -------------------------------------------------------


@pytest.mark.parametrize(
    ("each", "verdict", "agree"),
    [
        (("holds", "holds"), "holds", True),
        (("holds", "fails"), "open", False),
        (("holds", "open"), "holds", None),
        (("open", "no premise"), "open", None),
    ],
)
def test_worlds_are_joined(each, verdict, agree):
    worlds = [{"world": 200 + i, "verdict": v, "found": "", "seeds": 8, "seeds_wanted": 8} for i, v in enumerate(each)]
    found = verdicts._joined(worlds, None)
    assert (found["verdict"], found["agree"]) == (verdict, agree) and "world 201 " in found["found"]


def test_entries_of_two_worlds_from_two_stores(tmp_path, capsys):
    from tests.test_variants import BETAS, made_ensembles

    for world in (200, 201):
        made_ensembles(tmp_path / str(world), BETAS, world_seed=world)
    command = ["claims", "--runs", str(tmp_path / "200"), str(tmp_path / "201"), "--out", str(tmp_path / "out")]
    assert main([*command, "--json", str(tmp_path / "claims.json")]) == 0
    found = {one["name"]: one for one in json.loads((tmp_path / "claims.json").read_text())["claims"]}
    one = found["ensembles_fall_less"]
    assert (one["verdict"], one["agree"], [w["world"] for w in one["worlds"]]) == ("holds", True, [200, 201])
    assert one["cpu_hours"] > 0 and one["seeds"] == 8 and one["kind"] == "claim" and one["estimand"]
    assert found["light_tails"]["verdict"] == "not run" and found["light_tails"]["worlds"] == []
    (tmp_path / "other.json").write_text('{"mine": 1}')
    assert main([*command, "--json", str(tmp_path / "other.json")]) == 2
    assert "no result of this command" in capsys.readouterr().err


def test_levels_are_those_of_the_rule():
    assert decisions.LEVEL == 0.1 and set(verdicts.DECIDED) == {"holds", "fails", "equivalent"}


# --- selection at inference time ------------------------------------------------------------------


@pytest.mark.parametrize(("gained", "verdict"), [(0.99, "holds"), (0.5, "fails")])
def test_gain_at_hedgetunes_n(monkeypatch, gained, verdict):
    """Gold goes from 0.1 to at most 1.1: at the n chosen a share of that is gained, whatever the n is."""
    about = dict(error_kind="none", rm_params=1000, world_seed=0, gold_seed=0, optimiser="best_of_n", cell="c")
    record = {"hedge": dict(gold=0.1 + gained + NEAR / 10, gold_at_1=[0.1] * 8, gold_oracle=[1.1] * 8, n=[9] * 8)}
    read = types.SimpleNamespace(
        curves=pd.DataFrame([about]), record=lambda stage, cell: record | {"config": {"seeds": list(SEEDS)}}
    )
    (part,) = inference_time.hedge_gain(read)
    np.testing.assert_allclose(part.values, gained + NEAR / 10 - 0.95)
    assert f"{gained:.0%} of 1.00" in part.note
    assert words(judged(monkeypatch, claim("kept", part))) == {"kept": verdict}


def test_peaks_are_sought_up_to_one_kl_in_all_arms(monkeypatch):
    """Gold rises as d: an arm that goes to 22 nats is told at 12, where the other ends."""
    run = lambda kl: pd.DataFrame({"d": np.linspace(0, kl**0.5, 50)}).assign(gold=lambda t: t["d"])
    arms = {name: {seed: run(kl) for seed in SEEDS} for name, kl in (("near", 13.0), ("far", 25.0))}
    monkeypatch.setattr(measured.runs, "by_seed", lambda read, key, method, **where: arms[key])
    found = measured.peaks(None, "rl", {name: (name, {}) for name in arms})
    np.testing.assert_allclose([found["near"].mean(), found["far"].mean()], 12**0.5, rtol=1e-6)

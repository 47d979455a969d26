"""Claims of the literature, one entry each; verdicts.py tests them on the records where their experiment was run.

A claim that fails stays here. A test takes the records of an experiment and returns (holds, what was found). `holds` is
True, False, or None where an interval does not decide. Intervals are over seeds; differences are paired by seed.
"""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass

from analysis import runs
from analysis.claims import data as of_data
from analysis.claims import ensembles, inference_time, rounds
from analysis.claims import optimisers as of_methods
from analysis.studies import policy_size, worlds


@dataclass(frozen=True)
class Claim:
    """A sentence of the literature, and how the records of one experiment bear on it.

    variants: keys of the variants that the test asks for; "kl_*" stands for one or more that begin so.
    """

    name: str
    experiment: str
    source: str
    says: str
    test: Callable  # records.Data -> (holds, found)
    variants: tuple[str, ...] = ()

    def lacks(self, keys) -> list[str]:
        """The entries of `variants` that are not among these keys."""
        return [wanted for wanted in self.variants if not fnmatch.filter(keys, wanted)]


def _checked(study, name: str) -> Callable:
    """The test of a claim that is among the study's own checks."""

    def test(read):
        checks = study.checked(read)
        if name not in checks:
            raise runs.Missing(f"no check {name}: too few sizes")
        return checks[name]["holds"], checks[name]["found"]

    return test


COSTE, EISENSTEIN, MOSKOVITZ = "Coste et al. 2023", "Eisenstein et al. 2023", "Moskovitz et al. 2024"
WOLF, GAO = "Wolf et al. 2025", "Gao et al. 2023"
CLAIMS = (
    Claim(
        "ensembles_fall_less",
        "ensembles",
        COSTE,
        "under 25 % noise, ensembles reduce RL's fall",
        ensembles.ensembles_fall_less(0.25),
        ("single", "mean", *ensembles.PESSIMISTIC),
    ),
    Claim(
        "pessimism_beats_the_mean",
        "ensembles",
        COSTE,
        "worst case and variance rules fall less than the mean",
        ensembles.pessimism_falls_less_than_the_mean,
        ("mean", *ensembles.PESSIMISTIC),
    ),
    Claim(
        "ensembles_gain_in_bon",
        "ensembles",
        COSTE,
        "under 25 % noise, ensembles end best-of-n higher",
        ensembles.ensembles_gain_in_best_of_n(0.25),
        ("single", "mean", *ensembles.PESSIMISTIC),
    ),
    Claim(
        "more_noise",
        "ensembles_noise",
        COSTE,
        "under 35 % noise, ensembles end best-of-n higher",
        ensembles.ensembles_gain_in_best_of_n(0.35),
        ("single", "mean", *ensembles.PESSIMISTIC),
    ),
    Claim(
        "more_noise_in_rl",
        "ensembles_noise",
        COSTE,
        "under 35 % noise, ensembles reduce RL's fall",
        ensembles.ensembles_fall_less(0.35),
        ("single", "mean", *ensembles.PESSIMISTIC),
    ),
    Claim(
        "spread_grows",
        "ensembles",
        COSTE,
        "spread grows 2x or more under the mean, 1.5x or less under the variance rule",
        ensembles.spread_grows,
        ("mean", "mean_minus_0_5_variance"),
    ),
    Claim(
        "penalty_and_pessimism",
        "ensembles_kl",
        COSTE,
        "with a small KL penalty pessimistic rules lose nothing (5 %)",
        ensembles.penalty_and_pessimism,
        ("single", *ensembles.PESSIMISTIC),
    ),
    Claim(
        "ensemble_size",
        "ensemble_size",
        COSTE,
        "four members do as five (0.05 s.d.), and better than one",
        ensembles.size_of_ensemble,
        ("worst_of_1", "worst_of_3", "worst_of_4", "worst_of_5"),
    ),
    Claim(
        "diversity",
        "diversity",
        EISENSTEIN,
        "members that differ in order alone help least",
        ensembles.diversity,
        ("single", "worst_case_order", "worst_case_init", "worst_case_bootstrap", "worst_case_features"),
    ),
    Claim(
        "weight_average",
        "diversity",
        "Rame et al. 2024",
        "averaged weights keep more gold than one model",
        ensembles.weight_average,
        ("single", "weight_average_order"),
    ),
    Claim(
        "independent_errors",
        "shared_errors",
        COSTE,
        "independent heavy tails: pessimistic rules do not fall, the mean does",
        ensembles.worst_case_at_independent_errors,
        ("mean", "worst_case", "uncertainty_weighted"),
    ),
    Claim(
        "shared_errors",
        "shared_errors",
        EISENSTEIN,
        "half shared or more: every rule falls",
        ensembles.shared_errors_defeat_ensembles,
        ("mean", "median", "worst_case", "uncertainty_weighted", "mean_minus_std"),
    ),
    Claim(
        "light_tails",
        "heavy_tails",
        "Kwa et al. 2024",
        "normal errors: best-of-n never falls",
        inference_time.light_tails,
        ("best_of_n",),
    ),
    Claim(
        "heavy_tails",
        "heavy_tails",
        "Kwa et al. 2024",
        "t3 errors: peak by n = 64, then over half lost",
        inference_time.heavy_tails,
        ("best_of_n",),
    ),
    Claim(
        "pessimism_at_inference",
        "heavy_tails",
        "Huang et al. 2025",
        "t3 errors: pessimism ends within 5 % of its peak",
        inference_time.pessimism_keeps,
        ("best_of_n", "pessimism_0_3"),
    ),
    Claim(
        "hedge_heavy",
        "heavy_tails",
        "Khalaf et al. 2025",
        "HedgeTune's n is within a factor 2 of the best",
        inference_time.hedge,
        ("best_of_n",),
    ),
    Claim(
        "poisson",
        "inference_time",
        "Khalaf et al. 2025",
        "best-of-Poisson gives best-of-n's gold at equal KL",
        inference_time.poisson,
        ("best_of_n", "best_of_poisson"),
    ),
    Claim(
        "hedge_learned",
        "inference_time",
        "Khalaf et al. 2025",
        "the same with learned proxies",
        inference_time.hedge,
        ("best_of_n",),
    ),
    Claim(
        "pessimism_small_proxy",
        "inference_time",
        "Huang et al. 2025",
        "pessimism ends above best-of-n for a weak proxy",
        inference_time.pessimism_small_proxy,
        ("best_of_n", "pessimism_0_3", "pessimism_0_1", "soft_temperature_0_5"),
    ),
    Claim(
        "bon_is_thrifty",
        "optimisers",
        GAO,
        "best-of-n pays least KL for equal gold",
        of_methods.best_of_n_is_thrifty,
        ("best_of_n",),
    ),
    Claim(
        "one_peak",
        "optimisers",
        "none",
        "policy-gradient methods and expert iteration share one peak (within a fifth)",
        of_methods.one_law,
        ("rloo", "reinforce", "ppo", "grpo", "expert_iteration"),
    ),
    Claim(
        "dpo_peaks_early",
        "direct_alignment",
        "Rafailov et al. 2024",
        "at small beta gold peaks before the data ends",
        of_methods.peaks_before_the_end,
        ("dpo",),
    ),
    Claim(
        "beta_and_kl",
        "direct_alignment",
        "Rafailov et al. 2024",
        "smaller beta goes further",
        of_methods.smaller_beta_goes_further,
        ("dpo",),
    ),
    Claim(
        "rl_form",
        "direct_alignment",
        "Rafailov et al. 2024",
        "the RL form fits better than the quadratic",
        of_methods.rl_form_beats_quadratic,
        ("dpo",),
    ),
    Claim(
        "pessimistic_alignment",
        "direct_alignment_pessimism",
        "Liu et al. 2024; Huang et al. 2024",
        "25 % noise: RPO and chi-PO end within 5 % of their peak",
        of_methods.pessimistic_alignment,
        ("dpo", "rpo", "chi_po"),
    ),
    Claim(
        "chi2",
        "divergence",
        "Laidlaw et al. 2024",
        "the best chi2 penalty keeps as much gold as the best KL penalty (0.05 s.d.)",
        of_methods.chi2_beats_kl,
        ("no_penalty", "kl_*", "chi2_*"),
    ),
    Claim(
        "par",
        "reward_shaping",
        "Fu et al. 2025",
        "PAR leaves the peak (15 %) and falls less",
        of_methods.par,
        ("none", "par"),
    ),
    Claim(
        "kinds_fall",
        "goodhart",
        "Manheim & Garrabrant 2018",
        "every kind makes gold fall (5 % of its peak)",
        ensembles.kinds_fall,
        ("none",),
    ),
    Claim(
        "own_errors",
        "goodhart",
        EISENSTEIN,
        "an ensemble helps where errors are the members' own",
        ensembles.ensemble_by_kind(("regressional", "heavy_tailed", "adversarial"), True),
        ("none", "worst_case_of_3"),
    ),
    Claim(
        "common_errors",
        "goodhart",
        EISENSTEIN,
        "and does not where members share them (0.05 s.d.)",
        ensembles.ensemble_by_kind(("extremal", "causal"), False),
        ("none", "worst_case_of_3"),
    ),
    Claim(
        "random_errors_blur",
        "annotators",
        COSTE,
        "random errors of annotators cost less than half the gain",
        of_data.random_errors,
        ("gold_itself", *of_data.RANDOM),
    ),
    Claim(
        "shared_tastes",
        "annotators",
        "Sharma et al. 2023",
        "a taste that all labels share costs more than flips",
        of_data.shared_tastes,
        ("gold_itself", "flips_25", "flips_35", *of_data.TASTES),
    ),
    Claim(
        "losses",
        "preference_losses",
        "Chowdhury et al. 2024",
        "25 % flips: known channel and unbiased beat Bradley-Terry",
        of_data.losses,
        ("bradley_terry", *of_data.LOSSES),
    ),
    Claim(
        "sycophancy",
        "behaviours",
        "Sharma et al. 2023",
        "sycophancy rises while gold falls",
        of_data.rises_while_gold_falls("sycophancy"),
    ),
    Claim(
        "over_refusal",
        "behaviours",
        "none",
        "over-refusal rises while gold falls",
        of_data.rises_while_gold_falls("over_refusal"),
    ),
    Claim(
        "own_bias",
        "behaviours",
        "Sharma et al. 2023",
        "a bias of the labels raises its own behaviour",
        of_data.bias_raises_its_own,
        ("middle_proxy", *of_data.OWN),
    ),
    Claim(
        "omission",
        "omission",
        "Zhuang & Hadfield-Menell 2020",
        "a proxy that sees less ends lower",
        of_data.omission,
        ("sees_all", "blind_to_all_four"),
    ),
    Claim(
        "unseen",
        "omission",
        "Zhuang & Hadfield-Menell 2020",
        "what is not seen is given up",
        of_data.unseen_given_up,
        ("sees_all", "blind_to_all_four"),
    ),
    Claim(
        "held_out",
        "held_out_prompts",
        "Zhang et al. 2018",
        "the proxy's gap shrinks with training prompts",
        of_data.held_out,
    ),
    Claim(
        "larger_proxies_part_later",
        "data_split",
        "Bai et al. 2022",
        "RL: larger reward models of disjoint halves part later",
        of_data.larger_part_later("proxy", "rl", later=True),
        ("proxy_*",),
    ),
    Claim(
        "in_bon_too",
        "data_split",
        "Bai et al. 2022",
        "the same in best-of-n",
        of_data.larger_part_later("proxy", "bon", later=True),
        ("proxy_*",),
    ),
    Claim(
        "policy_size_and_parting",
        "data_split",
        "Bai et al. 2022",
        "the policy's size hardly changes where they part (sqrt(KL) by 0.5 a tenfold)",
        of_data.larger_part_later("policy", "rl", later=False),
        ("policy_*",),
    ),
    Claim(
        "other_half_sees",
        "data_split",
        "Bai et al. 2022",
        "a reward model of other data sees half or more of what the proxy gains without gold",
        of_data.other_half_sees,
    ),
    Claim(
        "updates",
        "omission_updates",
        "Zhuang & Hadfield-Menell 2020",
        "updates of what the proxy sees restore improvement",
        rounds.updates_restore,
        ("sight_in_turns", "same_sight"),
    ),
    Claim(
        "rounds",
        "iterated",
        WOLF,
        "later rounds peak higher",
        rounds.rounds_raise_the_peak,
        ("concatenate_restart",),
    ),
    Claim(
        "k_rounds",
        "iterated",
        GAO,
        "k rounds peak k times as high as one (within 20 %)",
        rounds.peaks_grow_with_rounds,
        ("concatenate_restart",),
    ),
    Claim(
        "old_pairs",
        "iterated",
        WOLF,
        "all pairs so far beat the newest alone",
        rounds.old_pairs_help,
        ("concatenate_restart", "replace_restart"),
    ),
    Claim(
        "no_recovery",
        "iterated",
        WOLF,
        "over-optimised policies that go on do not recover",
        rounds.over_optimised_policies_do_not_recover,
        ("concatenate_restart", "concatenate_continue"),
    ),
    Claim(
        "where_labels_are",
        "iterated",
        "Bai et al. 2022",
        "labels on the policy's own writing beat as many on the reference's",
        rounds.labels_where_the_policy_is,
        ("concatenate_restart", "as_many_labels_one_round"),
    ),
    Claim(
        "odin",
        "length",
        "Chen et al. 2024",
        "labels that like length: ODIN's reward does not follow length (|corr| < 0.1) and keeps more gold",
        of_data.odin,
        ("single", "odin"),
    ),
    Claim(
        "gain_is_length",
        "length",
        "Singhal et al. 2023",
        "labels that like length: 60 % or more of the proxy's gain is length",
        of_data.gain_is_length,
        ("single",),
    ),
    Claim(
        "rankings",
        "rankings",
        "Ouyang et al. 2022",
        "all pairs of a ranking keep more gold than one pair of it",
        of_data.whole_rankings,
        ("one_pair", "all_pairs", "plackett_luce_likelihood"),
    ),
    Claim(
        "constraints_met",
        "constrained",
        MOSKOVITZ,
        "runs end at their thresholds: xi within 5 %, mu not below, all not above",
        of_methods.constraints_met,
        ("mu_joint", "xi_joint", "all_joint"),
    ),
    Claim(
        "joint_points",
        "constrained",
        MOSKOVITZ,
        "joint proxy points keep more gold than independent ones",
        of_methods.joint_points,
        ("xi_joint", "xi_independent"),
    ),
    Claim(
        "constrained_fall_less",
        "constrained",
        MOSKOVITZ,
        "constrained runs end nearer their peak than the unconstrained composite",
        of_methods.constrained_fall_less,
        ("composite", "mu_joint", "xi_joint", "all_joint"),
    ),
    Claim(
        "constrained_against_penalties",
        "constrained",
        MOSKOVITZ,
        "constraints end higher than a tuned and an adaptive KL penalty",
        of_methods.constrained_against_penalties,
        ("xi_joint", "mu_joint", "kl_penalty", "adaptive_kl"),
    ),
    Claim(
        "policies_gain_less",
        "policy_size",
        GAO,
        "best-of-n: larger policies gain less",
        _checked(policy_size, "larger_gains_less_bon"),
    ),
    Claim(
        "policies_gain_less_in_rl",
        "policy_size",
        GAO,
        "RL: larger policies gain less",
        _checked(policy_size, "larger_gains_less_rl"),
    ),
    Claim(
        "policies_gap",
        "policy_size",
        GAO,
        "RL: larger policies do not over-optimise more (the gap at equal KL is the same within 25 %)",
        _checked(policy_size, "same_gap_rl"),
    ),
    Claim(
        "policies_under_the_largest",
        "policy_size_large_rm",
        GAO,
        "under the largest reward model, too, larger policies gain less in RL",
        _checked(policy_size, "larger_gains_less_rl"),
    ),
    Claim(
        "alpha_in_other_worlds",
        "worlds",
        GAO,
        "alpha_bon rises with size, between worlds",
        _checked(worlds, "bon_alpha_slope"),
    ),
    Claim(
        "beta_in_other_worlds",
        "worlds",
        GAO,
        "beta_rl falls with size, between worlds",
        _checked(worlds, "rl_beta_slope"),
    ),
)

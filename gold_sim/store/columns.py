"""The columns of the stored tables: type, unit and meaning of each."""

from dataclasses import dataclass

from gold_sim.attributes import ATTRIBUTES


@dataclass(frozen=True)
class Column:
    """One column of a table; str() is the line that documents it."""

    dtype: str  # pyarrow's alias: string, int64, float64
    unit: str
    meaning: str
    absent: str | int | float | None = None  # value in tables stored before the column existed; None: it always did

    def __str__(self):
        return f"{self.unit}: {self.meaning}"


NAN = float("nan")
OVER = "over the measured responses; best-of-n: over prompts and the law of the selected sample"

CURVE_COLUMNS: dict[str, Column] = {  # one row = (cell, seed, kl_coef, evaluation point)
    "stage": Column("string", "name", "that made the curve: best_of_n, policy_gradient, frontier, direct_alignment"),
    "cell": Column("string", "fingerprint", "cell of the curve"),
    "rm_cell": Column("string", "fingerprint", "reward-model cell that was optimised against; empty if none"),
    "optimiser": Column("string", "name", "best_of_n or another selection rule, ppo, rloo, .., dpo, ipo, .."),
    "reward": Column("string", "name", "what was optimised: proxy, gold (a control), synthetic (gold + an error)"),
    "gold_kind": Column("string", "name", "how gold was made, rubric or random (a control)"),
    "gold_params": Column("int64", "count", "parameters of the gold reward model"),
    "rm_width": Column("int64", "count", "width of the proxy reward model"),
    "rm_depth": Column("int64", "count", "blocks of the proxy reward model"),
    "rm_params": Column("int64", "count", "parameters of the proxy reward model"),
    "num_pairs": Column(
        "int64", "pairs", "preference pairs that the proxy was trained on; the policy, in direct alignment"
    ),
    "label_noise": Column("float64", "rate", "labels flipped at random; 0.5 is shuffled labels"),
    "annotator": Column("string", "name", "how gold margins became labels, deterministic or bradley_terry"),
    "policy_params": Column("int64", "count", "parameters of the policy"),
    "world_seed": Column("int64", "seed", "of the synthetic language"),
    "gold_seed": Column("int64", "seed", "of the gold reward model"),
    "seed": Column("int64", "seed", "of reward model and policy"),
    "kl_coef": Column("float64", "gold s.d. per nat", "KL penalty"),
    "control": Column("int64", "count", "how far was optimised: n of best-of-n, or policy step"),
    "kl": Column("float64", "nats a response", "KL(policy || ref_policy); best-of-n: log n - (n-1)/n"),
    "kl_se": Column("float64", "nats a response", "standard error of kl over prompts"),
    "d": Column("float64", "nats^0.5", "sqrt(kl)"),
    "proxy": Column("float64", "gold s.d.", "calibrated proxy score, 0 = mean on reference samples"),
    "proxy_se": Column("float64", "gold s.d.", "standard error of proxy over prompts"),
    "proxy_raw": Column("float64", "raw proxy units", "output of the reward model before calibration"),
    "gold": Column("float64", "gold s.d.", "standardised gold score, 0 = mean on samples of the labelling policy"),
    "gold_se": Column("float64", "gold s.d.", "standard error of gold over prompts"),
    "gold_raw": Column("float64", "raw gold units", "output of the gold network before standardising"),
    **{f"attr_{name}": Column("float64", a.unit, f"mean {a.meaning}", NAN) for name, a in ATTRIBUTES.items()},
    "length": Column("float64", "tokens a response", "mean length, EOS included"),
    "entropy": Column("float64", "nats a response", "entropy of the policy; NaN for best-of-n"),
    "distinct_1": Column("float64", "share", "distinct words / words of the evaluation batch; NaN for best-of-n"),
    "distinct_2": Column("float64", "share", "distinct word pairs / word pairs of the batch; NaN for best-of-n"),
    "clip_fraction": Column("float64", "share", "sampled tokens whose ratio was clipped; NaN unless ppo or grpo"),
    "num_prompts": Column("int64", "count", "held-out prompts of the measurement"),
    "status": Column("string", "name", "ok, or diverged (its scores are NaN)"),
    "ensemble_size": Column("int64", "count", "reward models that were combined", 1),
    "ensemble_rule": Column("string", "name", "how they were combined; single for one", "single"),
    "proxy_spread": Column("float64", "gold s.d.", "s.d. over an ensemble's members, mean of samples", NAN),
    "shaping": Column("string", "name", "transform of the reward before it was optimised", "none"),
    "error_kind": Column("string", "name", "kind of the error of a synthetic proxy", "none"),
    "error_shared": Column("float64", "share", "of the error's variance that all members have in common", NAN),
    "divergence": Column("string", "name", "what kl_coef penalises, kl or chi2", "kl"),
    "sycophancy": Column("float64", "share of responses", "that agree with a wrong claim, of those to one", NAN),
    "over_refusal": Column("float64", "share of responses", "that refuse a harmless prompt, of those to one", NAN),
    "train_prompts": Column("float64", "count", "fixed prompts trained on; NaN: fresh ones at every step", NAN),
    "proxy_training": Column("float64", "gold s.d.", "as proxy, on the fixed training prompts", NAN),
    "gold_training": Column("float64", "gold s.d.", "as gold, on the fixed training prompts", NAN),
    "round": Column("int64", "number", "of iterated RLHF, from 1", 1),
    "proxy_left_out": Column("float64", "gold s.d.", "as proxy, by the members that ensemble.take leaves out", NAN),
    "constraint": Column("string", "name", "what held the policy back (optimisation/constrained.py)", "none"),
    "component_0": Column("float64", "gold s.d.", "score of the component that sees words", NAN),
    "component_1": Column("float64", "gold s.d.", "score of the component that sees manners", NAN),
    "dpo_beta": Column("float64", "nats", "beta of direct alignment; NaN for others", NAN),
    "implicit_accuracy": Column("float64", "share of pairs", "held-out pairs implicitly ordered as gold does", NAN),
    "policy_loss": Column("float64", "nats a token", "of the policy before it is optimised, on demonstrations", NAN),
    "proxy_of_length": Column("float64", "gold s.d.", "proxy of reference responses as long (length_share)", NAN),
    "rubric": Column("float64", "rubric s.d.", "what gold was trained on, 0 = mean on samples as of gold", NAN),
    "rubric_se": Column("float64", "rubric s.d.", "standard error of rubric over prompts", NAN),
    "gold_rubric_correlation": Column("float64", "Pearson", f"of gold and rubric {OVER}", NAN),
    "gold_sd": Column("float64", "gold s.d.", f"s.d. of gold {OVER}", NAN),
    "rubric_sd": Column("float64", "rubric s.d.", f"s.d. of rubric {OVER}", NAN),
    "same_response": Column("float64", "share", "prompts whose response another got, too; NaN for best-of-n", NAN),
    "kl_drift": Column(
        "float64", "share", "of kl, by which it rose in the last part of a frontier's plateau; NaN: no equilibrium", NAN
    ),
}

REWARD_MODEL_COLUMNS: dict[str, Column] = {  # one row = (cell, seed)
    "cell": Column("string", "fingerprint", "cell of the reward models"),
    **{name: CURVE_COLUMNS[name] for name in ("rm_width", "rm_depth", "rm_params", "num_pairs", "label_noise")},
    **{name: CURVE_COLUMNS[name] for name in ("annotator", "gold_kind", "world_seed", "gold_seed")},
    "seed": Column("int64", "seed", "of the reward model"),
    "train_loss": Column("float64", "nats a pair", "training objective at its end; whole rankings: nats a ranking"),
    "val_loss": Column("float64", "nats a pair", "raw scores against the given labels, held-out pairs"),
    "val_accuracy": Column("float64", "share of pairs", "held-out pairs ordered as gold orders them"),
    "ece": Column("float64", "probability", "expected calibration error of sigmoid(raw margin) against labels"),
    "val_loss_soft": Column("float64", "nats a pair", "raw scores against gold's probabilities, held-out pairs"),
    "val_loss_soft_calibrated": Column("float64", "nats a pair", "as val_loss_soft, of calibrated scores"),
    "scale": Column("float64", "gold s.d. per raw unit", "of calibrated = scale * (raw - shift)"),
    "shift": Column("float64", "raw proxy units", "of calibrated = scale * (raw - shift)"),
    "rank_correlation": Column("float64", "Spearman", "of proxy and gold on held-out reference samples"),
    "member": Column("int64", "number", "of the reward model in its ensemble, from 0", 0),
    "length_correlation": Column("float64", "Pearson", "of proxy and length on held-out reference samples", NAN),
    "labels_changed": Column("float64", "share of pairs", "training pairs whose label is not gold's order", NAN),
    "start": Column("string", "name", "what its parameters started as: fresh, reference or pretrained", "fresh"),
    "trunk": Column("string", "name", "who has the same pretrained trunk: shared, by_seed, own; none if none", "none"),
    "train_until": Column("string", "name", "what ended training: epochs, or converged", "epochs"),
    "steps": Column("float64", "count", "gradient steps that led to its parameters; NaN in older tables", NAN),
    "epochs_run": Column("float64", "passes", "over its pairs until training ended; NaN in older tables", NAN),
    "converged": Column("float64", "0 or 1", "whether the loss ceased to fall before `epochs` passes; else NaN", NAN),
    "stop_loss": Column("float64", "nats a pair", "as val_loss, on the held-out pairs that stopped training", NAN),
}

SAMPLE_COLUMNS: dict[str, Column] = {  # one row = (cell, seed, kl_coef, evaluation point, prompt)
    **{name: CURVE_COLUMNS[name] for name in ("cell", "seed", "kl_coef", "control")},
    "prompt_id": Column(
        "int64", "number", "of the held-out prompt; a seed has the same prompts at every point and in every run"
    ),
    "kind": Column("string", "name", "of the prompt: plain, claim_right, claim_wrong, harmful or harmless"),
    "prompt": Column("string", "words", "decoded prompt"),
    "response": Column("string", "words", "decoded response of the policy"),
    "proxy": Column("float64", "gold s.d.", "calibrated proxy score of this response"),
    "gold": Column("float64", "gold s.d.", "gold score of this response"),
    "dpo_beta": CURVE_COLUMNS["dpo_beta"],
}

TABLES = {"curves": CURVE_COLUMNS, "reward_models": REWARD_MODEL_COLUMNS, "samples": SAMPLE_COLUMNS}

RUN_COLUMNS = ("seed", "kl_coef", "dpo_beta")  # tell the runs of a cell apart, but kl_coef changes along a frontier
SETTING_COLUMNS = (  # of curves: one value along a run; the others are measured at every point
    *("stage", "cell", "rm_cell", "optimiser", "reward", "gold_kind", "gold_params", "rm_width", "rm_depth"),
    *("rm_params", "num_pairs", "label_noise", "annotator", "policy_params", "world_seed", "gold_seed", "num_prompts"),
    *("status", "ensemble_size", "ensemble_rule", "shaping", "error_kind", "error_shared", "divergence"),
    *("train_prompts", "round", "constraint", "policy_loss", *RUN_COLUMNS),
)


def described(kind: str, name: str) -> Column:
    """The column of a table; an attribute that one language alone has is described by its name."""
    known = TABLES[kind].get(name)
    return known or Column("float64", "as the language has it", f"mean {name.removeprefix('attr_')}, an attribute")

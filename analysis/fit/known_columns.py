"""What the columns of KL in trainers' logs are, by trainer: unit, per token or response, to which policy, estimator.

One name means several things (`kl` of GRPO is a mean over tokens, of KTO no distance at all), so a row also has the
names that stand beside the column in that trainer's log. k1, k2, k3 are the estimators of
http://joschu.net/blog/kl-approx.html: with r = log ratio, k1 is r, k2 is r^2 / 2, k3 is exp(-r) - 1 + r.
`python -m analysis fit --known-columns` prints this table, and docs/fitting.md shows it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

RESPONSE, TOKEN = "response", "token"
KL, ROOT, NEITHER = "nats", "nats^0.5", "none"  # units
REFERENCE, OLD, SAMPLER = "reference", "old policy", "sampler"


@dataclass(frozen=True)
class KnownColumn:
    """One column of one trainer's log."""

    trainer: str
    column: str
    measures: str
    unit: str  # KL, its ROOT, or NEITHER
    per: str  # TOKEN: averaged over tokens; RESPONSE: summed over a response's tokens; "" if it is no KL
    to: str  # the policy that KL is taken to: REFERENCE, OLD (that sampled the batch) or SAMPLER (inference engine)
    estimator: str  # k1, k2, k3, as the trainer's setting names it, or ""
    source: str  # file, function or page
    beside: tuple[str, ...] = ()  # other columns of this trainer, which tell it from others with this name
    length: str = ""  # its column of mean tokens a response
    opened: bool = True  # whether the source was read for this row, and not only remembered

    @property
    def is_distance(self) -> bool:
        return self.unit != NEITHER and self.to == REFERENCE

    @property
    def says(self) -> str:
        """What it is, for a message."""
        if self.unit == NEITHER:
            return f"{self.measures} ({self.trainer})"
        root = "the root of " if self.unit == ROOT else ""
        how = "the mean over tokens of" if self.per == TOKEN else "nats a response of"
        return f"{root}{how} KL to the {self.to} ({self.trainer})"


_TRL, _VERL, _NEMO = "huggingface/trl trl/trainer/", "volcengine/verl verl/", "NVIDIA-NeMo/RL nemo_rl/algorithms/"
_GRPO = ("completions/mean_length", "frac_reward_zero_std", "clip_ratio/region_mean", "clip_ratio", "completion_length")
_RLHF = ("response_length", "policy_loss", "actor_lr", "ppo_clip_ratio", "return")
_INSTRUCT = "allenai/open-instruct open_instruct/"
_OPEN = "OpenRLHF/OpenRLHF openrlhf/trainer/"
_ROW = "mean over response tokens of"

KNOWN = (
    KnownColumn("TRL PPO", "objective/kl", "KL summed over a response", KL, RESPONSE, REFERENCE, "k1",
                _TRL + "ppo_trainer.py: kl.sum(1).mean()", ("val/ratio", "loss/value_avg")),
    KnownColumn("TRL RLOO to 0.21", "objective/kl", "KL summed over a response", KL, RESPONSE, REFERENCE, "k1",
                _TRL + "rloo_trainer.py: kl.sum(1).mean()", ("val/ratio", "val/num_eos_tokens")),
    KnownColumn("TRL online DPO", "objective/kl", "KL summed over a response", KL, RESPONSE, REFERENCE, "k1",
                _TRL + "online_dpo_trainer.py: kl.sum(1).mean()", ("rewards/margins", "logps/chosen")),
    KnownColumn("TRL PPO, RLOO to 0.21", "policy/approxkl_avg", "half the squared log ratio of one update", KL, TOKEN,
                OLD, "k2", _TRL + "ppo_trainer.py: 0.5 * (logprobs_diff**2).mean()"),
    KnownColumn("TRL PPO to 0.11", "ppo/policy/approxkl", "half the squared log ratio of one update", KL, TOKEN,
                OLD, "k2", "huggingface.co/docs/trl/v0.9.3/logging"),
    KnownColumn("TRL PPO to 0.11", "ppo/policy/policykl", "log ratio of one update", KL, TOKEN, OLD, "k1",
                "huggingface.co/docs/trl/v0.9.3/logging"),
    KnownColumn("TRL GRPO", "kl", "mean over the tokens of completions", KL, TOKEN, REFERENCE, "k3",
                _TRL + "grpo_trainer.py: (per_token_kl * mask).sum() / mask.sum(); none at beta 0", _GRPO,
                "completions/mean_length"),
    KnownColumn("TRL RLOO from 0.22", "kl", "mean over the tokens of completions", KL, TOKEN, REFERENCE, "k1",
                _TRL + "rloo_trainer.py: (per_token_kl * mask).sum() / mask.sum()", _GRPO, "completions/mean_length"),
    KnownColumn("TRL KTO", "kl", "the reference point of KTO's loss, on mismatched pairs and cut at 0", NEITHER, "",
                "", "k1", _TRL + "kto_trainer.py: kto_loss", ("logps/chosen", "rewards/chosen", "rewards/margins")),
    KnownColumn("TRL DPO, online DPO", "rewards/chosen", "beta times the log ratio of the chosen responses", NEITHER,
                "", "", "", _TRL + "dpo_trainer.py; DPO logs no KL", opened=False),
    KnownColumn("OpenRLHF", "kl", "mean over a response's tokens", KL, TOKEN, REFERENCE, "k1, k2 or k3 by kl_estimator",
                _OPEN + "ppo_utils/experience_maker.py: masked_mean(kl, action_mask, dim=-1)",
                _RLHF, "response_length"),
    KnownColumn("OpenRLHF", "ppo_kl", "log ratio of one update", KL, TOKEN, OLD, "k1",
                _OPEN + "ray/ppo_actor.py"),
    KnownColumn("OpenRLHF", "vllm_kl", "mismatch of training and inference engine", KL, TOKEN, SAMPLER, "",
                _OPEN + "ray/ppo_actor.py"),
    KnownColumn("verl", "actor/kl_loss", "mean over tokens, by loss_agg_mode; seq-mean-token-sum is a response's sum",
                KL, TOKEN, REFERENCE, "by kl_loss_type; low_var_kl is k3",
                _VERL + "workers/actor/dp_actor.py: agg_loss(kld, ..)", length="response_length/mean"),
    KnownColumn("verl", "actor/reward_kl_penalty", "mean over a response's tokens", KL, TOKEN, REFERENCE,
                "by kl_penalty; kl is k1", _VERL + "trainer/ppo/ray_trainer.py: apply_kl_penalty",
                length="response_length/mean"),
    KnownColumn("verl, early", "critic/kl", "mean over a response's tokens", KL, TOKEN, REFERENCE, "k1",
                _VERL + "trainer/ppo/ray_trainer.py", length="response_length/mean", opened=False),
    KnownColumn("verl", "actor/ppo_kl", "log ratio of one update", KL, TOKEN, OLD, "k1",
                _VERL + "trainer/ppo/core_algos.py: masked_mean(-negative_approx_kl, response_mask)"),
    KnownColumn("NeMo-RL", "kl_penalty", "mean over tokens, or over responses of their means", KL, TOKEN, REFERENCE,
                "by reference_policy_kl_type", _NEMO + "loss_functions.py: kl / reference_policy_kl_penalty",
                length="mean_gen_tokens_per_sample"),
    KnownColumn("NeMo-RL", "gen_kl_error", "mismatch of training and inference engine", KL, TOKEN, SAMPLER,
                "by reference_policy_kl_type", _NEMO + "loss_functions.py"),
    KnownColumn("NeMo-RL", "policy_kl_error", "mismatch of training and inference engine", KL, TOKEN, SAMPLER,
                "by reference_policy_kl_type", _NEMO + "loss_functions.py"),
    KnownColumn("trlX", "policy/sqrt_kl", "root of KL summed over a response", ROOT, RESPONSE, REFERENCE, "k3",
                "CarperAI/trlx trlx/trainer/accelerate_ppo_trainer.py: sqrt(kl.sum(1).mean())"),
    KnownColumn("trlX", "policy/kl_per_token", "root of the mean over all places, those of prompts and padding too",
                ROOT, TOKEN, REFERENCE, "k3",
                "CarperAI/trlx trlx/trainer/accelerate_ppo_trainer.py: sqrt(kl.mean())"),
    KnownColumn("tunix", "kl", "mean over the tokens of completions", KL, TOKEN, REFERENCE, "k3; k1, k2 by method",
                "google/tunix tunix/rl/grpo/grpo_learner.py: (kl * mask).sum() / mask.sum()",
                ("completions/mean_length", "completions/max_length"), "completions/mean_length"),
    KnownColumn("open-instruct", "objective/kl0_avg", f"{_ROW} the log ratio", KL, TOKEN, REFERENCE, "k1",
                _INSTRUCT + "model_utils.py: estimate_kl", length="val/sequence_lengths"),
    KnownColumn("open-instruct", "objective/kl1_avg", f"{_ROW} its half square", KL, TOKEN, REFERENCE, "k2",
                _INSTRUCT + "model_utils.py: estimate_kl", length="val/sequence_lengths"),
    KnownColumn("open-instruct", "objective/kl2_avg", f"{_ROW} KL", KL, TOKEN, REFERENCE,
                "k3; k2 in older versions, with kl_avg", _INSTRUCT + "model_utils.py: estimate_kl",
                length="val/sequence_lengths"),
    KnownColumn("open-instruct", "objective/kl3_avg", f"{_ROW} the log ratio, by importance weights", KL, TOKEN,
                REFERENCE, "weighted k1; k3 in older versions, with kl_avg", _INSTRUCT + "model_utils.py: estimate_kl",
                length="val/sequence_lengths"),
    KnownColumn("open-instruct, older", "objective/kl_avg", f"{_ROW} the log ratio", KL, TOKEN, REFERENCE, "k1",
                _INSTRUCT + "grpo_fast.py: masked_mean(kl1, ..)", length="val/sequence_lengths"),
    KnownColumn("open-instruct", "policy/approxkl_avg", "half the squared log ratio of one update", KL, TOKEN, OLD,
                "k2", _INSTRUCT + "ppo_fast.py", opened=False),
)  # fmt: skip

_OLD_NAMES = re.compile(r"(^|[/._])(approx_?kl\w*|ppo_kl|policykl|old_kl|kl_old)$", re.IGNORECASE)
_PREFIX = re.compile(r"^(train|eval|metrics|training|global|val)[/_.]", re.IGNORECASE)
HEADINGS = ("trainer", "column", "measures", "unit", "per", "to", "estimator", "source")
NOTE = "* the source was not opened for this row"


def known(column: str, beside: Iterable[str] = ()) -> list[KnownColumn]:
    """Rows for a column, those alone whose trainer the other columns name, where they name one.

    Where they name none and the trainers differ, as those with `kl` do, no row is known.
    A prefix as `train/` or `eval_` before a known name is taken off.  An unknown name that says that it is of one
    update (`approx_kl`) gives a row of its own.
    """
    names = {column, _PREFIX.sub("", column)}
    rows = [row for row in KNOWN if row.column in names]
    if not rows and _OLD_NAMES.search(column):
        return [KnownColumn("by its name", column, "KL of one update", KL, TOKEN, OLD, "", "")]
    others = {short for name in beside for short in (str(name), _PREFIX.sub("", str(name)))} - names
    hits = [len(others & set(row.beside)) for row in rows]
    rows = [row for row, hit in zip(rows, hits, strict=True) if hit == max(hits)]
    agree = len({(row.unit, row.per, row.to) for row in rows}) == 1
    return rows if agree or max(hits, default=0) > 0 else []


def cells() -> list[tuple[str, ...]]:
    """The table as text, row by row under HEADINGS."""
    mark = lambda row: row.source + ("" if row.opened else " *")
    one = lambda row: (row.trainer, row.column, row.measures, row.unit, row.per, row.to, row.estimator, mark(row))
    return [tuple(cell or "-" for cell in one(row)) for row in KNOWN]


def markdown() -> str:
    """The table for docs/fitting.md."""
    quoted = lambda row: (row[0], f"`{row[1]}`", *row[2:])
    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(quoted, cells())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n\\{NOTE}."


def plain_text() -> list[str]:
    """Lines for a terminal."""
    lines = [HEADINGS, *cells()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS) - 1)]
    aligned = ["  ".join([*(f"{c:<{w}}" for c, w in zip(line, widths, strict=False)), line[-1]]) for line in lines]
    return [*aligned, "", NOTE]

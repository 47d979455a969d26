"""Claims on iterated RLHF: what further rounds, old pairs and updates do."""

from analysis.judgement import every, surely_above, surely_within, told, told_each
from analysis.numbers import number
from analysis.runs import peak
from analysis.studies.iterated import rounds_of


def rounds_raise_the_peak(read):
    rounds = rounds_of(read)["concatenate_restart"]
    first, last = rounds[1]["gold"], rounds[max(rounds)]["gold"]
    gain = peak(last) - peak(first)
    moves = [float(r["kl"].mean(0)[r["gold"].mean(0).argmax()]) for r in rounds.values()]
    says = f"peak of round {max(rounds)} minus that of round 1 ({told(peak(first))}): {told(gain)}; peaks at "
    return surely_above(gain), says + ", ".join(f"{number(kl)} nats" for kl in moves)


def peaks_grow_with_rounds(read):
    """Gao et al. 2023: k rounds peak k times as high as one."""
    rounds = rounds_of(read)["concatenate_restart"]
    first = peak(rounds[1]["gold"])
    over = {k: peak(r["gold"]) - k * first for k, r in rounds.items() if k > 1}
    says = "; ".join(f"round {k} minus {k} times it {told(values)}" for k, values in over.items())
    holds = every(surely_within(v, -0.2 * k * first.mean(), 0.2 * k * first.mean()) for k, v in over.items())
    return holds, f"peak gold of the first round {told(first)}; {says}"


def old_pairs_help(read):
    found = rounds_of(read)
    keep, replace = (found[f"{way}_restart"] for way in ("concatenate", "replace"))
    gain = {k: keep[k]["gold"][:, -1] - replace[k]["gold"][:, -1] for k in keep if k > 1}
    says = "; ".join(f"round {k} {told(values)}" for k, values in gain.items())
    return surely_above(gain[max(gain)]), f"gold at the end, all pairs minus the newest alone: {says}"


def over_optimised_policies_do_not_recover(read):
    found = rounds_of(read)
    last = max(found["concatenate_restart"])
    again, on = (found[f"concatenate_{way}"][last]["gold"] for way in ("restart", "continue"))
    lost = peak(again) - on[:, -1]
    says = f"peak of round {last} from the reference, {told(peak(again))}, minus the end of going on: {told(lost)}"
    return surely_above(lost), says


def labels_where_the_policy_is(read):
    found = rounds_of(read)
    rounds, once = found["concatenate_restart"], found["as_many_labels_one_round"][1]["gold"]
    gain = rounds[max(rounds)]["gold"][:, -1] - once[:, -1]
    says = f"gold at the end of the last round minus that of one round of as many labels, {told(once[:, -1])}"
    return surely_above(gain), f"{says}: {told(gain)}"


def updates_restore(read):
    found = rounds_of(read)
    last = {way: rounds[max(rounds)]["gold"][:, -1] for way, rounds in found.items()}
    gain = last["sight_in_turns"] - last["same_sight"]
    says = f"gold at the end of the last round: {told_each(read, last)}; in turns minus same {told(gain)}"
    return surely_above(gain), says

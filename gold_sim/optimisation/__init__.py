"""Optimisation against a reward: policy gradients, direct alignment, best-of-n, and what is measured on the way.

driver.py             the one loop that optimises policies; begin here
algorithms.py         the table of all algorithms that the loop can run
policy_gradient.py    what all policy optimisers share; RLOO, REINFORCE, expert iteration, distillation
ppo.py, grpo.py       the two optimisers with clipped ratios; clipped.py holds what they share
online_dpo.py         DPO on pairs that the policy writes itself
plateaus.py           runs whose KL coefficient falls from plateau to plateau
constrained.py        component rewards held at thresholds; a KL penalty that seeks its target
direct_alignment.py   DPO and related losses on labelled pairs
best_of_n.py          best-of-n selection, which trains nothing; selection_rules.py holds rival rules
measure.py            the measurements of a policy, as typed points
exact.py              where each optimiser should end, computed by enumerating all responses
"""

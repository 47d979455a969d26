"""Optimisation against a reward: policy gradients, direct alignment, best-of-n, and what is measured on the way.

driver.py             the one loop that optimises policies; begin here
algorithms.py         the table of what it can run
policy_gradient.py    what all policy optimisers share; RLOO, REINFORCE, expert iteration, distillation
ppo.py, grpo.py       the optimisers with clipped ratios, by clipped.py; online_dpo.py another
constrained.py        component rewards held at thresholds; a KL penalty that seeks its target
direct_alignment.py   DPO and its kin, on labelled pairs
best_of_n.py          selection, which trains nothing; selection_rules.py its rivals
measure.py            what is measured of a policy, as typed points
exact.py              where each should end, by enumeration
"""

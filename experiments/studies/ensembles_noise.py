"""Do ensembles still help when a third of the labels is wrong?

    python -m experiments ensembles_noise
    python -m analysis ensembles_noise

`ensembles` again, with more of the labels flipped.
"""

import dataclasses

from experiments.experiment import Experiment
from experiments.presets import of
from experiments.studies import ensembles

NOISES = {"smoke": (0.25,), "cpu": (0.25, 0.35)}  # 0.25 is that of `ensembles`


def experiment(preset: str) -> Experiment:
    return dataclasses.replace(
        ensembles.experiment(preset),
        name="ensembles_noise",
        title="Ensembles under more label noise",
        question="Do ensembles still help when 35 % of the labels are flipped?",
        figure="Coste et al. 2023, Fig. 25",
        expected="The more noise, the more the worst case and the uncertainty-weighted rule are worth over one model.",
        cost="7 min on two cores, after ensembles",
        grid={"preferences.label_noise": of(NOISES, preset)},
        order=180,
    )

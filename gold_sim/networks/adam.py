"""Adam on clipped gradients, and the schedule of its rate: for all networks but policies by Muon (muon.py)."""

import optax

from gold_sim import device


def adam(rate=None, max_norm: float = 1.0, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015) with b2 = 0.99, after the whole gradient is clipped to `max_norm`; AdamW with a decay.

    rate: a number or a schedule of steps; None leaves updates unscaled and of opposite sign, for a caller with rates
    of its own. On a CPU its state is one vector for all parameters. Leaf by leaf it was a hundred small kernels, which
    took a fifth of a training step's compile time.
    """
    parts = [optax.clip_by_global_norm(max_norm), optax.scale_by_adam(b2=0.99)]
    if weight_decay:
        parts.append(optax.add_decayed_weights(weight_decay))
    if rate is not None:
        parts.append(optax.scale_by_learning_rate(rate))
    whole = optax.chain(*parts)
    return whole if device.accelerated() else optax.flatten(whole)


def schedule(learning_rate, steps: int, warmup: int):
    """A schedule of the learning rate: linear warm-up, then a cosine down to a tenth."""
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, min(warmup, steps // 2), steps, learning_rate / 10)

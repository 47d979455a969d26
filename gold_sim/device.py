"""What kind of device the code runs on: the one question by which programs differ between a CPU and an accelerator."""

import jax


def accelerated() -> bool:
    """Whether runs are mapped side by side: on a CPU that gains nothing, there they follow one another."""
    return jax.default_backend() != "cpu"


def has_triton() -> bool:
    """Whether it is a GPU, for which Pallas lowers kernels to Triton."""
    return jax.default_backend() == "gpu"

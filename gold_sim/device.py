"""The kind of device that the code runs on: the one way in which programs differ between a CPU and an accelerator."""

import jax


def accelerated() -> bool:
    """Whether the device is an accelerator, where runs are mapped side by side; on a CPU that would gain nothing."""
    return jax.default_backend() != "cpu"


def has_triton() -> bool:
    """Whether the device is a GPU, for which Pallas lowers kernels to Triton."""
    return jax.default_backend() == "gpu"

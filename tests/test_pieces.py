"""Work cut into pieces gives what it gives at once."""

import jax.numpy as jnp
import numpy as np
import pytest

from gold_sim.networks import pieces


@pytest.mark.parametrize("num", [5, 128, 300])
def test_samples_that_do_not_fill_the_last_piece_keep_their_places(num):
    responses = jnp.arange(num * 3).reshape(num, 3)
    found = pieces.of_samples(lambda part: dict(total=part.sum(-1), both=part[:, :2]), responses)
    np.testing.assert_array_equal(found["total"], responses.sum(-1))
    np.testing.assert_array_equal(found["both"], responses[:, :2])

import numpy as np
import pytest

import speft


@pytest.fixture
def context():
    return speft.Context("cpu")


@pytest.fixture
def random():
    return np.random.default_rng(7)


@pytest.fixture
def make_adapter(context, random):
    """An adapter over one weight of 6 × 4, bound; with its gradient where one is needed."""

    def make(selected=True, **options):
        weights = random.standard_normal((6, 4), dtype=np.float32)
        gradient = random.standard_normal((6, 4), dtype=np.float32)
        if "density" not in options and "budget" not in options:
            options["budget"] = 5
        adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], **options)
        adapter.bind_weights("w", weights)
        if selected:
            adapter.observe("w", dense=gradient)
            adapter.finish_observation()
            adapter.select()
        return adapter, weights, gradient

    return make

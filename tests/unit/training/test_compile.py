"""A compiled model is compiled for few shapes, however many there are, trains as without, and is saved alike.

What PyTorch traces runs here without its code generator, which takes a minute and changes nothing of that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter

from summarizer.data.batch import Batch
from summarizer.model.transformer import Transformer
from summarizer.training.step import Updater

MOST_GRAPHS = 6  # sources full or padded, the first shapes and then any; PyTorch gives up after 8 of one function
NUM_BATCHES = 30


@pytest.fixture
def batches(make_batch: Callable[..., Batch]) -> list[Batch]:
    """No two of one shape; every third without padding in its sources."""
    random = np.random.default_rng(1)
    made = []
    for number in range(NUM_BATCHES):
        sources = np.full(2 + number % 5, 4 + number) if number % 3 == 0 else random.integers(3, 5 + number, 2 + number)
        made.append(make_batch([(int(source), int(random.integers(3, 9))) for source in sources]))
    return made


@pytest.mark.slow
def test_few_graphs_serve_all_batches_and_train_the_same_model(
    make_model: Callable[..., Transformer], make_updater: Callable[..., Updater], batches: list[Batch]
) -> None:
    torch._dynamo.reset()  # type: ignore[no-untyped-call]
    shapes = {(batch.source_BS.shape, batch.target_BT.shape) for batch in batches}
    assert len(shapes) == NUM_BATCHES
    compiled, plain = make_model(), make_model()
    counter = CompileCounter()
    compiled.compile(backend=counter)
    updaters = [make_updater(model) for model in (compiled, plain)]
    for step, batch in enumerate(batches, start=1):
        ours, theirs = (updater(step, [batch]) for updater in updaters)
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
    assert 0 < counter.frame_count <= MOST_GRAPHS
    weights = dict(compiled.named_parameters())
    plain.load_weights(weights)
    assert all(torch.equal(weights[name], parameter) for name, parameter in plain.named_parameters())

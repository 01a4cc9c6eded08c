"""What is saved comes back bit for bit, and the same state always gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from summarizer import checkpoint as ckpt

Save = Callable[..., Path]
Weights = Callable[[int], dict[str, Tensor]]

STATE = {"epoch": 2, "best": None, "lr": 1e-4, "history": [1, 2.5, "é\n"], "nested": {"done": True}}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool],
)
def test_tensors_of_every_type_and_shape_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    source = torch.arange(24).reshape(2, 3, 4).to(dtype)
    tensors = {
        "plain": source,
        "scalar": source[1, 0, 0],
        "empty": source[:0],
        "transposed": source.transpose(0, 2),
        "part": source[:, 1],
        "expanded": source[0, 0, 1].expand(5),
    }
    folder = ckpt.save_checkpoint(tmp_path, 7, model=tensors, trainer_tensors=tensors, trainer_state=STATE)
    loaded = ckpt.load_checkpoint(folder)
    assert (loaded.step, loaded.path, loaded.trainer_state) == (7, folder, STATE)
    for read in (loaded.model, loaded.trainer_tensors):
        assert_close(read, tensors, rtol=0, atol=0)


def test_non_finite_values_of_the_trainer_are_kept(tmp_path: Path, weights: Weights) -> None:
    moments = {"moment": torch.tensor([float("inf"), -0.0])}
    folder = ckpt.save_checkpoint(tmp_path, 1, model=weights(0), trainer_tensors=moments, trainer_state={})
    read = ckpt.load_checkpoint(folder).trainer_tensors["moment"]
    assert read.view(torch.int32).tolist() == moments["moment"].view(torch.int32).tolist()


def test_tied_weights_are_stored_once_and_all_names_return(tmp_path: Path, save: Save) -> None:
    embedding = torch.randn(1000, 8)
    both = {"projection": embedding, "embedding": torch.nn.Parameter(embedding)}
    single = save(tmp_path / "single", 1, {"embedding": embedding})
    tied = save(tmp_path / "tied", 1, both)
    reordered = save(tmp_path / "reordered", 1, dict(reversed(both.items())))
    assert contents(tied) == contents(reordered)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (single, tied)]
    assert sizes[1] < sizes[0] + 100
    read = ckpt.load_checkpoint(tied).model
    assert_close(read["projection"], embedding, rtol=0, atol=0)
    assert_close(read["embedding"], embedding, rtol=0, atol=0)


def test_saving_twice_gives_the_same_bytes(tmp_path: Path, save: Save, weights: Weights) -> None:
    first = save(tmp_path / "a", 5)
    second = save(tmp_path / "b", 5, dict(reversed(weights(5).items())))
    assert contents(first) == contents(second)


def test_loaded_tensors_can_be_trained_on(tmp_path: Path, save: Save, weights: Weights) -> None:
    folder = save(tmp_path, 1)
    ckpt.load_checkpoint(folder).model["layer.bias"].add_(1)
    assert_close(ckpt.load_checkpoint(folder).model["layer.bias"], weights(1)["layer.bias"], rtol=0, atol=0)


def test_state_that_json_would_change_is_refused_rather_than_changed(tmp_path: Path, weights: Weights) -> None:
    for state in ({"position": (1, 2)}, {"by_step": {1: 2}}):
        with pytest.raises(AssertionError):
            ckpt.save_checkpoint(tmp_path, 1, model=weights(0), trainer_tensors={}, trainer_state=state)
    assert not (tmp_path / "checkpoints").exists()

"""Files of weights: what is read of them, and what is refused."""

import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from core.weights.state_dict import read_state_dict


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_that_are_no_finite_numbers_are_refused_by_name(tmp_path, name, number):
    state = {"layer.weight": torch.ones(2, 3), "layer.bias": torch.tensor([0.0, number])}
    save = save_file if name.endswith("safetensors") else torch.save
    save(state, tmp_path / name)
    with pytest.raises(InputError, match=r"no finite numbers \(layer\.bias\)"):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_half_precision_becomes_single(tmp_path, name):
    save = save_file if name.endswith("safetensors") else torch.save
    save({"weight": torch.tensor([0.5, -2.0], dtype=torch.float16)}, tmp_path / name)
    state = read_state_dict(tmp_path / name)
    assert state["weight"].dtype == torch.float32 and state["weight"].tolist() == [0.5, -2.0]

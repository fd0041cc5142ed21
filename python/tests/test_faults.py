"""Faults that calls have left on a device, and what is no device."""

from __future__ import annotations

import pytest
import tilewise


def test_the_processor_has_none() -> None:
    faults = tilewise.take_faults("cpu")
    assert faults == tilewise.Fault(0)
    assert isinstance(faults, tilewise.Fault)


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:-1", "cuda:1 ", "cuda:99999"])
def test_a_device_has_a_name(device: str) -> None:
    with pytest.raises(ValueError, match="it must be 'cpu', 'cuda' or one such as 'cuda:1'"):
        tilewise.take_faults(device)


# No machine that runs this has 64 GPUs.
def test_a_device_that_is_missing_is_named() -> None:
    with pytest.raises(NotImplementedError, match="there is no"):
        tilewise.take_faults("cuda:63")


@pytest.mark.parametrize("stream", [-1, 2**64])
def test_a_stream_is_a_number_of_64_bits(stream: int) -> None:
    with pytest.raises(ValueError, match="stream"):
        tilewise.take_faults("cpu", stream=stream)

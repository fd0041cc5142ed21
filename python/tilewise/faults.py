"""What calls met in tables that lie on a GPU, where nobody can look before a call."""

from __future__ import annotations

import re
from ctypes import byref, c_uint32

from tilewise import _abi, _library
from tilewise import _arguments as check
from tilewise._abi import Fault

__all__ = ["Fault", "take_faults"]


def take_faults(device: str = "cuda", stream: int = 0) -> Fault:
    """Returns and clears the faults that calls on a device have met since they were last taken.

    A call is not refused because a length, an offset, a page or a position that lies on a GPU is
    out of range: the number is clamped or left out, and a bit of Fault says so. device is "cuda",
    "cuda:1" and so on, or "cpu", where tables are checked before a call and there is never a fault.
    stream is the handle of a CUDA stream, an integer; 0 is the legacy default stream. This
    function waits until all work on the stream is done; faults of work that is still running on
    other streams come with a later call.

    >>> import tilewise
    >>> int(tilewise.take_faults("cpu"))
    0
    """
    named = re.fullmatch(r"(cpu|cuda)(?::(\d{1,4}))?", device)
    if named is None:
        raise ValueError(f"device is {device!r}; it must be 'cpu', 'cuda' or one such as 'cuda:1'.")
    kind = _abi.DeviceKind.CUDA if named[1] == "cuda" else _abi.DeviceKind.CPU
    where = _abi.Execution(
        device=_abi.Device(kind=kind, index=int(named[2] or 0)),
        stream=check.integer("stream", stream, 0, 2**64 - 1),
    )
    faults = c_uint32()
    _library.call("tw_take_faults", byref(where), byref(faults))
    return Fault(faults.value)

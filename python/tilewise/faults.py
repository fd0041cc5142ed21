"""What calls met in tables that lie on a GPU, where nobody can look before a call."""

from __future__ import annotations

import re
from ctypes import byref, c_uint32

from tilewise import _abi, _library
from tilewise import _arguments as check
from tilewise._abi import Fault

__all__ = ["Fault", "take_faults"]


def take_faults(device: str = "cuda", stream: int = 0) -> Fault:
    """The faults of calls on a device since this was last asked, and none from then on.

    A length, an offset, a page or a position that lies on a GPU and is out of range refuses no
    call: it is held within range or left out, and a bit of Fault says so. device is "cuda",
    "cuda:1" and so on, or "cpu", where tables are checked before a call and there is never a fault.
    stream is the number of a CUDA stream; 0 is the legacy default stream. Waits until all work on
    it is done.

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

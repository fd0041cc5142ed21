"""Arrays of torch, JAX and CuPy, recognised without importing any of the three."""

from __future__ import annotations

from typing import Any

from tilewise import _dtypes, _frameworks
from tilewise._frameworks import CUDA, Fill, Framework, View, imported
from tilewise._numpy import NUMPY, Numpy, dtype_code


class Jax(Numpy):
    """jax.Array. On the processor NumPy reads it in place, and results become new arrays.

    On a GPU `attention` calls tilewise.jax, because only JAX knows the stream that it works on; the
    other functions refuse arrays on a GPU.
    """

    article, maker, family = "a JAX array", "jax.numpy.asarray", 2

    def is_array(self, value: object) -> bool:
        return isinstance(value, imported("jax", "Array"))

    def makes(self, value: object) -> bool:
        return NUMPY.is_array(value)

    def check(self, name: str, value: Any, *, is_written: bool = False) -> None:
        if isinstance(value, imported("jax", "core.Tracer")):
            raise TypeError(
                f"{name} is traced by a transformation of JAX, which has no memory to read. Inside "
                "of jit, grad and vmap call tilewise.jax.attention."
            )
        if is_written and self.is_array(value):
            raise ValueError(f"{name} is a JAX array, which cannot be written; take the result.")
        if self.is_array(value) and _platforms(value) != ["cpu"]:
            raise NotImplementedError(
                f"{name} lies on {', '.join(_platforms(value))}; of JAX's arrays this takes those "
                "on one processor: jax.device_put(x, jax.devices('cpu')[0]). On GPUs there are "
                "tilewise.attention and, with gradients, tilewise.jax.attention."
            )

    def attention(self, query: Any, key: Any, value: Any, *rest: Any) -> Any:
        """Attention by tilewise.jax for arrays on GPUs; NotImplemented for others."""
        if not _is_on_gpus(query):
            return NotImplemented
        for name, operand in (("key", key), ("value", value)):
            if not _is_on_gpus(operand):
                _frameworks.require(self, name, operand)  # has the sentences
        from tilewise.jax._eager import attend

        return attend(self, query, key, value, *rest)

    def view(self, value: Any) -> View | None:
        return super().view(_as_numpy(value))

    def copied(self, value: Any, code: int = 0) -> Any:
        return super().copied(_as_numpy(value), code)

    def asarray(self, name: str, value: Any, like: Any) -> Any:
        if self.is_array(value):
            return value
        return imported("jax", "numpy").asarray(NUMPY.asarray(name, value, like))

    def is_contiguous(self, value: Any) -> bool:
        return super().is_contiguous(_as_numpy(value))

    def empty_like(self, value: Any) -> Any:
        return super().empty_like(_as_numpy(value))

    def finished(self, value: Any, like: Any) -> Any:
        (device,) = like.devices()
        return imported("jax", "device_put")(value, device)


def _is_on_gpus(value: Any) -> bool:
    is_traced = isinstance(value, imported("jax", "core.Tracer"))
    return JAX.is_array(value) and not is_traced and set(_platforms(value)) == {"gpu"}


def _platforms(value: Any) -> list[str]:
    """The platform of each device that the array lies on."""
    return sorted(device.platform for device in value.devices())


def _as_numpy(value: Any) -> Any:
    import numpy

    return numpy.asarray(value)


class Cupy(Framework):
    """cupy.ndarray, on CuPy's current stream."""

    article, maker, family = "a CuPy array", "cupy.asarray", 3

    @property
    def _cupy(self) -> Any:
        import sys

        return sys.modules["cupy"]

    def is_array(self, value: object) -> bool:
        return isinstance(value, self._cupy.ndarray)

    def check(self, name: str, value: Any, *, is_written: bool = False) -> None:
        """Accepts all: CuPy's arrays are plain memory."""

    def code(self, value: Any) -> int:
        return dtype_code(value.dtype)

    def dtype_name(self, value: Any) -> str:
        return str(value.dtype)

    def dtype_code(self, name: str, dtype: Any) -> int:
        return NUMPY.dtype_code(name, dtype)

    def device(self, value: Any) -> tuple[int, int]:
        return CUDA, int(value.device.id)

    def view(self, value: Any) -> View | None:
        shape, item = tuple(value.shape), value.itemsize
        is_contiguous = not shape or shape[-1] <= 1 or value.strides[-1] == item
        if not is_contiguous or any(step % item for step in value.strides):
            return None
        return View(int(value.data.ptr), shape, tuple(step // item for step in value.strides))

    def copied(self, value: Any, code: int = 0) -> Any:
        dtype = self._cupy.dtype(_dtypes.NAMES[code]) if code else value.dtype
        return self._cupy.array(value, dtype=dtype, order="C", copy=True)

    def asarray(self, name: str, value: Any, like: Any) -> Any:
        if self.is_array(value):
            return value
        return self._cupy.asarray(NUMPY.asarray(name, value, like))

    def make(self, like: Any, shape: tuple[int, ...], code: int, fill: int) -> Any:
        cupy, dtype = self._cupy, _dtypes.NAMES[code]
        with like.device:
            if fill == Fill.NOTHING:
                return cupy.empty(shape, dtype)
            return (
                cupy.zeros(shape, dtype)
                if fill == Fill.ZERO
                else cupy.full(shape, -float("inf"), dtype)
            )

    def empty_like(self, value: Any) -> Any:
        return self.make(value, tuple(value.shape), self.code(value), Fill.NOTHING)

    def stream(self, index: int) -> int | None:
        with self._cupy.cuda.Device(index):
            return int(self._cupy.cuda.get_current_stream().ptr)


JAX, CUPY = Jax(), Cupy()


def _of_torch(value: object) -> Framework | None:
    tensor = imported("torch", "Tensor")
    if tensor is None or not isinstance(value, tensor):
        return None
    from tilewise.torch import TORCH

    return TORCH


def _of_jax(value: object) -> Framework | None:
    array = imported("jax", "Array")
    return JAX if array is not None and isinstance(value, array) else None


def _of_cupy(value: object) -> Framework | None:
    array = imported("cupy", "ndarray")
    return CUPY if array is not None and isinstance(value, array) else None


def refuse_proxy(value: object) -> None:
    """Refuses the proxies of torch.fx, which have neither shape nor type."""
    proxy = imported("torch", "fx.Proxy")
    if proxy is not None and isinstance(value, proxy):
        raise TypeError(
            "torch.fx.symbolic_trace cannot look into tilewise's functions. Beside `from tilewise "
            "import attention` write torch.fx.wrap('attention') at the top of your module, which "
            "keeps the call whole, or trace by torch.export."
        )


def offer_all() -> None:
    """Makes the arrays of all three frameworks known when they are first seen."""
    for maker in (_of_torch, _of_jax, _of_cupy, refuse_proxy):
        _frameworks.offer(maker)

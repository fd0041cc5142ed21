"""The first call in a process may be made inside of modes, hooks or traces. It imports
tilewise.torch and sets up kernels, which must not depend on them.

Each row has a process of its own, in which nothing of tilewise.torch was imported before. They are
forks of one that has imported torch, for that takes seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tilewise import _quick
from torch_cases import is_before

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
ROWS = (
    "jit_trace",
    "jit_trace_of_attention",
    "jit_trace_of_the_import",
    "checkpoint",
    "checkpoint_of_attention",
    "export",
    "make_fx",
    "fake",
    "fake_import",
    "hooks",
    "hooks_that_raise",
    "a_mode_that_sees",
    "a_mode_that_refuses",
    "no_gradients",
    "inference",
    "a_type_by_default",
    "an_import_again",
)
PROGRAM = """
import os, sys, traceback
import torch, tilewise
from torch._subclasses import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

assert "tilewise.torch" not in sys.modules
sdpa = lambda x: tilewise.sdpa(x, x, x)
attention = lambda x: tilewise.attention(x, x, x)
seen = []

class Module(torch.nn.Module):
    def forward(self, x):
        return sdpa(x)

class Sees(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        seen.append(str(function))
        return function(*args, **(kwargs or {}))

class Refuses(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        raise TypeError(f"nothing passes here, not {function}")

def see(x):
    seen.append(tuple(x.shape))
    return x

def refuse(x):
    raise ValueError("no")

def imports(x):
    import tilewise.torch
    return x * 2

def jit_trace(x):
    assert torch.jit.trace(sdpa, (x,))(x).shape == x.shape

def jit_trace_of_attention(x):
    assert torch.jit.trace(attention, (x,))(x).shape == x.shape

def jit_trace_of_the_import(x):
    assert torch.jit.trace(imports, (x,))(x).shape == x.shape

def checkpoint_(function, x):
    x.requires_grad_()
    checkpoint(function, x, use_reentrant=False).sum().backward()
    assert x.grad.shape == x.shape

def export(x):
    names = [str(node.target) for node in torch.export.export(Module(), (x,)).graph.nodes]
    assert [name for name in names if "tilewise" in name] == ["tilewise.attention.default"], names

def of_make_fx(x):
    names = [str(node.target) for node in make_fx(sdpa)(x).graph.nodes]
    assert [name for name in names if "aten" in name] == [], names

def fake(x):
    with FakeTensorMode():
        assert sdpa(torch.empty(x.shape)).shape == x.shape

def fake_import(x):
    with FakeTensorMode():
        imports(torch.empty(x.shape))

def hooks(x):
    with saved_tensors_hooks(see, lambda kept: kept):
        sdpa(x)
        assert not seen, seen
        sdpa(x.requires_grad_()).sum().backward()
    assert len(seen) == 5, seen  # as with an operator of torch

def hooks_that_raise(x):
    with saved_tensors_hooks(refuse, lambda kept: kept):
        sdpa(x)

def a_mode_that_sees(x):
    with Sees():
        sdpa(x)
    assert [name for name in seen if "tilewise" not in name] == [], seen

def a_mode_that_refuses(x):
    with Refuses():
        try:
            sdpa(x)
        except TypeError as error:
            assert "not tilewise" in str(error)

def no_gradients(x):
    with torch.no_grad():
        sdpa(x)

def inference(x):
    with torch.inference_mode():
        sdpa(x)

def a_type_by_default(x):
    torch.set_default_dtype(torch.float16)
    sdpa(x)

def an_import_again(x):
    imports(x)
    del sys.modules["tilewise.torch._node"], tilewise.torch._node

ROWS = {
    "checkpoint": lambda x: checkpoint_(sdpa, x),
    "checkpoint_of_attention": lambda x: checkpoint_(attention, x),
    "make_fx": of_make_fx,
}
class Twice(torch.nn.Module):
    def forward(self, x):
        return x * 2

# What these import takes seconds, too.
make_fx(Twice(), tracing_mode="fake")(torch.ones(1))
torch.export.export(Twice(), (torch.ones(1),))
torch.jit.trace(Twice(), (torch.ones(1),))

for name in sys.argv[2:]:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            ROWS.get(name, globals().get(name))(torch.ones(1, 2, 4, 8))
            from tilewise.torch import _node
            assert _node.IS_THERE == (sys.argv[1] == "True"), "no node"
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            os._exit(1)
        os._exit(0)
    print("row", name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def told() -> str:
    """What the program printed of all rows."""
    is_expected = _quick.extension is not None and not is_before(2, 10)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(is_expected), *ROWS],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


@pytest.mark.parametrize("row", ROWS)
def test_the_first_call(row: str, told: str) -> None:
    before, found, _ = told.partition(f"row {row} 0\n")
    assert found, before[-3000:] if f"row {row} " not in told else told[-6000:]

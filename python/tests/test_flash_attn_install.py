"""install(): `import flash_attn` means tilewise's, and who looks for the package finds it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flash_cases import dense, flash
from scripts import ROOT
from torch_cases import close, torch

STAND_IN = "_tilewise_stand_in"
HOOK = ROOT / "python/tilewise_flash_attn.pth"
SUBMODULES = {
    "flash_attn": "",
    "flash_attn.flash_attn_interface": ".flash_attn_interface",
    "flash_attn.bert_padding": ".bert_padding",
    "flash_attn.layers.rotary": ".layers.rotary",
    "flash_attn.modules.mha": ".modules.mha",
    "flash_attn.ops.triton.rotary": ".ops.triton.rotary",
    "flash_attn.ops.triton.cross_entropy": ".ops.triton.cross_entropy",
    "flash_attn.utils.generation": ".utils.generation",
    "flash_attn.cute.interface": ".cute.interface",
    "flash_attn_2_cuda": ".flash_attn_2_cuda",
    "flash_attn_interface": ".flash_attn_3.flash_attn_interface",
    "flash_attn_3.flash_attn_interface": ".flash_attn_3.flash_attn_interface",
    "flashattn_hopper.flash_attn_interface": ".flash_attn_3.flash_attn_interface",
}
SCRIPT = """
import sys
from flash_attn import flash_attn_func, __version__
from flash_attn.bert_padding import unpad_input
import importlib.metadata
print(flash_attn_func.__module__, __version__, importlib.metadata.version("flash-attn"))
print(sys.argv[1:], __name__)
"""


def run(*arguments: Any, **more: str) -> str:
    """What a fresh Python prints."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **more}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def installed() -> Iterator[None]:
    flash.install()
    yield
    flash.uninstall()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", SUBMODULES)
def test_both_names_are_one_module(name: str) -> None:
    module = importlib.import_module(name)
    assert module is importlib.import_module("tilewise.flash_attn" + SUBMODULES[name])
    assert module.__spec__ is not None
    assert module.__spec__.name == module.__name__
    assert importlib.util.find_spec(name) is not None


@pytest.mark.usefixtures("installed")
def test_gates_of_other_packages() -> None:
    assert importlib.metadata.version("flash-attn") == "2.8.3"
    assert importlib.metadata.version("flash_attn") == "2.8.3"
    assert importlib.metadata.version("flash_attn_3") == "3.0.0"
    assert importlib.metadata.metadata("flash-attn")["Name"] == "flash-attn"
    if sys.version_info >= (3, 10):
        found = importlib.metadata.packages_distributions()
        assert found["flash_attn"] == ["flash-attn"]
        assert found["flash_attn_interface"] == ["flash-attn-3"]
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("flash-attn-4")
    flash.install(versions=(2, 4))
    four = importlib.import_module("flash_attn.cute").__version__
    assert importlib.metadata.version("flash-attn-4") == four
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("flash-attn-3")
    assert importlib.util.find_spec("flash_attn.nothing_of_the_kind") is None
    for name in ("flash_attn.losses", "flash_attn.ops.rms_norm"):
        assert importlib.util.find_spec(name) is None
        with pytest.raises(ModuleNotFoundError, match="is no attention"):
            importlib.import_module(name)
        assert name not in sys.modules
    with pytest.raises(ModuleNotFoundError, match="losses is no attention"):
        importlib.util.find_spec("flash_attn.losses.cross_entropy")  # it imports the parent


@pytest.mark.usefixtures("installed")
def test_uninstall_undoes_it() -> None:
    importlib.import_module("flash_attn.layers.rotary")
    assert flash.is_installed()
    flash.uninstall()
    assert not flash.is_installed()
    assert not [name for name in sys.modules if name.partition(".")[0] == "flash_attn"]
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("flash-attn-3")
    flash.uninstall()


def test_it_does_not_take_over_what_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", types.ModuleType("flash_attn"))
    with pytest.raises(RuntimeError, match="before anything imports it"):
        flash.install()
    assert not flash.is_installed()
    with pytest.raises(ValueError, match="must be 2, 3 or 4"):
        flash.install(versions=(1,))
    with pytest.raises(ValueError, match="give several"):
        flash.install(versions=2)


@pytest.mark.usefixtures("installed")
def test_the_compiled_part_of_three_is_found() -> None:
    assert importlib.util.find_spec("flash_attn_3._C") is not None
    importlib.import_module("flash_attn_3._C")
    assert torch.ops.flash_attn_3.fwd is not None


@pytest.mark.usefixtures("installed")
def test_operators_of_torch() -> None:
    importlib.import_module("flash_attn")
    q, k, v = dense(grad=False)
    scores = (0.0, 0.25, True, -1, -1, 0.0, None)
    ops: Any = torch.ops.flash_attn
    out, lse, empty, state = ops._flash_attn_forward(q, k, v, *scores, False)
    close(out, flash.flash_attn_func(q, k, v, causal=True))
    places = [torch.empty_like(x) for x in (q, k, v)]
    ops._flash_attn_backward(out, q, k, v, out, lse, *places, *scores, False, state)
    kernels: Any = importlib.import_module("tilewise.flash_attn.flash_attn_interface")
    others = [torch.empty_like(x) for x in (q, k, v)]
    kernels._flash_attn_backward(out, q, k, v, out, lse, *others, *scores, False, state)
    for one, other in zip(places, others):
        assert torch.equal(one, other)
    assert empty.numel() == 0
    three: Any = torch.ops.flash_attn_3
    tail = (*(None,) * 9, 9, 13, *(None,) * 9, 0.25, True, -1, -1, 0, 0.0, True, None, 0, None, 0)
    close(three.fwd(q, k, v, *tail)[0], out)
    places_3 = [torch.empty_like(x) for x in (q, k, v)]
    tail_3 = (*(None,) * 4, 9, 13, 0.25, True, -1, -1, 0.0, False, 0)
    assert len(three.bwd(out, q, k, v, out, lse, *places_3, *tail_3)) == 8
    made = three.bwd(out, q, k, v, out, lse, None, None, None, *tail_3)
    for one, two, other in zip(places_3, made, others):
        assert torch.equal(one, other)
        assert torch.equal(two, other)
    fewest = three.bwd(out, q, k, v, out, lse)  # the scale is the default then, which is 0.25
    whole = three.bwd(out, q, k, v, out, lse, *(None,) * 9, 0.25)
    for one, other in zip(fewest, whole):
        assert torch.equal(one, other)
    sizes = (2, 9, 13, 4, 2, 16, 16, torch.bfloat16, torch.tensor([13, 13]))
    assert three.get_scheduler_metadata(*sizes).dtype == torch.int32
    interface: Any = importlib.import_module("flash_attn_interface")
    parts = torch.stack((out, out))
    rows = torch.stack((lse, lse)).transpose(2, 3)
    for one, two in zip(three.fwd_combine(parts, rows), interface.flash_attn_combine(parts, rows)):
        assert torch.equal(one, two)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("interleaved", [False, True])
def test_rotation_by_the_operator(interleaved: bool) -> None:
    """torch leaves out an argument at the end that equals its default, which is False there."""
    interface: Any = importlib.import_module("flash_attn_interface")
    importlib.import_module("flash_attn")
    q, k, v = (x[:, :1] for x in dense(heads=2, grad=False))
    lengths = torch.tensor([3, 1], dtype=torch.int32)
    tables = {"rotary_cos": torch.ones(8, 8) * 0.6, "rotary_sin": torch.ones(8, 8) * 0.8}
    found, wanted = torch.zeros(2, 2, 2, 8, 2, 16)
    named = {**tables, "is_rotary_interleaved": interleaved}
    torch.ops.flash_attn_3.fwd(q, *found, k, v, seqused_k=lengths, **named)
    given = {**tables, "cache_seqlens": lengths, "rotary_interleaved": interleaved}
    interface.flash_attn_with_kvcache(q, *wanted, k, v, **given)
    assert torch.equal(found, wanted)
    assert found.any()


@pytest.mark.usefixtures("installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("p", [0.0, 0.2])
def test_operators_have_fakes(p: float) -> None:
    importlib.import_module("flash_attn")
    q, k, v = dense(grad=False)
    ops: Any = torch.ops.flash_attn
    offsets, offsets_k = torch.tensor([0, 9, 18]), torch.tensor([0, 13, 26])
    flat = [x.flatten(0, 1) for x in (q, k, v)]
    lengths = (offsets, offsets_k, 9, 13)
    scores = (p, 0.25, True, -1, -1, 0.0, None)

    def call(q: Any, k: Any, v: Any, *flat: Any) -> Any:
        one = ops._flash_attn_forward(q, k, v, *scores, True)
        two = ops._flash_attn_varlen_forward(*flat, *lengths, *scores, True)
        places = [torch.empty_like(x) for x in (q, k, v)]
        read = (one[0], q, k, v, one[0], one[1])
        sums = ops._flash_attn_backward(*read, *places, *scores, False, one[3])
        return *one, *two, *places, sums

    torch.manual_seed(2)
    found = torch.compile(call, fullgraph=True, backend="aot_eager")(q, k, v, *flat)
    torch.manual_seed(2)
    for one, other in zip(found, call(q, k, v, *flat)):
        assert one.shape == other.shape
        close(one, other)


def test_a_script_of_somebody_else(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    printed = run("-m", "tilewise.flash_attn", script, "--flag", "7")
    first, second = printed.splitlines()
    assert first == "tilewise.flash_attn.flash_attn_interface 2.8.3 2.8.3"
    assert second == "['--flag', '7'] __main__"


def test_by_the_environment(tmp_path: Path) -> None:
    """An installed tilewise has this file where Python looks as it starts."""
    (tmp_path / HOOK.name).write_bytes(HOOK.read_bytes())
    program = (
        f"import site, sys; site.addsitedir({str(tmp_path)!r});"
        "import importlib.util as u, importlib.metadata as m;"
        "print(bool(u.find_spec('flash_attn')), 'tilewise' in sys.modules);"
        "print(m.version('flash-attn'))"
    )
    printed = run("-c", program, TILEWISE_FLASH_ATTN="1")
    assert printed.split() == ["True", "False", "2.8.3"]
    quiet = (
        f"import site, sys; site.addsitedir({str(tmp_path)!r}); print({STAND_IN!r} in sys.modules)"
    )
    for value in ("0", "", "False", "off"):
        assert run("-c", quiet, TILEWISE_FLASH_ATTN=value).split() == ["False"]


def test_numpy_may_lie_in_a_folder_that_python_finds_later(tmp_path: Path) -> None:
    """Python finds NumPy only after the hook has run, as with `pip install --user`, and in a venv
    that sees the system's packages."""
    (tmp_path / HOOK.name).write_bytes(HOOK.read_bytes())
    for module in ("tilewise", STAND_IN):
        found = importlib.import_module(module).__file__
        assert found is not None
        place = Path(found).parent if Path(found).name == "__init__.py" else Path(found)
        (tmp_path / place.name).symlink_to(place)
    later = Path(importlib.import_module("numpy").__path__[0]).parent
    program = (
        "import site, sys\n"
        f"site.addsitedir({str(tmp_path)!r})\n"
        "import importlib.util\n"
        "assert importlib.util.find_spec('numpy') is None\n"
        "print(bool(importlib.util.find_spec('flash_attn')))\n"
        f"sys.path.append({str(later)!r})\n"
        "from flash_attn.layers.rotary import rotate_half\n"
        "print(rotate_half.__module__)\n"
    )
    command = [sys.executable, "-S", "-c", program]
    environment = {**os.environ, "TILEWISE_FLASH_ATTN": "1", "PYTHONPATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Error processing" not in done.stderr
    assert done.stdout.split() == ["True", "tilewise.flash_attn.layers.rotary"]


def test_the_command_imports_no_torch(tmp_path: Path) -> None:
    """A script can still set torch's number of threads, and one without torch starts quickly."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys; print('torch' in sys.modules); os.environ['OMP_NUM_THREADS'] = '1'\n"
        "import torch; print(torch.get_num_threads())\n"
    )
    assert run("-m", "tilewise.flash_attn", script).split() == ["False", "1"]


def test_code_and_standard_input() -> None:
    program = "import sys, flash_attn as f; print(sys.argv, __name__, f.__version__)"
    command = [sys.executable, "-m", "tilewise.flash_attn"]
    printed = run("-m", "tilewise.flash_attn", "-c", program, "--flag")
    assert printed == "['-c', '--flag'] __main__ 2.8.3\n"
    done = subprocess.run(
        [*command, "-", "7"], input=program, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['-', '7'] __main__ 2.8.3\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="python -P is of Python 3.11")
def test_a_safe_path_stays_as_it_is(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys; print(sys.path)")
    plain = run("-P", script)
    assert run("-P", "-m", "tilewise.flash_attn", script) == plain


def test_a_script_knows_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print(__file__)")
    given = os.path.relpath(tmp_path / "script.py")
    assert run("-m", "tilewise.flash_attn", given) == run(given)


def test_wrong_use_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    command: Any = importlib.import_module("tilewise.flash_attn.__main__")
    for arguments in ([], ["-m"], ["-c"]):
        assert command.main(arguments) == 2
        assert "script.py" in capsys.readouterr().out
    assert command.main(["--help"]) == 0
    assert command.main(["/nowhere/script.py"]) == 2
    assert "no file" in capsys.readouterr().err
    assert command.main(["-u", "script.py"]) == 2
    assert "-u is no option of it; those of Python go before -m." in capsys.readouterr().err
    assert not flash.is_installed()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "name",
    ["losses.cross_entropy", "ops.rms_norm", "ops.triton.layer_norm", "modules.mlp", "models.gpt"],
)
def test_what_is_no_attention_is_refused(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="is no attention") as raised:
        importlib.import_module(f"flash_attn.{name}")
    assert raised.value.name is not None
    assert f"flash_attn.{name}".startswith(raised.value.name)

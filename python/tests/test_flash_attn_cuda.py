"""The drop-in faces on a GPU: the numbers of the processor, and Transformers' own name for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from flash_cases import dense, each, flash, formula, gradients, made, packed
from torch_cases import close, nobody_may_wait, torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


def there(*given: Any) -> Any:
    return [x.detach().cuda().requires_grad_(x.requires_grad) for x in given]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("given", [{}, {"causal": True, "window_size": (4, 0)}, {"softcap": 2.0}])
def test_dense(dtype: str, given: dict[str, Any]) -> None:
    tolerance = {"float16": 3e-3, "bfloat16": 3e-2, "float32": 1e-4}[dtype]
    inputs = dense(dtype=getattr(torch, dtype))
    names = {"window_size": "window"}
    wanted, lse = formula(*inputs, **{names.get(n, n): x for n, x in given.items()})
    given = {**given, "return_attn_probs": True}
    gpu = there(*inputs)
    found, found_lse, _ = flash.flash_attn_func(*gpu, **given)
    close(found.double().cpu(), wanted, tolerance)
    close(found_lse.double().cpu(), lse.detach(), tolerance)
    for one, other in zip(gradients(found, gpu), gradients(wanted, inputs)):
        close(one.double().cpu(), other.double(), 10 * tolerance)


def test_varlen_waits_for_nothing() -> None:
    q, offsets = packed((5, 1, 7), 4, 16, 1)
    k, offsets_k = packed((8, 3, 4), 2, 16, 2)
    v, _ = packed((8, 3, 4), 2, 16, 3)
    slopes = torch.tensor([0.5, 0.25, 0.125, 0.0625])
    parts = zip(each(q, offsets), each(k, offsets_k), each(v, offsets_k))
    wanted = torch.cat([formula(*part, causal=True, slopes=slopes)[0][0] for part in parts])
    gpu, tables = there(q, k, v), (offsets.cuda(), offsets_k.cuda())
    longest = (torch.tensor(7).cuda(), torch.tensor(8).cuda())
    options = {"causal": True, "alibi_slopes": slopes.cuda(), "return_attn_probs": True}
    flash.flash_attn_varlen_func(*gpu, *tables, *longest, **options)
    with nobody_may_wait():
        found, lse, _ = flash.flash_attn_varlen_func(*gpu, *tables, *longest, **options)
    close(found.double().cpu(), wanted, 1e-4)
    assert lse.shape == (4, 13)


def test_dropout_and_its_probabilities() -> None:
    q, k, v = there(*dense(queries=40, keys=70))
    torch.manual_seed(3)
    out, _, s_dmask = flash.flash_attn_func(q, k, v, 0.3, return_attn_probs=True)
    signed = s_dmask[:, :, :40, :70].cpu()
    factor = (~torch.signbit(signed)).double() / (1 - round(0.3 * 65536) / 65536)
    wanted, _ = formula(q.cpu(), k.cpu(), v.cpu(), factor=factor)
    close(out.double().cpu(), wanted, 1e-4)
    torch.manual_seed(3)
    assert torch.equal(flash.flash_attn_func(q, k, v, 0.3), out)


@pytest.mark.parametrize("is_paged", [False, True])
def test_a_cache(is_paged: bool) -> None:
    lengths = torch.tensor([5, 0, 7], dtype=torch.int32)
    caches = [made(3, 12, 2, 16, seed=s, grad=False) for s in (1, 2)]
    q, k, v = (made(3, 2, h, 16, seed=s, grad=False) for h, s in ((4, 3), (2, 4), (2, 5)))
    angle = made(12, 8, seed=6, grad=False)
    tables = {"rotary_cos": angle.cos(), "rotary_sin": angle.sin(), "cache_seqlens": lengths}
    wanted = flash.flash_attn_with_kvcache(q, *caches, k, v, causal=True, **tables)
    before = [made(3, 12, 2, 16, seed=s, grad=False).cuda() for s in (1, 2)]
    options = {name: x.cuda() for name, x in tables.items()}
    if is_paged:
        before = [x.view(9, 4, 2, 16) for x in before]
        options["block_table"] = torch.arange(9, dtype=torch.int32).view(3, 3).cuda()
    found = flash.flash_attn_with_kvcache(
        q.cuda(), *before, k.cuda(), v.cuda(), causal=True, **options
    )
    close(found.cpu(), wanted, 1e-4)
    close(before[0].cpu().view(3, 12, 2, 16), caches[0], 1e-5)


# Transformers looks for flash_attn as it is imported, and some of its versions remember that.
PROGRAM = """
import warnings
import tilewise.flash_attn
tilewise.flash_attn.install()
import torch
import transformers_cases as cases

model = cases.model_of(cases.DECODERS["Llama"]).to("cuda", torch.bfloat16)
ids, mask = (x.cuda() for x in cases.padded("right"))
wanted = cases.quietly(model, ids, attention_mask=mask).logits
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    model.set_attn_implementation("flash_attention_2")
found = cases.quietly(model, ids, attention_mask=mask).logits
torch.testing.assert_close(found[mask.bool()], wanted[mask.bool()], atol=3e-2, rtol=3e-2)
"""


def test_transformers_takes_it_for_flash_attention_2() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    given: dict[str, Any] = {"env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=False, **given)
    assert done.returncode == 0, done.stderr

"""What stands on attention, on a GPU: as on the processor."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from torch_cases import close, rows, tensors, tilewise, torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
face: Any = tilewise.torch
WIDTH = 48


def pair(**options: Any) -> tuple[Any, Any]:
    """One module on the processor and the same on the GPU."""
    torch.manual_seed(0)
    module = face.FlashMHA(WIDTH, 4, causal=True, **options)
    return module, copy.deepcopy(module).cuda()


@pytest.mark.parametrize(
    "options", [{}, {"rotary_dim": 12, "num_heads_kv": 2}, {"alibi_slopes": True, "softcap": 2.0}]
)
def test_modules(options: dict[str, Any]) -> None:
    here, there = pair(**options)
    x = rows(2, 11, WIDTH, needs_grad=True)
    mask = torch.arange(11) < torch.tensor([[11], [4]])
    output = here(x, key_padding_mask=mask)
    found = there(x.cuda(), key_padding_mask=mask.cuda())
    close(found.cpu(), output, 1e-4)
    output.sin().sum().backward()
    found.sin().sum().backward()
    wanted = [parameter.grad for parameter in here.parameters()]
    close([parameter.grad.cpu() for parameter in there.parameters()], wanted, 1e-3)
    half = copy.deepcopy(there).bfloat16()
    close(half(x.detach().cuda().bfloat16()).float().cpu(), here(x), 5e-2)


def test_generation() -> None:
    here, there = pair(rotary_dim=12, num_heads_kv=2)
    x = rows(3, 6, WIDTH)
    mask = torch.arange(4) >= torch.tensor([[0], [1], [3]])
    results = []
    for module in (here.eval(), there.eval()):
        device = module.out_proj.weight.device
        cache = module.make_cache(3, 6)
        with torch.inference_mode():
            steps = [module(x[:, :4].to(device), key_padding_mask=mask.to(device), cache=cache)]
            steps += [module(x[:, t : t + 1].to(device), cache=cache) for t in (4, 5)]
        results.append(torch.cat(steps, 1).cpu())
    close(results[1], results[0], 1e-4)


def test_packed_tokens_and_blocks() -> None:
    here, there = pair(rotary_dim=12)
    x, mask = rows(3, 11, WIDTH), torch.arange(11) < torch.tensor([[11], [1], [6]])
    tokens, indices, offsets, longest = face.unpad(x.cuda(), mask.cuda())
    found = face.pad(there(tokens, offsets=offsets, longest=longest), indices, 3, 11)
    close(found.cpu(), here(x, key_padding_mask=mask) * mask[..., None], 1e-4)
    given, layout = tensors(queries=40, keys=70), torch.eye(3, 5)
    layout[:, 0] = 1
    found = face.block_sparse_attention(*(t.cuda() for t in given), layout, 16)
    close(found.cpu(), face.block_sparse_attention(*given, layout, 16), 1e-4)

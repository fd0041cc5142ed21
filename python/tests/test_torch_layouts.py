"""Block layouts and packed tokens, forward and backward."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from torch_cases import by_formula, close, gradients, rows, tensors, tilewise, torch

face: Any = tilewise.torch


def formula(bias: Any) -> Callable[[Any, Any, Any], Any]:
    """Attention written out, with this bias."""

    def function(query: Any, key: Any, value: Any) -> Any:
        return by_formula(query, key, value, bias)[0].float()

    return function


def layout_of(*shape: int) -> Any:
    made = rows(*shape, seed=11) > 0
    made[..., 0] = True  # so that each query sees something
    return made


@pytest.mark.parametrize("shape", [(4, 3, 5), (3, 5), (1, 3, 5), (2, 4, 3, 5), (2, 1, 3, 5)])
def test_blocks_are_the_mask_that_they_mean(shape: tuple[int, ...]) -> None:
    given = tensors(queries=40, keys=70, needs_grad=True)
    layout = layout_of(*shape)
    wide = layout.repeat_interleave(16, -2).repeat_interleave(16, -1)[..., :40, :70]
    bias = torch.zeros(wide.shape, dtype=torch.float64).masked_fill(~wide, -float("inf"))

    def ours(*inputs: Any) -> Any:
        return face.block_sparse_attention(*inputs, layout, 16)

    close(ours(*given), formula(bias)(*given))
    close(gradients(ours, given), gradients(formula(bias), given), 1e-4)


def test_blocks_with_other_options() -> None:
    given = tensors(queries=64, keys=64)
    layout = layout_of(4, 2, 4).int()
    options = {"causal": True, "softcap": 3.0, "return_lse": True}
    found = face.block_sparse_attention(*given, layout, (32, 16), **options)
    mask = {"block_mask": layout.bool(), "block_size": (32, 16)}
    close(found, tilewise.attention(*given, **mask, **options), 0)
    close(face.block_sparse_attention(*given, layout.float(), (32, 16), **options), found, 0)


def test_layouts_that_do_not_fit() -> None:
    given = tensors(queries=40, keys=70)
    sentence = (
        r"layout has shape \(4, 3, 4\); for 4 heads and blocks of this size it is \(4, 3, 5\)"
    )
    with pytest.raises(ValueError, match=sentence):
        face.block_sparse_attention(*given, layout_of(4, 3, 4), 16)
    for shape in ((3, 3, 5), (3, 4, 3, 5), (5,), (1, 1, 1, 3, 5)):
        with pytest.raises(ValueError, match=r"layout has shape .* it is \(4, 3, 5\)"):
            face.block_sparse_attention(*given, layout_of(*shape), 16)
    with pytest.raises(ValueError, match=r"block_size"):
        face.block_sparse_attention(*given, layout_of(4, 4, 7), 10)
    with pytest.raises(TypeError, match=r"layout is a list; pass a torch tensor of bool"):
        face.block_sparse_attention(*given, [[True]], 16)
    with pytest.raises(ValueError, match=r"layout is what block_mask would be"):
        face.block_sparse_attention(*given, layout_of(4, 3, 5), 16, block_mask=layout_of(3, 5))


def test_unpad_and_pad() -> None:
    x = rows(3, 5, 2, 4, needs_grad=True)
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]])
    tokens, indices, offsets, longest = face.unpad(x, mask)
    assert offsets.tolist() == [0, 3, 3, 7]
    assert offsets.dtype == torch.int32
    assert indices.tolist() == [0, 1, 2, 11, 12, 13, 14]
    assert longest == 4
    close(face.pad(tokens, indices, 3, 5), x * mask[..., None, None], 0)
    (gradient,) = torch.autograd.grad(face.pad(tokens.sin(), indices, 3, 5).sum(), x)
    close(gradient, x.cos() * mask[..., None, None], 1e-6)
    with pytest.raises(ValueError, match=r"mask has shape \(3, 4\) and x \(3, 5, 2, 4\)"):
        face.unpad(x, mask[:, :4])
    with pytest.raises(ValueError, match=r"there is one index for each token"):
        face.pad(tokens, indices[1:], 3, 5)
    assert face.unpad(x[:0], mask[:0]).longest == 0


def test_packed_attention_is_padded_attention() -> None:
    given = tensors(batch=3, queries=9, keys=9, needs_grad=True)
    mask = torch.arange(9) < torch.tensor([[9], [1], [5]])

    def packed(*inputs: Any) -> Any:
        packs = [face.unpad(x, mask) for x in inputs]
        _, indices, offsets, longest = packs[0]
        sequences = {"query_offsets": offsets, "key_offsets": offsets}
        bounds = {"max_query_length": longest, "max_key_length": longest}
        tokens = (pack.tokens for pack in packs)
        output = tilewise.attention(*tokens, causal=True, **sequences, **bounds)
        return face.pad(output, indices, 3, 9)

    def padded(*inputs: Any) -> Any:
        hidden = ~mask[:, None, None, :] | torch.ones(9, 9, dtype=torch.bool).triu(1)
        bias = torch.zeros(3, 1, 9, 9, dtype=torch.float64).masked_fill(hidden, -float("inf"))
        return formula(bias)(*inputs) * mask[..., None, None]

    close(packed(*given), padded(*given))
    close(gradients(packed, given), gradients(padded, given), 1e-4)

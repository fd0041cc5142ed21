"""tilewise.sdpa: the arguments and the meaning of torch's scaled_dot_product_attention."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tilewise import _arguments as check
from tilewise import _forms
from tilewise._attend import GROUPED, HEADS_FIRST
from tilewise._call import Operands
from tilewise._forms import Asked
from tilewise._others import refuse_proxy
from tilewise.torch import _node, _shortest
from tilewise.torch._arrays import PLAIN, TORCH
from tilewise.torch._attention import NEW, call, differentiable, is_autocast_on
from tilewise.torch._plain import is_compiling, is_grad_enabled, is_plain

_ALL_DROPPED = 1 - 2.0**-17  # from here on a probability is 1 in the library's 16 bits
_SCALES = frozenset((type(None), float, int))  # not True, which is 1 to a dict
_asked: dict[tuple[bool, float | None], Asked] = {}


def sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """torch.nn.functional.scaled_dot_product_attention, computed by tilewise.

    query (..., queries, dim), key (..., keys, dim) and value (..., keys, value dim) have any
    leading dimensions, which broadcast; with enable_gqa the last of them, the heads, may be fewer
    in key and value. attn_mask broadcasts to (..., queries, keys): bool, where True is visible, or
    of a float type, which is added to the scores and may have a gradient. is_causal hides the keys
    behind the diagonal that begins at the first query and key (top left). A query that sees no key
    gets 0. dropout_p drops whatever the module's mode is, by torch's generator.

    >>> import torch, tilewise
    >>> query = key = value = torch.ones(2, 4, 8, 16)
    >>> tilewise.sdpa(query, key, value, is_causal=True).shape
    torch.Size([2, 4, 8, 16])
    """
    are_right = type(is_causal) is bool and type(enable_gqa) is bool and type(scale) in _SCALES
    if dropout_p == 0.0 and are_right and not is_compiling():
        if is_plain(query, key, value) and not is_autocast_on():
            asked = _asked.get((is_causal, scale)) or _ask(is_causal, scale)
            flags = HEADS_FIRST | enable_gqa << 1
            try:
                found = _quickly(query, key, value, attn_mask, asked, flags)
            except ValueError:
                if query.numel():
                    raise
                found = NotImplemented  # torch takes what has no heads
            if found is not NotImplemented:
                return found
    return _general(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def _quickly(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Any, asked: Asked, flags: int
) -> Any:
    """The output for plain tensors of four dimensions, or of three without a batch. NotImplemented:
    the call needs _general, which computes it or raises an error that says what is wrong."""
    is_three = query.dim() == 3 and key.dim() == 3 and value.dim() == 3
    if is_three:
        query, key, value = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0)
    if attn_mask is None:
        found = NotImplemented
        if (query.requires_grad or key.requires_grad or value.requires_grad) and is_grad_enabled():
            get = asked.scalars.get
            found = _node.attend(query, key, value, "causal" in asked.scalars, get("scale"), flags)
        if found is NotImplemented:
            found = _shortest.attend(query, key, value, asked, flags)
    else:
        found = _masked(query, key, value, attn_mask, asked, flags)
    return found.squeeze(0) if is_three and found is not NotImplemented else found


def _masked(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Any, asked: Asked, flags: int
) -> Any:
    """_quickly for a call with a mask."""
    is_right = type(attn_mask) in PLAIN and "causal" not in asked.scalars
    is_right = is_right and query.dim() == key.dim() == value.dim() == 4
    if not is_right or attn_mask.is_neg() or attn_mask.dim() > 4:
        return NotImplemented
    dtype = attn_mask.dtype
    if dtype is not torch.bool and not dtype.is_floating_point:
        return NotImplemented
    name = "mask" if dtype is torch.bool else "bias"
    needs = query.requires_grad or key.requires_grad or value.requires_grad
    try:
        if not ((needs or attn_mask.requires_grad) and is_grad_enabled()):
            return _shortest.attend_with(name, attn_mask, query, key, value, asked, flags)
        if attn_mask.dim() == 0 or (attn_mask.stride(-1) != 1 and name == "bias"):
            return NotImplemented
        asked = asked._replace(arrays={name: attn_mask})
        return differentiable(Operands(query, key, value), asked, flags, NEW)
    except (TypeError, ValueError):
        return NotImplemented


def _ask(is_causal: bool, scale: float | None) -> Asked:
    asked = _forms.ask(_options(is_causal, scale))
    if len(_asked) > 64:
        _asked.clear()
    _asked[is_causal, scale] = asked
    return asked


def _options(is_causal: bool, scale: float | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if scale is not None:
        options["scale"] = scale
    if is_causal:
        options["causal"] = True
        options["diagonal"] = "top_left"
    return options


def _general(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Any,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Tensor:
    """Any call, by views of four dimensions."""
    _check(query, key, value, is_causal, enable_gqa)
    options = _options(is_causal, scale)
    if attn_mask is not None:
        if is_causal:
            raise ValueError(
                "attn_mask and is_causal are both given; write the causal part into the mask, or "
                "give one of the two."
            )
        if type(attn_mask).__name__ == "CausalBias":
            options.update(_causal_bias(attn_mask))
            attn_mask = None
        else:
            _check_mask(attn_mask)
    if not is_compiling():
        dropout_p = check.real("dropout_p", dropout_p)
    if not 0.0 <= dropout_p <= 1.0:
        raise ValueError(f"dropout_p is {dropout_p}; it must lie between 0 and 1.")
    is_all_dropped = dropout_p >= _ALL_DROPPED
    if dropout_p and not is_all_dropped:
        options["dropout"] = dropout_p
    if query.dim() > 2 and query.shape[-3] == 0:
        return query @ key.transpose(-1, -2) @ value  # empty, with gradients that are empty
    lead = None
    if not _fits(query, key, value, enable_gqa):
        query, key, value, lead = _in_four(query, key, value, enable_gqa)
        attn_mask = None if attn_mask is None else _mask_in_four(attn_mask, lead)
    if query.shape[-1] == 0:  # every score is 0 then, whatever its scale
        query, key = (torch.nn.functional.pad(x, (0, 1)) for x in (query, key))
        options["scale"] = 1.0
    has_no_values = value.shape[-1] == 0
    if has_no_values:
        value = torch.nn.functional.pad(value, (0, 1))
    if attn_mask is not None:
        _check_shape(attn_mask, query, key)
        options["mask" if attn_mask.dtype is torch.bool else "bias"] = attn_mask
    flags = HEADS_FIRST | (GROUPED if enable_gqa else 0)
    output: Tensor = call(query, key, value, options, flags)
    if is_all_dropped:
        output = output * 0
    if has_no_values:
        output = output[..., :0]
    return output if lead is None else output.reshape(*lead, *output.shape[-2:])


def _check(query: Any, key: Any, value: Any, is_causal: Any, enable_gqa: Any) -> None:
    """Refuses operands that are no tensors and switches that are no bools."""
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if not isinstance(tensor, Tensor):
            refuse_proxy(tensor)
            raise TypeError(f"{name} is a {type(tensor).__name__}; sdpa takes torch tensors.")
        TORCH.check_layout(name, tensor)
    for name, switch in (("is_causal", is_causal), ("enable_gqa", enable_gqa)):
        if not isinstance(switch, bool):
            raise TypeError(f"{name} is {switch!r}; it must be True or False.")


def _check_mask(mask: Any) -> None:
    if not isinstance(mask, Tensor):
        raise TypeError(f"attn_mask is a {type(mask).__name__}; pass a torch tensor.")
    TORCH.check_layout("attn_mask", mask)
    if mask.dtype is not torch.bool and not mask.is_floating_point():
        raise TypeError(
            f"attn_mask has dtype {str(mask.dtype).partition('.')[2]}; it must be bool, where True "
            "is visible, or of a float type, which is added to the scores."
        )


def _check_shape(mask: Tensor, query: Tensor, key: Tensor) -> None:
    """Refuses a mask that does not broadcast; query and key have four dimensions here."""
    wanted = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    given = tuple(mask.shape)
    fits = len(given) <= 4 and all(n in (1, m) for n, m in zip(given[::-1], wanted[::-1]))
    if not fits:
        raise ValueError(
            f"attn_mask has shape {given}; it must broadcast to {wanted}: batch, heads, queries, "
            "keys."
        )


def _causal_bias(bias: Any) -> dict[str, Any]:
    """The options of a torch.nn.attention.bias.CausalBias, which is a diagonal without numbers."""
    is_top_left = bias.variant.name == "UPPER_LEFT"
    return {"causal": True, "diagonal": "top_left" if is_top_left else "bottom_right"}


def _fits(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> bool:
    """Whether the library takes these shapes as they are."""
    if not query.dim() == key.dim() == value.dim() == 4:
        return False
    if not query.shape[0] == key.shape[0] == value.shape[0] or key.shape[1] != value.shape[1]:
        return False
    heads, key_heads = query.shape[1], key.shape[1]
    if enable_gqa:
        return key_heads > 0 and heads % key_heads == 0
    return key_heads == 1 or heads == key_heads


def _in_four(
    query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool
) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...]]:
    """Views (batch, heads, length, dim), and the output's leading dimensions."""
    tensors = (query, key, value)
    for name, tensor in zip(("query", "key", "value"), tensors):
        if tensor.dim() < (3 if enable_gqa else 2):
            raise ValueError(
                f"{name} has {tensor.dim()} dimensions, shape {tuple(tensor.shape)}; it takes "
                "(..., length, dim), and with enable_gqa (..., heads, length, dim)."
            )
    if not enable_gqa:
        lead = _broadcast([x.shape[:-2] for x in tensors])
        return (*(_four(x, lead) for x in tensors), lead)
    batch = _broadcast([x.shape[:-3] for x in tensors])
    heads = [x.shape[-3] for x in tensors]
    if heads[1] != heads[2] or not heads[1] or heads[0] % heads[1]:
        raise ValueError(
            f"key has {heads[1]} heads, value {heads[2]} and query {heads[0]}; with enable_gqa key "
            "and value have the same number, which divides query's."
        )
    fours = (_four(x, (*batch, x.shape[-3])) for x in tensors)
    return (*fours, (*batch, heads[0]))


def _broadcast(shapes: list[Any]) -> tuple[int, ...]:
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        given = ", ".join(str(tuple(shape)) for shape in shapes)
        raise ValueError(
            f"The leading dimensions of query, key and value are {given}; they must "
            "broadcast. Fewer heads of key and value take enable_gqa=True."
        ) from None


def _four(tensor: Tensor, lead: tuple[int, ...]) -> Tensor:
    """A tensor broadcast to the leading dimensions `lead`, the last of which are the heads."""
    tensor = tensor.expand(*lead, *tensor.shape[-2:])
    heads = lead[-1] if lead else 1
    return tensor.reshape(math.prod(lead[:-1]), heads, *tensor.shape[-2:])


def _mask_in_four(mask: Tensor, lead: tuple[int, ...]) -> Tensor:
    """The mask for the views of _in_four. Where several dimensions of lead became one batch, a mask
    is expanded to these unless its own are all 1. Any other mask broadcasts as it is."""
    if mask.dim() <= 2 or len(lead) <= 2:
        return mask
    if mask.dim() - 2 > len(lead):
        raise ValueError(
            f"attn_mask has shape {tuple(mask.shape)}; it must broadcast to the leading dimensions "
            f"{lead} and (queries, keys)."
        )
    missing = len(lead) + 2 - mask.dim()
    shape: list[Any] = [*(1,) * missing, *mask.shape]
    batch, (heads, rows, columns) = shape[:-3], shape[-3:]
    if all(size == 1 for size in batch):
        return mask.reshape(1, heads, rows, columns)
    if any(size not in (1, n) for size, n in zip(batch, lead)):
        raise ValueError(
            f"attn_mask has shape {tuple(mask.shape)}; it must broadcast to the leading dimensions "
            f"{lead} and (queries, keys)."
        )
    whole = mask.expand(*lead[:-1], heads, rows, columns)
    return whole.reshape(math.prod(lead[:-1]), heads, rows, columns)

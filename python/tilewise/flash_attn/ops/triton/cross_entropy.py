"""cross_entropy_loss, which some packages import beside attention; by torch's operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def cross_entropy_loss(
    logits: Tensor,
    labels: Tensor,
    precomputed_lse: Tensor | None = None,
    label_smoothing: float = 0.0,
    logit_scale: float = 1.0,
    lse_square_scale: float = 0.0,
    ignore_index: int = -100,
    inplace_backward: bool = False,
    process_group: Any = None,
) -> tuple[Tensor, Tensor]:
    """(losses, z_losses) of logits (rows, classes) and labels (rows), both (rows), float32.

    z_losses, lse_square_scale times the square of the lse, are part of losses.
    """
    if process_group is not None:
        raise NotImplementedError(
            "process_group is given; tilewise does not share out classes among processes."
        )
    scores = logits.float() * logit_scale
    lse = scores.logsumexp(-1) if precomputed_lse is None else precomputed_lse
    is_counted = labels != ignore_index
    index = torch.where(is_counted, labels, 0).to(torch.int64)
    chosen = scores.gather(-1, index[:, None])[:, 0]
    losses = lse - (1 - label_smoothing) * chosen
    if label_smoothing:
        losses = losses - label_smoothing * scores.mean(-1)
    z_losses = torch.where(is_counted, lse_square_scale * lse.square(), 0.0)
    return torch.where(is_counted, losses + z_losses, 0.0), z_losses.detach()

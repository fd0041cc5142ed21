"""InferenceParams, by its name in flash_attn.utils.generation; nothing else is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class InferenceParams:
    """Where generation stands: MHA keeps its cache in key_value_memory_dict, by layer_idx.

    seqlen_offset is how many tokens are in the caches, lengths_per_sample (batch) those of each
    sequence, where they differ. The loop that generates updates both.
    """

    max_seqlen: int
    max_batch_size: int
    seqlen_offset: int = 0
    batch_size_offset: int = 0
    key_value_memory_dict: dict[Any, Any] = field(default_factory=dict)
    lengths_per_sample: Tensor | None = None

    def reset(self, max_seqlen: int, max_batch_size: int) -> None:
        """Begins anew, with the caches that there are."""
        self.max_seqlen, self.max_batch_size = max_seqlen, max_batch_size
        self.seqlen_offset = 0
        if self.lengths_per_sample is not None:
            self.lengths_per_sample.zero_()

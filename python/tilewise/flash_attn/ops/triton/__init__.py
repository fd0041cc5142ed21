"""By the names of flash_attn.ops.triton; nothing here needs Triton."""

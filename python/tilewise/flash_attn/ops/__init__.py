"""What stands around attention, by the names of flash_attn.ops."""

"""Modules around attention, by the names of flash_attn.modules."""

"""Beside attention, by the names of flash_attn.utils."""

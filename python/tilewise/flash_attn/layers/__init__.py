"""Rotary embedding, by the names of flash_attn.layers."""

"""Tilewise as an attention implementation of Hugging Face Transformers, from 5.0 on.

    import tilewise.transformers

    tilewise.transformers.enable()
    model = AutoModelForCausalLM.from_pretrained(name, attn_implementation="tilewise")

enable() registers tilewise under that name, with a mask function of its own. To change a model that
is loaded already, call model.set_attn_implementation("tilewise"). Importing this imports
transformers; nothing else of tilewise does. docs/drop-in.md says what differs.
"""

from tilewise.transformers._attention import NAME, attention_forward
from tilewise.transformers._enabling import disable, enable, is_enabled
from tilewise.transformers._kernel_folder import write_kernel_folder

__all__ = [
    "NAME",
    "attention_forward",
    "disable",
    "enable",
    "is_enabled",
    "write_kernel_folder",
]

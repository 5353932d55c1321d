"""The demo shop: what `winback init` copies, and the data that `winback demo` fills it with."""

from winback.starter.copying import copy_shop
from winback.starter.filling import Filled, fill, story_of

__all__ = ["Filled", "copy_shop", "fill", "story_of"]

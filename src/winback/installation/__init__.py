"""The installation fence: which folders may send from a database, so that a copy or a restored backup does not."""

from winback.installation.admission import Admitted, admit
from winback.installation.fence import Kind, Refusal, advance, check, look, places_of

__all__ = ["Admitted", "Kind", "Refusal", "admit", "advance", "check", "look", "places_of"]

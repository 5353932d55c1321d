"""Gateways hand messages to the world: plugins by entry point, the built-in ones too."""

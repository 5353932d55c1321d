"""Personal retention e-mail and SMS, run from files."""

__version__ = "0.1.0"

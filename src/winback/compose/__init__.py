"""From a campaign's step and one recipient to the bytes a gateway sends."""

"""Keeps this package's tests out of winback's own test run: tests/gateways/test_plugin.py installs the package and runs them."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("winback_pigeon") else ["tests"]

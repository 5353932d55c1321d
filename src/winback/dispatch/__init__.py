"""Deliver what the ledger has planned: never twice, never lost."""

from winback.dispatch.engine import dispatch
from winback.dispatch.helpers import Helpers
from winback.dispatch.pace import Limit, limits
from winback.dispatch.pauses import GatewayPause
from winback.dispatch.recover import Recovered, recover
from winback.dispatch.result import DispatchResult
from winback.dispatch.retry import retry

__all__ = ["DispatchResult", "GatewayPause", "Helpers", "Limit", "Recovered", "dispatch", "limits", "recover", "retry"]

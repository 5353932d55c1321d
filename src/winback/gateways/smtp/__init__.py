"""E-mail over SMTP: one engine with persistent, pipelined connections.

The parts, from the outside in: `gateway` is what config.toml sets up, `options` its settings, `examine` tries the way out and
says what is wrong; `sender` shares messages out among connections, `opening` gets a `line` ready (TLS, EHLO, `login`),
`connection` carries messages over it, `content` prepares their bytes; `replies` reads answers, `verdicts` says what they mean.
"""

from __future__ import annotations

from winback.gateways.smtp.gateway import SmtpGateway
from winback.gateways.smtp.options import SmtpOptions, SmtpTimeouts

__all__ = ["SmtpGateway", "SmtpOptions", "SmtpTimeouts"]

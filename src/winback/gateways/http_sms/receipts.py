"""Read what a provider reports: prove that it is the provider, then find the messages and the answers in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from winback import clock
from winback.errors import GatewayError, InputError
from winback.gateways.base import ReceiptEvent, ReceiptRequest
from winback.gateways.http_sms.options import Receipts, Signature
from winback.gateways.http_sms.reading import Document, at_path, form_fields, json_tree
from winback.gateways.http_sms.template import fill

_DIGITS = re.compile(r"\d{7,15}")


def read_receipts(rules: Receipts, request: ReceiptRequest, name: str) -> list[ReceiptEvent]:
    """Return the events of one call. Raise GatewayError for a call that is not the provider's, or that cannot be read."""
    try:
        proven = _proven(rules, request)
    except InputError as error:
        # The message may be told to whoever called; what is missing here is nobody's business but ours.
        raise GatewayError(f"gateway {name}: receipts cannot be proven at present", str(error)) from None
    if not proven:
        raise GatewayError(
            f"gateway {name}: a receipt came without its proof",
            "somebody tries the address out, or the provider was given another key than config.toml",
        )
    return [event for document in _documents(rules, request) for event in _events(rules, document, name)]


def _proven(rules: Receipts, request: ReceiptRequest) -> bool:
    headers = {name.lower(): value for name, value in request.headers.items()}
    proofs = [_same(request.query.get(key), secret.reveal()) for key, secret in rules.query.items()]
    proofs += [_same(headers.get(key.lower()), secret.reveal()) for key, secret in rules.headers.items()]
    if rules.signature is not None:
        proofs.append(_signed(rules.signature, rules.url, request, headers))
    return bool(proofs) and all(proofs)


def _same(given: str | None, expected: str) -> bool:
    """Compare in a time that tells nothing of where the difference is."""
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _signed(rules: Signature, url: str | None, request: ReceiptRequest, headers: Mapping[str, str]) -> bool:
    timestamp = headers.get((rules.timestamp or "").lower(), "")
    if rules.timestamp is not None and not _fresh(timestamp, rules.max_age):
        return False
    values: dict[str, str | int | bool] = {
        # Latin-1 and back: every byte of the body stays as it came.
        "body": request.body.decode("latin-1"),
        "body_md5": hashlib.md5(request.body, usedforsecurity=False).hexdigest(),
        "body_sha256": hashlib.sha256(request.body).hexdigest(),
        "method": request.method.upper(),
        "url": _bytes_as_text(url or ""),
        "form": _bytes_as_text("".join(f"{key}{value}" for key, value in sorted(set(form_fields(request.body))))),
        "timestamp": timestamp,
        "nonce": headers.get((rules.nonce or "").lower(), ""),
    }
    text = fill(_bytes_as_text(rules.signed), values).encode("latin-1", "replace")
    digest = hmac.new(rules.secret.reveal().encode(), text, rules.algorithm).digest()
    given = headers.get(rules.header.lower(), "")
    if not given.startswith(rules.prefix):
        return False
    given = given.removeprefix(rules.prefix).strip()
    if rules.encoding == "hex":
        return _same(given.lower(), digest.hex())
    return _same(given, base64.b64encode(digest).decode())


def _bytes_as_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("latin-1")


def _fresh(timestamp: str, max_age: timedelta) -> bool:
    if not re.fullmatch(r"\d{9,13}", timestamp):
        return False
    seconds = int(timestamp) / (1000 if len(timestamp) > 11 else 1)
    return abs(clock.now().timestamp() - seconds) <= max_age.total_seconds()


def _documents(rules: Receipts, request: ReceiptRequest) -> Iterator[Document]:
    """Yield one document for each report: the fields of the address, of the body, and of the report in the body's list."""
    text = request.body.decode("utf-8", "replace")
    tree = json_tree(text)
    common: dict[str, Any] = {key: value for key, value in request.query.items() if key not in rules.query}
    if isinstance(tree, Mapping):
        common |= tree
    elif tree is None and request.body:
        common |= dict(form_fields(request.body))
    reports = at_path(tree, rules.each) if rules.each else tree if isinstance(tree, list) else None
    if not isinstance(reports, list):
        yield Document(text, common)
        return
    for report in reports:
        if isinstance(report, Mapping):
            yield Document(text, {**common, **report})


def _events(rules: Receipts, document: Document, name: str) -> Iterator[ReceiptEvent]:
    at = _moment(document.find(rules.at))
    report = _report(rules, document)
    if report is not None:
        provider_id = document.find(rules.id)
        if provider_id is None:
            raise GatewayError(
                f"gateway {name}: a receipt has no id where receipts.id says", "compare it with the provider's page"
            )
        kind, hard = ("bounced", True) if report == "hard" else (report, False)
        yield ReceiptEvent(kind, provider_id, at=at, hard_bounce=hard, raw=_raw(document))  # type: ignore[arg-type]
        return
    sender, text = document.find(rules.sender), document.find(rules.text)
    if sender is not None and text is not None:
        yield ReceiptEvent(
            "replied", document.find(rules.reply_to) or "", recipient=_e164(sender), at=at, text=text, raw=_raw(document)
        )


def _report(rules: Receipts, document: Document) -> str | None:
    status = document.find(rules.status)
    if status is None:
        return None
    folded = {key.casefold(): report for key, report in rules.statuses.items()}
    return rules.statuses.get(status) or folded.get(status.casefold())


def _raw(document: Document) -> dict[str, Any]:
    return dict(document.tree) if isinstance(document.tree, Mapping) else {}


def _e164(number: str) -> str:
    """Return a number as we keep it: providers leave out the + or write 00 for it."""
    digits = re.sub(r"[\s()./-]", "", number).removeprefix("+").removeprefix("00")
    return f"+{digits}" if _DIGITS.fullmatch(digits) else number


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{9,13}(\.\d+)?", text):
            seconds = float(text)
            return datetime.fromtimestamp(seconds / (1000 if seconds > 1e11 else 1), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

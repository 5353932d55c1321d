"""Write a shop's files from dicts, for tests of every area.

root = write_shop(tmp_path, campaigns={"hello": campaign(title="Hello")}, settings={"shop": {"zone": "Europe/Berlin"}})
project = load_project(root)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

#: A table, or a file's text as it stands.
Written = Mapping[str, Any] | str

#: A letter and a text message as short as `winback check` lets them be: they greet, and say how to get no more.
EMAIL = '<p>Hello {{ customer.first_name | default("you", true) }}</p><p><a href="{{ unsubscribe_url }}">No more</a></p>\n'
SMS = "Hello {{ customer.first_name | default('you', true) }}. Reply STOP for no more\n"


def write_shop(
    folder: Path,
    *,
    campaigns: Mapping[str, Written] | None = None,
    templates: Mapping[str, str] | None = None,
    settings: Written | None = None,
    segments: Written | None = None,
    scores: Written | None = None,
) -> Path:
    """Write a shop into `folder` and return it.

    `campaigns` are by name; `templates` are texts by path under templates/, with their ends ("hello.email.html"). Every
    template that a campaign given as a dict uses and `templates` does not have is written in its shortest form.
    """
    files = {"config.toml": settings or {}}
    files |= {f"campaigns/{name}.toml": written for name, written in (campaigns or {}).items()}
    if segments is not None:
        files["campaigns/audiences.toml"] = segments
    if scores is not None:
        files["campaigns/scores.toml"] = scores
    texts = {name: written if isinstance(written, str) else to_toml(written) for name, written in files.items()}
    for written in (campaigns or {}).values():
        if not isinstance(written, str):
            texts |= _templates(written)
    texts |= {f"templates/{name}": text for name, text in (templates or {}).items()}
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def campaign(**changes: Any) -> dict[str, Any]:
    """Return a valid campaign for everybody asleep for 90 days, with top-level keys changed."""
    return {
        "title": "Hello again",
        "audience": {"preset": "sleeping", "inactive": "90d"},
        "steps": [email_step()],
        **changes,
    }


def email_step(name: str = "hello", **changes: Any) -> dict[str, Any]:
    """Return a valid e-mail step, with keys changed."""
    return {"name": name, "channel": "email", "template": name, "subject": "Hello", **changes}


def sms_step(name: str = "text", **changes: Any) -> dict[str, Any]:
    """Return a valid SMS step, with keys changed."""
    return {"name": name, "channel": "sms", "template": name, **changes}


def to_toml(tables: Mapping[str, Any]) -> str:
    """Write a dict as TOML, tables inline."""
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in tables.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items() if each is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else json.dumps(key)


def _templates(written: Mapping[str, Any]) -> dict[str, str]:
    """Return the template files that a campaign's steps, fallbacks and variants need."""
    needed: set[tuple[str, str]] = set()
    for step in written.get("steps", ()):
        if not isinstance(step, Mapping) or "template" not in step:
            continue
        needed.add((step["template"], step.get("channel", "email")))
        fallback = step.get("fallback") or {}
        if "channel" in fallback:
            needed.add((fallback.get("template", step["template"]), fallback["channel"]))
        needed |= {
            (own["template"], step.get("channel", "email")) for own in step.get("variants", {}).values() if "template" in own
        }
    ends = {"email": (".email.html", EMAIL), "sms": (".sms.txt", SMS)}
    return {f"templates/{name}{ends[channel][0]}": ends[channel][1] for name, channel in needed if channel in ends}

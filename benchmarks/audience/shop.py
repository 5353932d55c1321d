"""The shop whose campaigns are measured: the four of the demo shop, and eight more, so that each preset is there."""

from __future__ import annotations

import json
from pathlib import Path

from winback.project import Project, load_project
from winback.starter import copy_shop

_LETTER = """
[schedule]
at   = "10:00"
late = "24h"

[[steps]]
name     = "letter"
channel  = "email"
template = "sleeping/hello"
subject  = "Hello"
"""

#: Beside sleeping, birthday, thank_you and nurture; priority and audience.
_MORE = {
    "lapsed": (70, 'preset = "sleeping"\ninactive = "90d..365d"\nwhere = "orders >= 2"'),
    "anniversary": (71, 'preset = "birthday"\nfield = "first_order"'),
    "first_order": (72, 'preset = "after_order"\nafter = "delivered"\ndelay = "1d"\nfirst = true'),
    "milestone": (76, 'preset = "milestone"\nreaches = [5, 10, 25]'),
    "replenish": (77, 'preset = "replenish"\noffset = "-3d"'),
    "cart": (73, 'preset = "event"\nevent = "cart_left"\nunless = "checkout"\ndelay = "1h"'),
    "at_risk": (74, 'preset = "segment"\nsegment = "at_risk"'),
    "newsletter": (75, "preset = \"everyone\"\non = [2026-11-24]\nwhere = \"country in ('DE', 'AT') and orders >= 1\""),
}


def make(root: Path, database: str) -> Project:
    """Write the shop's files, and read them as winback does."""
    copy_shop(root)
    config = root / "config.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('"sqlite:///var/winback.sqlite"', json.dumps(database)), encoding="utf-8")
    for name, (priority, audience) in _MORE.items():
        file = f'title = "{name}"\npriority = {priority}\n\n[audience]\n{audience}\n{_LETTER}'
        (root / "campaigns" / f"{name}.toml").write_text(file, encoding="utf-8")
    return load_project(root, environ={})

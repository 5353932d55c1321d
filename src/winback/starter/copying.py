"""Copy the demo shop's files: config.toml, campaigns and templates, but nothing that a running shop wrote."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from winback.errors import InputError

#: What a shop's files are.
SHOP_FILES = ("config.toml", "campaigns", "templates")

_ENDS = (".toml", ".html", ".txt")


def copy_shop(folder: Path) -> None:
    """Copy the demo shop's files into a folder, made if it is not there. Raise InputError where it already has some of them."""
    taken = [name for name in SHOP_FILES if (folder / name).exists()]
    if taken:
        raise InputError(f"{folder} already has {', '.join(taken)}", "name a new folder; nothing was changed")
    with as_file(files("winback") / "starter" / "shop") as installed:
        # An installed winback brings a copy along; in a clone of the repository the shop is at its root.
        source = installed if installed.is_dir() else Path(__file__).resolve().parents[3]
        for file in _shop_files(source):
            target = folder / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


def _shop_files(source: Path) -> Iterator[Path]:
    for name in SHOP_FILES:
        top = source / name
        if not top.exists():
            raise InputError(f"winback's installation lacks {top}", "install winback again")
        yield from (top,) if top.is_file() else sorted(file for file in top.rglob("*") if file.suffix in _ENDS)

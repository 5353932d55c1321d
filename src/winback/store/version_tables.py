"""Which files the campaigns ran by, and when: every version that was applied, with all that was in it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, LargeBinary
from sqlmodel import Field, SQLModel

from winback.store.types import Id, UtcDateTime


class AppliedVersion(SQLModel, table=True):
    """The shop's files as they were applied once, by a person or by a daemon that takes up changes. Never changed or deleted."""

    __tablename__ = "applied_versions"

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    digest: str = Field(max_length=64)  # SHA-256 over all names and contents
    applied_at: datetime = Field(sa_type=UtcDateTime)
    applied_by: str = Field(max_length=200)  # a person, or a worker's name
    automatic: bool  # taken up by a pass, nobody said so
    auto_apply: bool  # what its config.toml says: changes after it are taken up by themselves
    revision: str | None = Field(default=None, max_length=60)  # of the git repository, where there is one


class AppliedFile(SQLModel, table=True):
    """One file of a version."""

    __tablename__ = "applied_files"

    version_id: int = Field(sa_type=Id, foreign_key="applied_versions.id", primary_key=True)
    path: str = Field(max_length=500, primary_key=True)  # below the shop's folder, with /
    digest: str = Field(max_length=64, foreign_key="file_contents.digest")


class FileContent(SQLModel, table=True):
    """What is in a file; kept once, however many versions have it."""

    __tablename__ = "file_contents"

    digest: str = Field(max_length=64, primary_key=True)  # SHA-256
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))

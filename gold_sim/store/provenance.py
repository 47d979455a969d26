"""Provenance: the versions, commit and uncommitted changes that every record holds."""

import contextlib
import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import gold_sim

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "pyarrow")  # packages whose versions are recorded
DIFF_BYTES = 64 * 1024  # most bytes kept of a diff of uncommitted changes


def provenance(config: dict) -> dict:
    """The origin of a record: config, commit and uncommitted diff of this code ("" outside git), versions, platform."""
    # an installed copy may lie in a folder of someone else's repository
    versioned = _git("ls-files", "--", Path(__file__).name) != b""
    versions = {"gold_sim": gold_sim.__version__}  # an installed copy has no commit
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "config": config,
        "commit": _git("rev-parse", "HEAD").decode().strip() if versioned else "",
        "diff": _git("diff", "HEAD", "--no-color")[:DIFF_BYTES].decode(errors="replace") if versioned else "",
        "python": platform.python_version(),
        "versions": versions,
        "platform": platform.platform(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> bytes:
    """Output of git on the repository of this file; empty without git or on failure."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return b""

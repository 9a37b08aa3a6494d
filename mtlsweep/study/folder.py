"""Which folders are studies; imports nothing heavy."""

from pathlib import Path


def candidates(name: str) -> list[Path]:
    """Where a study of this name, or at this path, may be: what is one comes first, for it may have the name of another folder that is
    here, as data and results are."""
    return sorted((Path(name), Path("runs") / name), key=lambda path: not is_study(path))


def is_study(path: Path) -> bool:
    """Whether a folder holds runs or sweeps."""
    return any(path.glob(".sweeps/*/cells-*.json")) or any(path.glob("*/*/*/*/run.json"))

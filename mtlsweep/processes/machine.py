"""How a machine is divided between processes: a GPU for each where there are any, and an equal part of the processors."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mtlsweep.errors import UserError


@dataclass(frozen=True)
class Share:
    """What one process has of this machine.

    Attributes:
        threads: of torch, where the settings leave it open. On a CPU the rounding of sums depends on their number.
        gpu: as CUDA_VISIBLE_DEVICES names it; None: the process sees what this one does.
    """

    threads: int
    gpu: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that tell a process so."""
        return {"OMP_NUM_THREADS": str(self.threads)} | ({} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu})


def divide(n_jobs: int | str, engines: Sequence[dict[str, Any]]) -> list[Share]:
    """The shares of so many processes; with "auto" one for each GPU, and a single one where there is none.

    Args:
        n_jobs: their number, or "auto".
        engines: the group `engine` of the cells' settings.

    Raises:
        UserError: a cell asks for a GPU by its number, while each process is to have one of its own.
    """
    gpus = [] if all(engine["device"] == "cpu" for engine in engines) else _gpus()
    count = max(1, len(gpus)) if n_jobs == "auto" else int(n_jobs)
    if count == 1:
        return [Share(_threads(1))]
    numbered = next((engine["device"] for engine in engines if ":" in engine["device"]), None)
    if numbered:
        raise UserError(f"engine.device={numbered}: with hydra.launcher.n_jobs each process has a GPU of its own; use engine.device=cuda")
    return [Share(_threads(count), gpus[number % len(gpus)] if gpus else None) for number in range(count)]


def _threads(processes: int) -> int:
    import torch  # not where Hydra looks for launchers

    # Whoever sets the variable means each process.
    return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else max(1, torch.get_num_threads() // processes)


def _gpus() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    return [name.strip() for name in names[: torch.cuda.device_count()]]

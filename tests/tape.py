"""A stand-in for CUDA graphs on a CPU, as strict as they are: operations on memory are recorded, and Python's numbers as constants of them.

Recording leaves the memory as it was; a replay does the same operations to the same memory, and nothing of Python. What a graph of CUDA
cannot hold fails here too: a value that is read on the host, one that is copied from it, random numbers of a generator that is unknown.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mtlsweep.train.graphs import RecordingFailed

# What waits for the device, or takes memory of the host's that will have another content by the next replay.
FORBIDDEN = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::lift_fresh", "aten::is_nonzero", "aten::equal"}


class Tape:
    """What was recorded."""

    def __init__(self, owner: "TapeRecorder") -> None:
        self.owner = owner
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def replay(self) -> None:
        self.owner.replayed += 1
        with torch.no_grad():
            for operation, arguments, options, given in self.operations:
                made = operation(*arguments, **options)
                for place, value in zip(_tensors(given), _tensors(made), strict=True):
                    if value.untyped_storage().data_ptr() != place.untyped_storage().data_ptr():
                        place.copy_(value)


class TapeRecorder(TorchDispatchMode):
    """A recorder (`train.graphs.Recorder`) that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded = self.replayed = self.settled = 0

    def __call__(self, body: Callable[[], object], generator: torch.Generator | None) -> Tape:
        self.recorded += 1
        self.tape, self.generator = Tape(self), generator
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self.made: set[int] = set()
        drawn = generator.get_state() if generator else None
        try:
            with self:
                body()
        finally:
            for storage, content in self.before.values():
                storage.copy_(content)
            if generator and drawn is not None:
                generator.set_state(drawn)
        return self.tape

    def settle(self) -> None:
        self.settled += 1

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), options: dict[str, Any] | None = None) -> Any:
        options = options or {}
        name = operation._schema.name
        draws = torch.Tag.nondeterministic_seeded in operation.tags
        if name in FORBIDDEN or (draws and not self._known(options.get("generator"))):
            raise RecordingFailed(f"{name} cannot be part of a graph")
        for tensor in _tensors((arguments, options)):
            self._keep(tensor.untyped_storage())
        result = operation(*arguments, **options)
        self.tape.operations.append((operation, arguments, options, result))
        self.made.update(tensor.untyped_storage()._cdata for tensor in _tensors(result))
        return result

    def _known(self, generator: torch.Generator | None) -> bool:
        """Whether this is the generator that was given, perhaps as another object of Python's."""
        return generator is not None and self.generator is not None and generator.get_state().equal(self.generator.get_state())

    def _keep(self, storage: torch.UntypedStorage) -> None:
        """The content of memory that was there before the recording."""
        if storage._cdata not in self.made and storage._cdata not in self.before:
            self.before[storage._cdata] = (storage, storage.clone())


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))

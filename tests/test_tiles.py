"""Which tiles are tried for the kernels, and what is said of them. Times are a GPU's, and no GPU is needed here."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from conftest import ROOT

from benchmarks import tiles
from benchmarks.tiles import LAYERS, Candidate, candidates, section

pytest.importorskip("triton", reason="no Triton, which comes with torch for GPUs")
from test_few_channels import needs_interpreter  # loads it


def test_every_layer_is_tried_with_its_own_tiles_first() -> None:
    tried = candidates()
    assert len(set(map(repr, tried))) == len(tried)
    for layer in LAYERS:
        kinds = {candidate.kind: candidate.tiles for candidate in reversed(tried) if candidate.layer == layer}
        assert kinds == {kind: {} for kind in tiles.TRIED if (kind, layer[0]) != ("input_gradient", 3)}
    assert all(16 * candidate.tiles.get("num_warps", 0) <= candidate.tiles.get("BLOCK_M", 0) for candidate in tried)


def test_tables_are_as_they_were_after_a_candidate_even_a_failing_one() -> None:
    from mtlsweep.train.kernels.few_channels import TILES_BY_CHANNELS

    before = {place: dict(changed) for place, changed in TILES_BY_CHANNELS.items()}
    for layer in (LAYERS[1], (32, 16, 8, 1)):
        with suppress(ValueError), tiles.using(Candidate("convolve", layer, {"BLOCK_M": 64, "num_warps": 8})):
            assert TILES_BY_CHANNELS["convolve", layer[0], layer[1]] == {"BLOCK_M": 64, "num_warps": 8}
            raise ValueError
    assert before == TILES_BY_CHANNELS


def test_the_fastest_is_told_where_it_is_more_than_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = LAYERS[:2]
    tried = [
        *(Candidate("convolve", first, {}), Candidate("convolve", first, {"BLOCK_M": 64}), Candidate("convolve", first, {"BLOCK_M": 128})),
        *(Candidate("convolve", second, {}), Candidate("convolve", second, {"BLOCK_M": 64}), Candidate("weight_gradient", second, {})),
    ]
    times = {first: {0: 10.0, 1: 9.0, 2: 8.0}, second: {0: 5.0, 1: 4.9}}
    monkeypatch.setattr(tiles, "contest", lambda some, batch: times[some[0].layer])
    found = section(tried, [*[None] * 5, "OutOfResources: shared memory"], 128)
    assert [(row["us"], row["us, fastest"], row["with"]) for row in found.rows] == [
        ("10.00", "8.00", "BLOCK_M=128"),
        ("5.00", "4.90", "its own"),
    ]
    assert found.remarks == [
        "of 6 candidates 1 could not be executed",
        "weight_gradient (16, 16, 32, 1), its own: OutOfResources: shared memory",
    ]


@pytest.mark.processes
@needs_interpreter
def test_candidates_launch_the_kernels_that_they_are_named_for() -> None:
    script = """
import torch
from triton.runtime.interpreter import InterpretedFunction
from benchmarks.tiles import candidates, launcher, using
run = InterpretedFunction.run
def told(self, *arguments, num_warps=None, **constants):
    print(self.fn.__name__, num_warps)
    run(self, *arguments, **constants)
InterpretedFunction.run = told
for kind in ("convolve", "input_gradient", "weight_gradient"):
    candidate = [one for one in candidates([(16, 16, 8, 1)]) if one.kind == kind and one.tiles.get("num_warps") == 8][0]
    with using(candidate), torch.no_grad():
        launcher(candidate, 2, torch.device("cpu"), torch.float32)()
"""
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["_convolve", "8", "_enter", "8", "_weight_gradient_parts_of_rows", "8", "_add", "None"]


class Clock:
    """In place of a GPU: launches of so many microseconds, the first rounds of a candidate faster or slower by chance."""

    def __init__(self, candidate: Candidate, batch: int) -> None:
        self.times: list[float] = []
        self.asked, self.true, self.luck = 0, candidate.tiles.get("BLOCK_M", 100), candidate.tiles.get("num_warps", 0)

    def measure(self) -> None:
        self.asked += 1
        self.times.append(self.true + (self.luck if self.asked <= tiles.ROUNDS else 0))

    @property
    def microseconds(self) -> float:
        return sorted(self.times)[len(self.times) // 2]


def test_the_fastest_is_timed_again_beside_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "Timed", Clock)
    tried = [Candidate("convolve", LAYERS[1], one) for one in ({}, {"BLOCK_M": 101, "num_warps": -20}, {"BLOCK_M": 90, "num_warps": 0})]
    assert tiles.contest(tried, 128) == {0: 100, 1: 101, 2: 90}
    assert tiles.contest(tried[:1], 128) == {0: 100}


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert tiles.main([]) == 2
    assert capsys.readouterr().err == "error: torch finds no GPU here\n"

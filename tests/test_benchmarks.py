"""The benchmarks' logic: how subjects are timed, that they do what they are named for, and that every part works. No time is checked."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks import __main__ as command
from benchmarks import libraries, plain, subjects, timing, walk
from benchmarks.choices import CUDA, FASTEST, FUSED, engines
from benchmarks.parts import PARTS, Part, loops, usual
from benchmarks.parts.determinism import digest
from benchmarks.parts.ladder import RUNGS, rungs
from benchmarks.parts.lanes import per_run
from benchmarks.section import Layout, Section, times, training_layout
from benchmarks.setting import ARCHITECTURES, Setting
from benchmarks.subjects import TINY, Ours
from benchmarks.timing import LEAST, Comparison, Plan, Spread, Subject, measure
from mtlsweep.catalogue import OPTIONS, call_of
from mtlsweep.settings import build
from mtlsweep.train import build as build_module
from mtlsweep.train.engine import Engine
from mtlsweep.train.epoch import Trainer
from mtlsweep.train.graphs import WARMUP_STEPS, RecordingFailed
from mtlsweep.train.network import Batch, Network
from mtlsweep.train.programs import step_program
from mtlsweep.train.steps import Moment

CPU = torch.device("cpu")


class Machine:
    """A clock that subjects advance, and what they did in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []

    def clock(self) -> float:
        return self.now

    def subject(self, name: str, cost: float, steps: int | None = None) -> Subject:
        def prepare(count: int) -> Callable[[], None]:
            def perform() -> None:
                self.done.append(name)
                self.now += cost * count

            return perform

        return Subject(prepare, steps)


def test_subjects_take_turns_and_none_always_follows_the_same_one() -> None:
    machine = Machine()
    measure({name: machine.subject(name, 1) for name in "abc"}, Plan(1, 3, 1e9), CPU, machine.clock)
    assert "".join(machine.done) == "abc" + "abc" + "bca" + "cab"  # the warm-up, then three rounds


def test_time_is_of_one_step() -> None:
    machine = Machine()
    compared = {"one": machine.subject("one", 0.5), "other": machine.subject("other", 0.25, steps=10)}
    comparison = measure(compared, Plan(3, 2, 1e9), CPU, machine.clock)
    assert comparison.times == {"one": [0.5, 0.5], "other": [0.25, 0.25]}
    assert comparison.warm_up == {"one": 1.5, "other": 2.5}


def test_ratio_is_that_within_a_round_on_a_machine_that_slows_down() -> None:
    comparison = Comparison({"twice": [2.0, 4.0, 8.0], "once": [1.0, 2.0, 4.0]})
    assert comparison.ratio("twice", "once") == Spread(2, 2, 2)
    assert comparison.step("twice") == Spread(4, 3, 6)


@pytest.mark.parametrize(("seconds", "rounds"), [(0, LEAST), (50, 4), (59.9, 4), (60, 5), (1e9, 6)])
def test_no_round_is_begun_that_would_not_end_in_time(seconds: float, rounds: int) -> None:
    machine = Machine()
    comparison = measure({"ten": machine.subject("ten", 5)}, Plan(2, 6, seconds), CPU, machine.clock)
    assert len(comparison.times["ten"]) == rounds  # of 10 s, after as long a warm-up


def test_nothing_is_begun_when_the_time_is_over() -> None:
    machine = Machine()
    over = replace(Plan(1, 6, 1e9), until=time.monotonic() - 1)
    comparison = measure({"late": machine.subject("late", 1)}, over, CPU, machine.clock)
    assert (machine.done, comparison.failed) == ([], {"late": "TimeoutError: the time was over"})


def test_no_second_round_is_begun_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    monkeypatch.setattr(time, "monotonic", machine.clock)
    comparison = measure({"ten": machine.subject("ten", 10)}, Plan(1, 6, 1e9, until=15.0), CPU, machine.clock)
    assert len(comparison.times["ten"]) == 1


def test_a_gpu_is_warmed_up_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    monkeypatch.setattr(timing, "synchronize", lambda device: None)
    measure({"a": machine.subject("a", 1)}, Plan(1, 3, 1e9), torch.device("cuda"), machine.clock)
    assert len(machine.done) == 2 + 3


def test_a_subject_that_cannot_run_is_left_out_and_says_why() -> None:
    machine = Machine()

    def missing(count: int) -> Callable[[], None]:
        raise ImportError("no such library\nadvice")

    comparison = measure({"missing": Subject(missing), "there": machine.subject("there", 1)}, Plan(1, 2, 0), CPU, machine.clock)
    assert list(comparison.times) == ["there"]
    section = times("", comparison, Layout(["missing", "there"]))
    assert [row[""] for row in section.rows] == ["there"]
    assert "ratio to missing" not in section.rows[0]
    assert section.remarks[-1] == "missing: not measured (ImportError: no such library)"


def test_all_subjects_failing_is_a_table_without_rows() -> None:
    def fail(count: int) -> Callable[[], None]:
        raise RuntimeError

    section = times("title", measure({"a": Subject(fail)}, Plan(1, 2, 0), CPU), Layout(["a"]))
    assert section.markdown() == "**title**\n\n- a: not measured (RuntimeError: no message)"


def test_table_shows_ratio_images_a_second_and_an_extrapolation_that_says_so() -> None:
    comparison = Comparison({"plain": [0.2, 0.2, 0.2], "fast": [0.1, 0.1, 0.2]})
    section = times("title", comparison, Layout(["plain"], images=128, whole_run=True))
    assert section.rows[1] == {
        "": "fast",
        "ms a step": "100 (100 to 150)",
        "ratio to plain": "0.50 (0.50 to 0.75)",
        "images/s": "1280",
        "s for 200 epochs": "7812",
    }
    assert any("extrapolated" in remark for remark in section.remarks)
    assert section.data["times"] == comparison.times


def test_table_says_what_was_measured_and_in_how_many_rounds() -> None:
    assert times("", Comparison({"a": [1.0] * 5}), Layout([])).remarks[0].startswith("time on the wall")
    assert times("", Comparison({"a": [1.0] * 5}, clock="cpu"), Layout([])).remarks[0].startswith("processor time of this process")
    assert times("", Comparison({"a": [1.0] * 5}), Layout([])).remarks[0].endswith("(5 rounds)")


def test_share_of_the_roofline_is_shown_only_where_that_is_known() -> None:
    known = training_layout(["a"], "resnet20", 128, "NVIDIA H200")
    assert times("", Comparison({"a": [298e-6] * 3}), known).rows[0]["share of roofline"] == "50.0%"
    for unknown in (("resnet20", 64, "NVIDIA H200"), ("resnet20", 128, "Intel Xeon"), (TINY, 128, "NVIDIA H200")):
        assert training_layout(["a"], *unknown).roofline is None


def test_runs_at_once_are_compared_by_the_step_of_one() -> None:
    comparison = Comparison({"K = 1": [1.0], "K = 4": [2.0]}, failed={"K = 16": "out of memory"})
    assert per_run(comparison, (1, 4, 16)).times == {"K = 1": [1.0], "K = 4": [0.5]}


@pytest.fixture
def optimizer_steps() -> Iterator[list[object]]:
    """One entry for every step of any optimizer."""
    steps: list[object] = []
    handle = register_optimizer_step_post_hook(lambda *arguments: steps.append(arguments[0]))
    yield steps
    handle.remove()


@pytest.mark.parametrize(
    ("subject", "steps"),
    [
        (plain.usual_loop(TINY, CPU, 4, workers=0), 3),
        (plain.plain_loop(TINY, CPU, 4), 3),
        (libraries.torchjd(TINY, CPU, 4, "PCGrad", chunk=1), 3),
        (Ours(TINY, CPU, 4).training(), 3),
        (Ours(TINY, CPU, 4, "pcgrad", {"refresh": 2}).training(lanes=2), 6),
        (Ours(TINY, CPU, 4).epochs(train=5, test=5), 6),  # a full and a partial mini-batch, three times
        (Ours(TINY, CPU, 4).evaluation(), 0),
        (Ours(TINY, CPU, 4).augmentation(), 0),
    ],
)
def test_a_subject_performs_the_steps_it_is_asked_for(subject: Subject, steps: int, optimizer_steps: list[object]) -> None:
    perform = subject.prepare(3)
    assert not optimizer_steps
    for repetition in (1, 2):
        perform()
        assert len(optimizer_steps) == repetition * steps


def test_settings_reach_the_engine() -> None:
    given = Ours(TINY, CPU, 4, options={"precision": "bf16", "channels_last": False}).choices()
    assert given.startswith("cpu, bf16, channels first, not compiled")
    assert "not compiled" in Ours(TINY, CPU, 4).choices()
    assert "fused" not in Ours(TINY, CPU, 4).choices()
    assert "not compiled, fused" in Ours("resnet20", CPU, 4).choices()  # what a run of 200 epochs gets
    assert ", compiled" in Ours("resnet20", CPU, 4, options={"fused": False}).choices()


def test_what_could_not_be_compiled_is_not_measured_under_the_name_of_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(trainer: Trainer) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(Trainer, "compile", fails)
    compared = {"compiled": Ours(TINY, CPU, 4, options={"compile": True}).training()}
    assert measure(compared, Plan(1, 2, 0), CPU).failed == {"compiled": "RuntimeError: it could not be compiled"}


def test_what_could_not_be_recorded_is_not_measured_under_the_name_of_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(body: object, generator: object) -> None:
        raise RecordingFailed("there is no way")

    monkeypatch.setattr(build_module, "CudaRecorder", lambda: refuses)
    monkeypatch.setattr(Ours, "_engine", lambda ours: Engine(CPU, "fp32", channels_last=True, threads=1, compile=False, graph=True))
    comparison = measure({"recorded": Ours(TINY, CPU, 4).training()}, Plan(WARMUP_STEPS + 1, 2, 0), CPU)
    assert list(comparison.failed) == ["recorded"]
    assert "it went on as cpu" in comparison.failed["recorded"]


def test_plain_crops_are_windows_of_the_padded_image_half_of_them_flipped() -> None:
    torch.manual_seed(0)
    images = torch.rand(64, 3, 32, 32)
    padded = functional.pad(images, (4, 4, 4, 4)).unfold(2, 32, 1).unfold(3, 32, 1)  # (64, 3, 9, 9, 32, 32)
    flips, offsets = 0, set()
    for crop, windows in zip(plain.crop_and_flip(images), padded, strict=True):
        straight = [(down, right) for down in range(9) for right in range(9) if windows[:, down, right].equal(crop)]
        flipped = [(down, right) for down in range(9) for right in range(9) if windows[:, down, right].flip(2).equal(crop)]
        assert len(straight + flipped) == 1
        flips += len(flipped)
        offsets.update(straight + flipped)
    assert 16 < flips < 48
    assert len(offsets) > 32


def of_library(model: nn.Module, gradients: libraries.Gradients, batch: Batch) -> list[torch.Tensor]:
    gradients(*batch)
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("library", ["torchjd", "LibMTL"])
def test_libraries_compute_the_gradients_that_ours_does(library: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    batch = Batch(*plain.tensors(subjects.dataset(2), CPU))
    ours, theirs = subjects.network(TINY), subjects.network(TINY)
    outcome = step_program(Network(ours), build(call_of(OPTIONS / "pcgrad.yaml")))(batch, Moment(0, 1, 1.0))
    assert outcome.conflict == 1  # else every strategy would agree
    step = libraries.torchjd_step(theirs, "PCGrad", None) if library == "torchjd" else libraries.libmtl_step(theirs, "PCGrad", CPU)
    found = of_library(theirs, step, batch)
    expected = [parameter.grad for parameter in ours.parameters()]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_digest_tells_weights_apart() -> None:
    one, same = subjects.network(TINY), subjects.network(TINY)
    assert digest(one) == digest(same)
    with torch.no_grad():
        same.fine_head.bias[0] += 1e-6
    assert digest(one) != digest(same)


def test_the_same_run_ends_with_the_same_weights() -> None:
    assert digest(Ours(TINY, CPU, 4).trained(2)) == digest(Ours(TINY, CPU, 4).trained(2))
    assert digest(Ours(TINY, CPU, 4).trained(2)) != digest(Ours(TINY, CPU, 4, "pcgrad").trained(2))


def test_a_gpu_climbs_the_whole_ladder_and_a_cpu_what_it_can() -> None:
    assert rungs("resnet20", torch.device("cuda")) == RUNGS
    assert list(RUNGS)[:-3] == list(rungs("resnet20", CPU))
    assert list(RUNGS)[:-2] == list(rungs("vgg16bn", torch.device("cuda")))  # whose channels are not few
    assert engines("vgg16bn", torch.device("cuda")) == CUDA
    assert engines("resnet20", torch.device("cuda")) == {name: chosen for name, chosen in CUDA.items() if name != FUSED}
    assert engines(TINY, torch.device("cuda"))[FASTEST] == CUDA[FASTEST]
    assert not any(options["compile"] for options in rungs(TINY, CPU).values())


def test_parts_of_a_gpu_fit_ten_minutes_and_share_their_time_among_the_architectures() -> None:
    assert sum(part.cuda[0] for part in PARTS.values() if part.cuda) <= 600
    setting = PARTS["loops"].setting(Setting(torch.device("cuda")))
    assert [(network, plan.seconds) for network, plan in setting.each()] == [(name, setting.plan.seconds / 3) for name in ARCHITECTURES]


def test_usual_parts_are_in_the_order_of_the_plan() -> None:
    assert usual("cpu") == ["loops", "kinds", "peers", "augment", "evaluation", "startup", "memory"]
    assert usual("cuda")[:3] == ["ceilings", "loops", "ladder"]


def expected_to_fail(name: str, title: str) -> bool:
    """What is no fault of ours: libraries that are not installed, or not with all they need; LibMTL's CAGrad, which is for three tasks."""
    missing = find_spec("LibMTL") is None if name == "LibMTL" else find_spec("cvxpy") is None or find_spec("clarabel") is None
    return missing if "CAGrad" not in title else missing or name == "LibMTL"


@pytest.mark.parametrize(
    "part", [pytest.param(name, marks=[pytest.mark.processes] if name in ("startup", "memory") else []) for name in PARTS]
)
def test_every_part_works_on_the_smallest_network(part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([part, "--quick", "--device", "cpu", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    (path,) = tmp_path.glob("*.json")
    found = json.loads(path.read_text())
    assert found["quick"]
    assert found["machine"]["versions"]["torch"] == metadata.version("torch")
    assert found["sections"]
    for section in found["sections"]:
        assert section["part"] == part
        assert section["rows"]
        assert all(expected_to_fail(name, section["title"]) for name in section["data"].get("failed", {})), section["remarks"]
        assert f"**{section['title']}**" in printed
        assert f"**{section['title']}**" in path.with_suffix(".md").read_text()


def measures(title: str) -> Part:
    return Part(lambda setting: iter([Section(title, [{"": "x"}])]), (1, 1), None)


def breaks(setting: Setting) -> Iterator[Section]:
    yield Section("first", [])
    raise RuntimeError("out of memory")


def test_a_part_that_breaks_costs_neither_its_tables_nor_the_other_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, part in (("loops", Part(breaks, (1, 1), None)), ("kinds", measures("later"))):
        monkeypatch.setitem(PARTS, name, part)
    assert command.main(["loops", "kinds", "--output", str(tmp_path), "--device", "cpu"]) == 1
    (path,) = tmp_path.glob("*.json")
    sections = json.loads(path.read_text())["sections"]
    assert [section["title"] for section in sections] == ["first", "loops: failed", "later"]
    assert "RuntimeError: out of memory" in capsys.readouterr().out


def test_no_part_is_begun_after_the_time_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(PARTS, "loops", measures("begun"))
    assert command.main(["loops", "--minutes", "1e-12", "--output", str(tmp_path), "--device", "cpu"]) == 0
    assert "**loops: not measured**" in capsys.readouterr().out


def test_processor_time_is_of_this_process_so_the_loader_starts_no_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["loops", "--quick", "--clock", "cpu", "--output", str(tmp_path), "--device", "cpu"]) == 0
    assert "processor time of this process" in capsys.readouterr().out
    setting = Setting(CPU, (TINY,)).by("cpu")
    assert loops.usual(setting) == ["usual loop, 0 workers"]
    assert loops.usual(setting.by("wall")) == ["usual loop, 0 workers", "usual loop, 2 workers"]


@pytest.mark.parametrize(("arguments", "says"), [(["speed"], "loops, ladder"), (["--networks", "resnet21"], "resnet20, resnet56")])
def test_a_wrong_name_is_told_the_right_ones(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_asking_for_a_gpu_where_there_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--device", "cuda"]) == 2
    assert capsys.readouterr().err == "error: --device cuda: torch finds no GPU here\n"


def test_a_walk_finds_the_trunk_and_never_the_coarse_head() -> None:
    """Whether it finds the fine head's weight is torch's and Python's affair."""
    names = walk.missed("resnet20")
    assert {"coarse_head.weight", "coarse_head.bias"} <= set(names) <= {"coarse_head.weight", "coarse_head.bias", "fine_head.weight"}

"""What a run's arithmetic is done on and in."""

import re
import sys
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import torch

from mtlsweep.errors import UserError
from mtlsweep.settings import train_images
from mtlsweep.train import processor
from mtlsweep.train.host_memory import keep_freed_memory

# Compiling takes about a minute the first time and saves a sixth or more of a step (benchmarks/README.md); shorter runs would lose by it.
COMPILE_FROM_STEPS = 5000
# Networks that are slower compiled, in bf16 on a CPU: VGG-16-BN by a twentieth to a tenth (benchmarks/README.md).
FASTER_AS_THEY_ARE = ("mtlsweep.models.vgg_bn",)
# Those whose layers are fused only where engine.compile=false asks for it: that has not been measured on a GPU yet.
AS_ASKED = ("mtlsweep.models.vgg_bn",)
# NVIDIA's GPUs have matrix units for bf16 from this compute capability on (Ampere).
BF16_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class Engine:
    """The choices that the engine settings resolved to.

    Attributes:
        device: where model and data live.
        precision: "fp32", or "bf16": forward and backward pass under autocast; weights, BatchNorm statistics and losses stay fp32.
        channels_last: memory layout of images and activations.
        threads: of torch on the processor; on a CPU the rounding of sums depends on their number.
        compile: whether the trunk is compiled; fused operations round less often.
        graph: whether steps are recorded as CUDA graphs where the strategy allows; that changes no number.
        triton: whether convolutions of few channels are kernels of our own (`few_channels`), which round elsewhere than cuDNN's.
        fused: whether there are more of these. On a GPU: the heads with their losses (`two_losses`; not for a strategy of a user's) and,
            with `triton`, all layers: of a ResNet each BatchNorm, shortcut and ReLU beside its convolution (`fused_trunk`), of which
            nothing is left to be compiled, and of a VGG, with engine.compile=false, all that is between its convolutions (`fused_stack`).
            On a CPU: all that is between the convolutions of either (`host_trunk`), of which nothing is left to be compiled.
    """

    device: torch.device
    precision: str
    channels_last: bool
    threads: int
    compile: bool
    graph: bool
    triton: bool = False
    fused: bool = False

    def __str__(self) -> str:
        """What was chosen, for people."""
        layout = "channels last" if self.channels_last else "channels first"
        words = [str(self.device), self.precision, layout, "compiled" if self.compile else "not compiled"]
        words += ["Triton convolutions"] if self.triton else []
        words += ["fused"] if self.fused else []
        words += ["CUDA graphs"] if self.graph else []
        words += [f"{self.threads} thread{'s' * (self.threads > 1)}"] if self.device.type == "cpu" else []
        return ", ".join(words)

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch names it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def describe(self) -> dict[str, Any]:
        """The choices as `result.json` keeps them: Triton's kernels where they are, for earlier results say nothing of them."""
        chosen = asdict(self) | {"device": str(self.device)}
        return {name: value for name, value in chosen.items() if value or name not in ("triton", "fused")}

    def as_begun(self, described: dict[str, Any]) -> "Engine":
        """This engine with the numerics of an earlier attempt, so that a resumed run keeps what it began with."""
        before = {"compile": False, "triton": False, "fused": False}  # of attempts that knew no such option
        kept = {name: (before | described)[name] for name in ("precision", "channels_last", "threads", "compile", "triton", "fused")}
        # On another kind of device, which the result tells of, there is no such thing or only its namesake.
        gone = {} if torch.device(described["device"]).type == self.device.type else {"triton": False, "fused": False}
        return replace(self, **kept | gone)

    def apply(self) -> None:
        """Prepare torch for a run."""
        torch.set_num_threads(self.threads)
        if self.device.type == "cpu":
            keep_freed_memory()
        # The same seed has to give the same numbers twice, so no algorithm is chosen by a race between candidates.
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        # fp32 is fp32: torch's default for convolutions on a GPU is TF32, whose products have 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def resolve(settings: dict[str, Any], steps: int = 0, model: str = "") -> Engine:
    """Choose what the settings leave open.

    Args:
        settings: the group `engine` of a run's.
        steps: the run's number of optimizer steps.
        model: what builds its network, by its dotted name.

    Raises:
        UserError: the device does not exist here.
    """
    device = _device(settings["device"])
    precision = _fastest_precision(device) if settings["precision"] == "auto" else settings["precision"]
    channels_last = True if settings["channels_last"] is None else settings["channels_last"]
    loses = model in FASTER_AS_THEY_ARE and (device.type, precision) == ("cpu", "bf16")
    compiled = steps >= COMPILE_FROM_STEPS and not loses if settings["compile"] is None else settings["compile"]
    graph = device.type == "cuda" and settings["graph"] is not False
    can = (device.type, precision, channels_last) == ("cuda", "bf16", True) and _has_bf16_units(device)
    asked = settings["compile"] is not None or model not in AS_ASKED
    triton = can and asked and settings.get("triton") is not False  # which cells that an earlier version froze do not have
    fused = (can or _can_on_host(device, channels_last, settings)) and settings.get("fused") is not False
    return Engine(device, precision, channels_last, settings["threads"] or _default_threads(), compiled, graph, triton, fused)


def resolve_run(settings: dict[str, Any]) -> Engine:
    """Choose what the settings of a run leave open, for its length and its network. Raises as `resolve` does."""
    schedule = settings["schedule"]
    steps = schedule["epochs"] * -(-train_images(settings["data"]) // schedule["batch_size"])
    return resolve(settings["engine"], steps, settings["model"]["_target_"])


def notes(settings: dict[str, Any], engine: Engine) -> list[str]:
    """What was asked for and is not done or no gain on this engine, a line for people each."""
    found = []
    if settings.get("triton") and not engine.triton:
        why = "takes a GPU, bf16, channels last and a network of 3 x 3 convolutions of 16 to 64 channels"
        found.append(f"note: engine.triton=true: {why}; convolutions are torch's")
    if settings.get("fused") and not engine.fused:
        why = "takes channels last, and on a GPU bf16 and a multiple of 64 features, on a CPU Linux, a C++ compiler and a ResNet or a VGG"
        found.append(f"note: engine.fused=true: {why}; layers and heads are torch's")
    if engine.device.type != "cpu":
        return found
    if settings["graph"]:
        found.append("note: engine.graph=true: there are no CUDA graphs on a CPU; the steps are executed one by one")
    if settings["precision"] == "bf16" and not processor.fast_in_bf16():
        why = "has no instructions for it, and fp32 is several times as fast" if processor.lacks_bf16() else "is not known to gain by it"
        found.append(f"note: engine.precision=bf16: this processor {why}")
    return found


def _can_on_host(device: torch.device, channels_last: bool, settings: dict[str, Any]) -> bool:
    """Whether layers can be fused on a CPU, and are not asked to be compiled in place of that."""
    asked = settings.get("fused") or not settings["compile"]
    return bool(asked) and device.type == "cpu" and channels_last and sys.platform == "linux"


@cache
def _default_threads() -> int:
    """What torch chose when the process began, before any run asked for another number."""
    return torch.get_num_threads()


def device_name(device: torch.device) -> str:
    """The device as its maker names it, e.g. "NVIDIA H200"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor.name()


def _fastest_precision(device: torch.device) -> str:
    """bf16 where it is faster. What it does to accuracy and conflicts of gradients: benchmarks/README.md."""
    fast = _has_bf16_units(device) if device.type == "cuda" else processor.fast_in_bf16()
    return "bf16" if fast else "fp32"


def _has_bf16_units(gpu: torch.device) -> bool:
    return torch.cuda.get_device_capability(gpu) >= BF16_CAPABILITY


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"engine.device={name}: not a device; choose auto, cpu, cuda or cuda:1")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"engine.device={name}: torch finds {torch.cuda.device_count()} GPUs here")
    return device

"""ResNet in its CIFAR form (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385, section 4.2)."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from mtlsweep.models.two_heads import TwoHeads


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with an identity shortcut; where the shape changes, shortcut "A": subsample and pad channels with zeros."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self._shortcut(x))

    def _shortcut(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 1 and not self.new_channels:
            return x
        before = self.new_channels // 2
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.new_channels - before))


def resnet(depth: int, width: int = 16) -> TwoHeads:
    """ResNet-`depth` for 32 x 32 images: three stages of `width`, 2 `width` and 4 `width` channels, global average pooling, two heads.

    Args:
        depth: 6 n + 2 layers, n blocks a stage: 20, 32, 44, 56, 110.
        width: channels of the first stage.

    Raises:
        ValueError: `depth` is not of the form 6 n + 2, or `width` is below 1.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth must be 6 n + 2 (8, 14, 20, ...), got {depth}")
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    stem = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    blocks = _stages(blocks_per_stage=(depth - 2) // 6, width=width)
    return TwoHeads(nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()), features=4 * width)


def _stages(blocks_per_stage: int, width: int) -> Iterator[BasicBlock]:
    in_channels = width
    for stage in range(3):
        channels = width * 2**stage
        for block in range(blocks_per_stage):
            yield BasicBlock(in_channels, channels, stride=2 if stage and not block else 1)
            in_channels = channels

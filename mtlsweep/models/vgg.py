"""VGG with BatchNorm in its CIFAR form (Simonyan & Zisserman, "Very Deep Convolutional Networks", ICLR 2015, arXiv:1409.1556, table 1)."""

from collections.abc import Iterator

from torch import nn

from mtlsweep.models.two_heads import TwoHeads

# Convolutions per stage (3 x 3, each with BatchNorm and ReLU); a 2 x 2 max pooling ends each stage, so 32 x 32 becomes 1 x 1.
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)


def vgg_bn(depth: int) -> TwoHeads:
    """VGG-`depth` with BatchNorm for 32 x 32 images; one linear layer a head in place of the three fully connected ones.

    Args:
        depth: 11, 13, 16 or 19 (the name's count, which includes the three fully connected layers that are not here).

    Raises:
        ValueError: `depth` is none of these.
    """
    if depth not in CONVOLUTIONS:
        raise ValueError(f"depth must be one of {', '.join(map(str, CONVOLUTIONS))}, got {depth}")
    return TwoHeads(nn.Sequential(*_layers(CONVOLUTIONS[depth]), nn.AdaptiveAvgPool2d(1), nn.Flatten()), features=CHANNELS[-1])


def _layers(convolutions: tuple[int, ...]) -> Iterator[nn.Module]:
    in_channels = 3
    for count, channels in zip(convolutions, CHANNELS, strict=True):
        for _ in range(count):
            yield from (nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
            in_channels = channels
        yield nn.MaxPool2d(2)

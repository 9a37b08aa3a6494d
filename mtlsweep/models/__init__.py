"""Networks for 32 x 32 images: one shared trunk, two linear heads."""

from mtlsweep.models.resnet import resnet
from mtlsweep.models.two_heads import TwoHeads
from mtlsweep.models.vgg import vgg_bn

__all__ = ["TwoHeads", "resnet", "vgg_bn"]

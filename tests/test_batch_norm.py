"""BatchNorm that is counted by the epoch."""

from dataclasses import replace

import pytest
import torch
from recorded import CPU, built_in_images, ended, make, plain_engine
from torch import nn

from mtlsweep.models import resnet
from mtlsweep.train.batch_norm import CountedByEpoch, count, count_by_epoch
from mtlsweep.train.build import build_trainer
from mtlsweep.train.steps import Moment


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("tracks", [True, False])
def test_it_computes_and_learns_what_torchs_does(training: bool, tracks: bool) -> None:
    theirs, ours = (nn.BatchNorm2d(3).train(training) for _ in range(2))
    count_by_epoch(ours)
    assert type(ours) is CountedByEpoch
    theirs.track_running_stats = ours.track_running_stats = tracks
    images = drawn(4, 3, 5, 5) * 3 + 1
    assert ours(images).equal(theirs(images))
    assert ours(images).equal(theirs(images))
    count(ours, 2 if training and tracks else 0)
    assert all(value.equal(theirs.state_dict()[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3, track_running_stats=False), nn.BatchNorm1d(3), nn.SyncBatchNorm(3)]
)
def test_other_layers_count_themselves(layer: nn.Module) -> None:
    before = type(layer)
    count_by_epoch(layer)
    count(layer, 1)
    assert type(layer) is before


@pytest.mark.parametrize("name", ["equal", "pcgrad", "famo"])
def test_a_trained_network_has_counted_its_mini_batches(name: str) -> None:
    schedule = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "batch_size": 30}
    model = resnet(8, 2)
    trainer = build_trainer(model, make(name), built_in_images(CPU), replace(plain_engine(CPU), graph=False), schedule, seed=1)
    for epoch in range(2):
        ended(trainer.steps(Moment(epoch, 3, 1.0), lambda: None))
        ended(trainer.evaluate(trainer.data.test))
    counted = [value.item() for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")]
    assert counted == [8] * 7

"""Data: the synthetic stand-in, CIFAR-100 where its files are, class-balanced subsets, and the augmentation."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import needs_real_data, real_data
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.datasets import cifar
from torchvision.transforms import functional as reference

from mtlsweep.config import DataConfig
from mtlsweep.data import Augmentation, Split, cifar100, load, normalize, synthetic
from mtlsweep.data.dataset import balanced_order
from mtlsweep.errors import UserError
from mtlsweep.randomness import stream

SMALL = DataConfig(name="synthetic", seed=0, train_size=500, test_size=200)


@pytest.fixture(scope="module")
def splits() -> tuple[Split, Split]:
    """2,300 training images (two chunks and a part) and 1,000 test images."""
    return synthetic.generate(0, 2300, 1000)


def rows(split: Split) -> set[bytes]:
    """The images as byte strings, to tell them apart by content."""
    return {image.numpy().tobytes() for image in split.images}


def counts(labels: torch.Tensor, classes: int = 100) -> list[int]:
    """How often each class occurs."""
    return torch.bincount(labels, minlength=classes).tolist()


def same(one: Split, other: Split) -> bool:
    """Whether two splits hold equal images and labels in the same order."""
    return torch.equal(one.images, other.images) and torch.equal(one.fine, other.fine) and torch.equal(one.coarse, other.coarse)


class TestSynthetic:
    def test_shapes_and_types(self, splits: tuple[Split, Split]) -> None:
        for split, size in zip(splits, (2300, 1000), strict=True):
            assert len(split) == size
            assert split.images.shape == (size, 32, 32, 3)
            assert split.images.dtype == torch.uint8
            assert split.fine.shape == split.coarse.shape == (size,)
            assert split.fine.dtype == split.coarse.dtype == torch.int64

    def test_five_fine_classes_share_a_coarse_one(self, splits: tuple[Split, Split]) -> None:
        for split in splits:
            assert torch.equal(split.coarse, split.fine // 5)
            assert counts(split.coarse, 20) == [len(split) // 20] * 20

    def test_every_hundred_images_hold_each_fine_class_once(self, splits: tuple[Split, Split]) -> None:
        for split in splits:
            assert torch.equal(split.fine.view(-1, 100).sort(dim=1).values, torch.arange(100).expand(len(split) // 100, 100))

    @pytest.mark.parametrize("size", [1, 500, 999, 1000, 1001])
    def test_a_small_set_is_the_start_of_a_larger_one(self, splits: tuple[Split, Split], size: int) -> None:
        small = synthetic.generate(0, size, 0)[0]
        assert same(small, splits[0].take(np.arange(size)))

    def test_the_sizes_default_to_those_of_cifar100(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert (synthetic.TRAIN_SIZE, synthetic.TEST_SIZE) == (50_000, 10_000)
        monkeypatch.setattr(synthetic, "TRAIN_SIZE", 200)
        monkeypatch.setattr(synthetic, "TEST_SIZE", 100)
        assert [len(split) for split in synthetic.generate(0, None, None)] == [200, 100]

    def test_a_size_of_one_split_leaves_the_other_as_it_is(self, splits: tuple[Split, Split]) -> None:
        assert same(synthetic.generate(0, 1, 1000)[1], splits[1])

    def test_the_images_are_pinned(self, splits: tuple[Split, Split]) -> None:
        """A change here changes every number measured on synthetic data: it must be a decision, never an accident."""
        digest = hashlib.sha256(splits[0].images[:1000].numpy().tobytes()).hexdigest()
        assert digest == "2e8846a1756c381cbe69614fa53d7ab389d68396c68c387753b1a8797fca4c21"

    def test_another_seed_gives_other_images_and_classes(self, splits: tuple[Split, Split]) -> None:
        other = synthetic.generate(1, 1000, 0)[0]
        assert not rows(other) & rows(splits[0])
        assert (class_means(other) - class_means(splits[0])).abs().mean() > 20

    def test_no_image_occurs_twice(self, splits: tuple[Split, Split]) -> None:
        assert len(rows(splits[0]) | rows(splits[1])) == 3300

    def test_training_and_test_show_the_same_classes(self, splits: tuple[Split, Split]) -> None:
        distances = torch.cdist(class_means(splits[1]), class_means(splits[0]))
        assert torch.equal(distances.argmin(dim=1), torch.arange(100))

    def test_fine_classes_of_one_coarse_class_resemble_each_other(self, splits: tuple[Split, Split]) -> None:
        means = class_means(splits[0])
        distances = torch.cdist(means, means)
        coarse = torch.arange(100) // 5
        related = (coarse[:, None] == coarse) & ~torch.eye(100, dtype=torch.bool)
        unrelated = coarse[:, None] != coarse
        assert distances[related].mean() < 0.6 * distances[unrelated].mean()

    def test_a_flip_leaves_a_class_what_it_was(self, splits: tuple[Split, Split]) -> None:
        train, test = splits
        flipped = Split(test.images.flip(2), test.fine, test.coarse)
        distances = torch.cdist(class_means(flipped), class_means(train))
        assert torch.equal(distances.argmin(dim=1), torch.arange(100))

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_mean_and_std_are_those_of_the_images(self, seed: int) -> None:
        pixels = synthetic.generate(seed, 1000, 0)[0].images.double() / 255
        assert pixels.mean((0, 1, 2)).tolist() == pytest.approx(synthetic.MEAN, abs=0.03)
        assert pixels.std((0, 1, 2)).tolist() == pytest.approx(synthetic.STD, abs=0.03)


def class_means(split: Split) -> torch.Tensor:
    """Mean image of each fine class, `(100, 3072)`."""
    by_class = split.images[split.fine.argsort()].float().view(100, -1, 3072)
    return by_class.mean(1)


class TestBalancedOrder:
    LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 7))

    def test_it_is_a_permutation(self) -> None:
        assert sorted(balanced_order(self.LABELS, stream(0, "test"))) == list(range(70))

    def test_every_prefix_holds_each_class_equally_often(self) -> None:
        order = balanced_order(self.LABELS, stream(0, "test"))
        for size in range(1, 71):
            occurrences = np.bincount(self.LABELS[order[:size]], minlength=10)
            assert occurrences.max() - occurrences.min() <= 1

    def test_a_class_that_runs_out_leaves_the_rest_balanced(self) -> None:
        labels = np.array([0, 0, 0, 0, 1, 2, 2, 2, 2])
        order = balanced_order(labels, stream(0, "test"))
        assert sorted(labels[order[:3]]) == [0, 1, 2]
        assert sorted(labels[order[3:5]]) == [0, 2]
        assert sorted(order) == list(range(9))

    def test_the_generator_decides_which_samples_come_first(self) -> None:
        first = balanced_order(self.LABELS, stream(0, "test"))
        assert np.array_equal(balanced_order(self.LABELS, stream(0, "test")), first)
        assert set(balanced_order(self.LABELS, stream(1, "test"))[:10]) != set(first[:10])


def tiny_cifar() -> tuple[Split, Split]:
    """Stands in for the files of CIFAR-100: 2,000 training and 1,000 test images, in another order than the synthetic ones."""
    train, test = synthetic.generate(99, 2000, 1000)
    return train.take(np.random.default_rng(0).permutation(2000)), test


class TestLoad:
    @pytest.fixture
    def cifar(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DataConfig:
        """A configuration of CIFAR-100 whose files are `tiny_cifar`; a root of its own keeps other tests from what is cached here."""
        monkeypatch.setattr(cifar100, "read", lambda root, download: tiny_cifar())
        return DataConfig(name="cifar100", root=str(tmp_path), download=False, seed=0)

    def test_synthetic_data_comes_with_its_statistics(self) -> None:
        data = load(SMALL)
        assert (data.mean, data.std) == (synthetic.MEAN, synthetic.STD)
        assert same(data.train, synthetic.generate(0, 500, 200)[0])
        assert same(data.test, synthetic.generate(0, 500, 200)[1])

    def test_cifar100_comes_with_its_statistics(self, cifar: DataConfig) -> None:
        data = load(cifar)
        assert (data.mean, data.std) == (cifar100.MEAN, cifar100.STD)

    def test_all_images_are_used_unless_a_size_is_given(self, cifar: DataConfig) -> None:
        data = load(cifar)
        assert same(data.train, tiny_cifar()[0])
        assert same(data.test, tiny_cifar()[1])
        assert data.validation is None

    def test_subsets_are_balanced(self, cifar: DataConfig) -> None:
        data = load(replace(cifar, train_size=500, test_size=300))
        assert counts(data.train.fine) == [5] * 100
        assert counts(data.test.fine) == [3] * 100

    def test_subsets_keep_images_and_labels_together(self, cifar: DataConfig) -> None:
        everything = tiny_cifar()[0]
        label_of = {image.numpy().tobytes(): label for image, label in zip(everything.images, everything.fine.tolist(), strict=True)}
        train = load(replace(cifar, train_size=500)).train
        assert [label_of[image.numpy().tobytes()] for image in train.images] == train.fine.tolist()
        assert torch.equal(train.coarse, train.fine // 5)

    def test_the_data_seed_decides_the_subset(self, cifar: DataConfig) -> None:
        config = replace(cifar, train_size=500)
        first = load(config).train
        other = load(replace(config, seed=1)).train
        assert same(load(config).train, first)
        assert rows(other) != rows(first)

    def test_a_smaller_subset_is_part_of_a_larger_one(self, cifar: DataConfig) -> None:
        assert rows(load(replace(cifar, train_size=200)).train) < rows(load(replace(cifar, train_size=500)).train)

    def test_a_subset_larger_than_the_set_is_the_users_error(self, cifar: DataConfig) -> None:
        with pytest.raises(UserError, match=r"data\.train_size=2001: the train set has 2000 images"):
            load(replace(cifar, train_size=2001))
        with pytest.raises(UserError, match=r"data\.test_size=1001: the test set has 1000 images"):
            load(replace(cifar, test_size=1001))

    def test_the_validation_part_is_balanced_and_taken_from_the_training_set(self) -> None:
        whole, data = load(SMALL), load(replace(SMALL, validation=100))
        assert data.validation is not None
        assert counts(data.validation.fine) == [1] * 100
        assert counts(data.train.fine) == [4] * 100
        assert not rows(data.validation) & rows(data.train)
        assert rows(data.validation) | rows(data.train) == rows(whole.train)
        assert same(data.test, whole.test)

    def test_the_last_data_set_is_kept(self) -> None:
        assert load(SMALL) is load(replace(SMALL))

    def test_a_home_folder_is_understood(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        asked: list[Path] = []

        def read(root: Path, download: bool) -> tuple[Split, Split]:
            asked.append(root)
            return tiny_cifar()

        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(cifar100, "read", read)
        load(DataConfig(name="cifar100", root="~/data"))
        assert asked == [(tmp_path / "data").resolve()]


class TestAugmentation:
    MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8))
    CORNERS = torch.tensor([(down, right, flip) for down in (0, 4, 8) for right in (0, 4, 8) for flip in (0, 1)]).T

    def reference(self, index: int, code: tuple[int, int, int]) -> torch.Tensor:
        """What torchvision makes of one image, given the same offsets."""
        down, right, flip = code
        image = reference.pad(reference.to_pil_image(self.IMAGES[index].numpy()), 4)
        image = reference.crop(image, down, right, 32, 32)
        image = reference.hflip(image) if flip else image
        return reference.normalize(reference.to_tensor(image), self.MEAN, self.STD)

    def normalized(self, images: torch.Tensor) -> torch.Tensor:
        return normalize(images, torch.tensor(255.0), torch.tensor(self.MEAN).view(3, 1, 1), torch.tensor(self.STD).view(3, 1, 1))

    @pytest.mark.parametrize("codes", [CORNERS, Augmentation.draw(40, stream(0, "test"))], ids=["corners", "drawn"])
    def test_it_equals_torchvision_bit_for_bit(self, codes: torch.Tensor) -> None:
        indices = torch.from_numpy(np.random.default_rng(1).permutation(40)[: codes.shape[1]])
        ours = self.normalized(Augmentation(self.IMAGES).batch(indices, codes))
        expected = [self.reference(index, tuple(code)) for index, code in zip(indices.tolist(), codes.T.tolist(), strict=True)]
        assert torch.equal(ours, torch.stack(expected))

    def test_no_image_is_divided_by_a_number_of_the_hosts(self) -> None:
        """Which a GPU would do otherwise than torchvision."""
        divisors: list[object] = []

        class Divisions(TorchDispatchMode):
            def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
                divisors.extend(arguments[1:] if "div" in operation._schema.name else ())
                return operation(*arguments, **(options or {}))

        with Divisions():
            self.normalized(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
        assert [type(divisor) for divisor in divisors] == [torch.Tensor, torch.Tensor]
        with Divisions():
            torch.zeros(1).div_(255)
        assert divisors[2:] == [255]

    def test_the_middle_crop_is_the_image_itself(self) -> None:
        codes = torch.tensor([4, 4, 0])[:, None].expand(3, 40)
        assert torch.equal(Augmentation(self.IMAGES).batch(torch.arange(40), codes), self.IMAGES.permute(0, 3, 1, 2))

    def test_a_batch_stays_uint8_and_leaves_the_images_alone(self) -> None:
        before = self.IMAGES.clone()
        batch = Augmentation(self.IMAGES).batch(torch.tensor([3, 3, 7]), Augmentation.draw(3, stream(0, "test")))
        assert batch.shape == (3, 3, 32, 32)
        assert batch.dtype == torch.uint8
        self.normalized(batch)
        assert torch.equal(self.IMAGES, before)

    def test_offsets_and_flips_are_uniform(self) -> None:
        down, right, flip = Augmentation.draw(9000, stream(0, "augment"))
        for offsets in (down, right):
            assert min(counts(offsets, 9)) > 850
            assert len(counts(offsets, 9)) == 9
        assert 4300 < flip.sum() < 4700
        assert set(flip.tolist()) == {0, 1}

    def test_draws_are_found_by_their_key(self) -> None:
        first = Augmentation.draw(100, stream(0, "augment", 1))
        assert first.shape == (3, 100)
        assert first.dtype == torch.int64
        assert torch.equal(Augmentation.draw(100, stream(0, "augment", 1)), first)
        assert not torch.equal(Augmentation.draw(100, stream(0, "augment", 2)), first)


class TestMissingFiles:
    @pytest.fixture
    def config(self, tmp_path: Path) -> DataConfig:
        return DataConfig(name="cifar100", root=str(tmp_path / "nowhere"), download=False)

    def test_missing_files_are_the_users_error(self, config: DataConfig) -> None:
        with pytest.raises(UserError, match="not found") as raised:
            load(config)
        message = str(raised.value)
        assert "data=synthetic" in message
        assert config.root in message
        assert "\n" not in message

    @pytest.mark.parametrize("failure", [OSError("no route to host\nsecond line"), OSError(), RuntimeError("File not found or corrupted.")])
    def test_a_failed_download_is_the_users_error(self, config: DataConfig, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
        def fail(*args: object, **options: object) -> None:
            raise failure

        monkeypatch.setattr(cifar, "download_and_extract_archive", fail)
        with pytest.raises(UserError, match="the download failed") as raised:
            load(replace(config, download=True))
        assert "data=synthetic" in str(raised.value)
        assert "\n" not in str(raised.value)
        assert raised.value.__cause__ is failure

    def test_nothing_is_downloaded_unless_asked_for(self, config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cifar, "download_and_extract_archive", lambda *args, **options: pytest.fail("downloaded"))
        with pytest.raises(UserError, match=r"data\.download is false"):
            load(config)


@pytest.fixture(scope="module")
def real() -> tuple[Split, Split]:
    """Training and test split of CIFAR-100."""
    root = real_data()
    assert root is not None
    return cifar100.read(root, download=False)


@needs_real_data
class TestCifar100:
    def test_every_class_is_equally_frequent(self, real: tuple[Split, Split]) -> None:
        for split, size in zip(real, (50_000, 10_000), strict=True):
            assert split.images.shape == (size, 32, 32, 3)
            assert split.images.dtype == torch.uint8
            assert counts(split.fine) == [size // 100] * 100
            assert counts(split.coarse, 20) == [size // 20] * 20

    def test_five_fine_classes_share_a_coarse_one(self, real: tuple[Split, Split]) -> None:
        pairs = {pair for split in real for pair in zip(split.fine.tolist(), split.coarse.tolist(), strict=True)}
        assert len(pairs) == 100
        assert counts(torch.tensor([coarse for _, coarse in pairs]), 20) == [5] * 20

    def test_mean_and_std_are_those_of_the_training_set(self, real: tuple[Split, Split]) -> None:
        histograms = [torch.bincount(channel.flatten().int(), minlength=256).double() for channel in real[0].images.unbind(3)]
        values = torch.arange(256).double() / 255
        means = [(histogram @ values / histogram.sum()).item() for histogram in histograms]
        stds = [
            ((histogram @ (values - mean) ** 2) / histogram.sum()).sqrt().item() for histogram, mean in zip(histograms, means, strict=True)
        ]
        assert means == pytest.approx(cifar100.MEAN, abs=1e-3)
        assert stds == pytest.approx(cifar100.STD, abs=1e-3)

    def test_a_damaged_file_is_the_users_error(self, tmp_path: Path) -> None:
        root = real_data()
        assert root is not None
        folder = tmp_path / "cifar-100-python"
        folder.mkdir()
        for name in ("train", "meta"):
            (folder / name).symlink_to(root.absolute() / "cifar-100-python" / name)
        content = bytearray((root.absolute() / "cifar-100-python" / "test").read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "test").write_bytes(content)
        with pytest.raises(UserError, match="damaged") as raised:
            load(DataConfig(name="cifar100", root=str(tmp_path), download=False))
        assert "data=synthetic" in str(raised.value)
        assert "\n" not in str(raised.value)

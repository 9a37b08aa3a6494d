"""Training loops as tutorials have them, and the same without the loader: what the engine is measured against."""

from collections.abc import Callable

import torch
from PIL import Image
from torch.nn import functional
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from benchmarks import subjects
from benchmarks.timing import Subject
from mtlsweep.data import Dataset, Split
from mtlsweep.train.host_memory import give_freed_memory_back

# Per-batch evaluation as tutorials have it: the training loop's batch.
EVAL_BATCH = 128


class PILImages(TorchDataset[tuple[torch.Tensor, int, int]]):
    """Images that become PIL images when they are asked for, as torchvision's CIFAR classes do it."""

    def __init__(self, split: Split, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.images = split.images.numpy()
        self.fine, self.coarse = split.fine.tolist(), split.coarse.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        return self.transform(Image.fromarray(self.images[index])), self.fine[index], self.coarse[index]


def pil_transforms(dataset: Dataset) -> Callable[[Image.Image], torch.Tensor]:
    """The recipe's augmentation through torchvision."""
    return transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(dataset.mean, dataset.std),
        ]
    )


def usual_loop(network: str, device: torch.device, batch: int, workers: int) -> Subject:
    """PIL transforms, DataLoader, fp32, the loss and the accuracy read in every step.

    The workers live on between epochs, which is faster than tutorials have it: an epoch here is a few steps.
    """

    def prepare(steps: int) -> Callable[[], object]:
        images = subjects.dataset(steps * batch)
        pil_images = PILImages(images.train, pil_transforms(images))
        loader = DataLoader(
            pil_images, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0, pin_memory=device.type == "cuda"
        )
        model = subjects.network(network).to(device)
        optimizer = subjects.optimizer(model)

        def epoch() -> float:
            as_torch_has_it()
            model.train()
            running_loss, correct = 0.0, 0
            for inputs, fine, coarse in loader:
                inputs, fine, coarse = inputs.to(device), fine.to(device), coarse.to(device)
                optimizer.zero_grad()
                fine_logits, coarse_logits = model(inputs)
                loss = cross_entropy(fine_logits, fine) + cross_entropy(coarse_logits, coarse)
                loss.backward()
                optimizer.step()
                running_loss += loss.item()
                correct += (fine_logits.argmax(1) == fine).sum().item()
            return running_loss

        return epoch

    return Subject(prepare)


def plain_loop(network: str, device: torch.device, batch: int) -> Subject:
    """The same recipe on tensors in the device's memory: fp32, torch's own layout, no loader, nothing read before the end."""

    def prepare(steps: int) -> Callable[[], object]:
        images, fine, coarse = tensors(subjects.dataset(steps * batch), device)
        model = subjects.network(network).to(device)
        optimizer = subjects.optimizer(model)

        def epoch() -> float:
            as_torch_has_it()
            model.train()
            total = torch.zeros((), device=device)
            for indices in torch.randperm(len(images), device=device).split(batch):
                fine_logits, coarse_logits = model(crop_and_flip(images[indices]))
                loss = cross_entropy(fine_logits, fine[indices]) + cross_entropy(coarse_logits, coarse[indices])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach()
            return total.item()

        return epoch

    return Subject(prepare)


def plain_evaluation(network: str, device: torch.device) -> Subject:
    """Accuracy on tensors in the device's memory: fp32, torch's own layout. One step is one image."""

    def prepare(count: int) -> Callable[[], object]:
        dataset = subjects.dataset(1, count)
        images, fine = normalized(dataset.test, dataset).to(device), dataset.test.fine.to(device)
        model = subjects.network(network).to(device)

        def evaluate() -> float:
            as_torch_has_it()
            model.eval()
            with torch.no_grad():
                pairs = zip(images.split(EVAL_BATCH), fine.split(EVAL_BATCH), strict=True)
                correct = [(model(inputs)[0].argmax(1) == labels).sum() for inputs, labels in pairs]
            return torch.stack(correct).sum().item() / count

        return evaluate

    return Subject(prepare)


def tensors(dataset: Dataset, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalised training images `(N, 3, 32, 32)` and both labels `(N,)` on a device."""
    return normalized(dataset.train, dataset).to(device), dataset.train.fine.to(device), dataset.train.coarse.to(device)


def normalized(split: Split, dataset: Dataset) -> torch.Tensor:
    """A split's images as float32 `(N, 3, 32, 32)`, contiguous."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (dataset.mean, dataset.std))
    return ((split.images.permute(0, 3, 1, 2) / 255 - mean) / std).contiguous()


def crop_and_flip(images: torch.Tensor) -> torch.Tensor:
    """Each image `(B, 3, 32, 32)` cropped at its own offset after zero padding by 4, and half of them flipped."""
    count, device = len(images), images.device
    padded = functional.pad(images, (4, 4, 4, 4))
    offsets = torch.randint(0, 9, (2, count, 1), device=device) + torch.arange(32, device=device)
    columns = torch.where(torch.rand(count, 1, device=device) < 0.5, offsets[1], offsets[1].flip(1))
    every = torch.arange(count, device=device)[:, None, None]
    return padded[every, :, offsets[0][:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def as_torch_has_it() -> None:
    """Undo what the engine sets for the whole process."""
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = True  # in convolutions, where a GPU can
    give_freed_memory_back()

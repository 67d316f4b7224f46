"""The loops that people write by hand, as the baselines of `bench_study.py` and `bench_throughput.py`.

One net after another, a DataLoader, contiguous NCHW images, PyTorch's default threads, `.item()` in the loop, an
evaluation on both splits after every epoch. Nets, initial weights, recipe and number of steps are those of the study.
Two ways to feed them:

- `tutorial`: torchvision's transforms image by image in two worker processes, as in PyTorch's own tutorial "Training a
  classifier" (`num_workers=2`).
- `lean`: tensors normalized beforehand, a shift drawn image by image, in the training process (`num_workers=0`), as
  somebody writes it who knows that these images are small.

For CIFAR-10's size, on a GPU too, `pictures` is the loader and `LOOPS` has two ways to train on it, without evaluation:
the usual one, and one with the three lines that speed it up.
"""

from dataclasses import dataclass
from itertools import repeat

import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from deeptwins import nets
from deeptwins.train import optimization


class Transformed(Dataset):
    """Images, as PIL or as tensors, which are transformed when they are loaded."""

    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        """Count the images."""
        return len(self.labels)

    def __getitem__(self, i):
        """Transform image i."""
        return self.transform(self.images[i]), self.labels[i]


def tutorial(dataset, recipe):
    """Make the three loaders, train, clean train and test, as the tutorial does."""
    splits = [
        ([Image.fromarray(image[0].numpy()) for image in split.images.pixels], split.labels.tolist())
        for split in (dataset.train, dataset.test)
    ]
    pixels = dataset.train.images.pixels / 255
    clean = transforms.Compose([transforms.ToTensor(), transforms.Normalize([pixels.mean()], [pixels.std()])])
    crop = transforms.RandomCrop(dataset.image[1:], padding=recipe.shift)
    return loaders(splits, transforms.Compose([crop, clean]), clean, recipe, workers=2)


def lean(dataset, recipe):
    """Make the same loaders over tensors, in this process."""
    pixels = dataset.train.images.pixels / 255
    splits = [
        ((split.images.pixels / 255 - pixels.mean()) / pixels.std(), split.labels)
        for split in (dataset.train, dataset.test)
    ]
    height, width = dataset.image[1:]

    def shifted(image):
        down, right = torch.randint(0, 2 * recipe.shift + 1, (2,)).tolist()
        return F.pad(image, (recipe.shift,) * 4)[:, down : down + height, right : right + width]

    return loaders(splits, shifted, lambda image: image, recipe, workers=0)


def loaders(splits, augment, clean, recipe, workers):
    """Make the loaders of augmented training images, of clean ones, and of test images."""
    train, test = splits
    return (
        DataLoader(Transformed(*train, augment), recipe.batch_size, shuffle=True, num_workers=workers),
        DataLoader(Transformed(*train, clean), recipe.batch_size, num_workers=workers),
        DataLoader(Transformed(*test, clean), recipe.batch_size, num_workers=workers),
    )


def pictures(dataset, recipe, workers, *, pinned=False):
    """Make the loader of training images of the usual examples for CIFAR-10: PIL images, transformed one by one.

    The last batch of an epoch is dropped, so that all batches have one size.
    """
    pixels = dataset.train.images.pixels
    by_channel = pixels.transpose(0, 1).flatten(1) / 255
    transform = transforms.Compose(
        [
            Image.fromarray,
            transforms.RandomCrop(dataset.image[1:], padding=recipe.shift),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(by_channel.mean(1).tolist(), by_channel.std(1).tolist()),
        ]
    )
    images = Transformed(pixels.permute(0, 2, 3, 1).contiguous().numpy(), dataset.train.labels.tolist(), transform)
    return DataLoader(
        images, recipe.batch_size, shuffle=True, num_workers=workers, pin_memory=pinned, drop_last=True
    )  # fmt: skip


@dataclass(frozen=True)
class Loop:
    """A way to train a net by hand."""

    layout: torch.memory_format = torch.contiguous_format
    autocast: bool = False
    """To bf16."""
    compiled: bool = False

    @property
    def precision(self):
        """What a recipe calls it."""
        return "bf16" if self.autocast else "tf32"  # of convolutions on a GPU, as PyTorch has it

    def steps(self, net, recipe, batches, backend="inductor"):
        """Train a net without end; yields loss and errors of each batch.

        Args:
            net: on the device where it is to be trained.
            recipe: of its optimizer.
            batches: a loader, iterated over again and again.
            backend: of `torch.compile`, if the loop compiles.
        """
        device = next(net.parameters()).device
        net = net.to(memory_format=self.layout).train()
        optimizer, scheduler = optimized(net, recipe)
        model = torch.compile(net, backend=backend) if self.compiled else net
        for loader in repeat(batches):
            for x, y in loader:
                x = x.to(device, memory_format=self.layout, non_blocking=True)  # noqa: PLW2901  as people write it
                y = y.to(device, non_blocking=True)  # noqa: PLW2901
                with torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
                    logits = model(x)
                    loss = F.cross_entropy(logits, y)
                yield step(optimizer, scheduler, logits, loss, y)


LOOPS = {
    "usual": Loop(),
    "compiled": Loop(torch.channels_last, autocast=True, compiled=True),
}


def optimized(net, recipe):
    """Make the optimizer and the scheduler of a net."""
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: optimization.learning_rate(recipe, t) / recipe.learning_rate
    )


def step(optimizer, scheduler, logits, loss, y):
    """Follow the gradient of a loss; return the loss and how many logits were wrong, as numbers."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss.item(), (logits.argmax(1) != y).sum().item()


def train(net, recipe, batches, *clean):
    """Train one net; return its last errors in percent on the clean loaders."""
    optimizer, scheduler = optimized(net, recipe)
    iteration, errors = 0, []
    while iteration < recipe.iterations:
        net.train()
        total_loss = total_errors = 0
        for x, y in batches:
            logits = net(x)
            loss, wrong = step(optimizer, scheduler, logits, F.cross_entropy(logits, y), y)
            total_loss += loss
            total_errors += wrong
            iteration += 1
            if iteration == recipe.iterations:
                break
        net.eval()
        with torch.no_grad():
            errors = [
                100 * sum((net(x).argmax(1) != y).sum().item() for x, y in loader) / len(loader.dataset)
                for loader in clean
            ]
    return errors


def train_study(runs, dataset, feed):
    """Train every net of every run, one after another, with `feed`'s loaders; return their errors."""
    return [
        train(nets.build(spec, dataset.image[0], dataset.classes, run.seed), run.recipe, *feed(dataset, run.recipe))
        for run in runs
        for spec in run.twins.values()
    ]

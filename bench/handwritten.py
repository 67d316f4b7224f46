"""The loop that people write by hand, as the baseline of `bench_study.py`.

One net after another, a DataLoader, contiguous NCHW images, PyTorch's default threads, `.item()` in the loop, an
evaluation on both splits after every epoch. Nets, initial weights, recipe and number of steps are those of the study.
Two ways to feed it:

- `tutorial`: torchvision's transforms image by image in two worker processes, as in PyTorch's own tutorial "Training a
  classifier" (`num_workers=2`).
- `lean`: tensors normalized beforehand, a shift drawn image by image, in the training process (`num_workers=0`): what
  somebody writes who knows that these images are small.
"""

import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from deeptwins import nets, optimization


class Transformed(Dataset):
    """Images as PIL or tensors, each put through a transform when it is asked for."""

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


def train(net, recipe, batches, *clean):
    """Train one net; return its last errors in percent on the clean loaders."""
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: optimization.learning_rate(recipe, t) / recipe.learning_rate
    )
    iteration, errors = 0, []
    while iteration < recipe.iterations:
        net.train()
        total_loss = total_errors = 0
        for x, y in batches:
            logits = net(x)
            loss = F.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total_loss += loss.item()
            total_errors += (logits.argmax(1) != y).sum().item()
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

"""What is measured of twins in training: their errors, their gradients, and in the end what is inside them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.errors import noting
from deeptwins.nets import diagnostics
from deeptwins.records import Record
from deeptwins.train.optimization import learning_rate
from deeptwins.train.training import Training, counts

# Images at once, by device: on a GPU large enough that the GPU, not the host, is the bottleneck.
EVALUATION_BATCH = {"cpu": 500, "cuda": 2500}
# Precise statistics must cost little: they are measured over the last 2048 images, and in a short run over fewer, one
# batch for every 40 iterations.
PRECISE_IMAGES, PRECISE_EVERY = 2048, 40


def evaluate(training: Training) -> Iterator[Record]:
    """Measure every twin on all splits in evaluation mode, and start the running sums anew.

    A twin whose loss is no longer finite has diverged: its errors are 100 %, and it is trained no further.
    """
    splits, sums = training.stream.dataset.splits, {}
    # All twins are issued before the host waits for the first of them.
    for name, twin in training.twins.items():
        if twin.diverged_at is None:
            with noting(f"twin {name}"), twin.lane:
                sums[name] = torch.stack([twin.seen, *(clean(training, twin.net, split) for split in splits)])
                twin.seen.zero_()
    for name, on_device in sums.items():
        twin = training.twins[name]
        with twin.lane:
            measured = dict(zip(("running", *splits), on_device.cpu().tolist(), strict=True))
        record: Record = {
            "kind": "epoch",
            "iteration": training.iteration,
            "epoch": round(training.stream.epochs(training.iteration), 3),
            "twin": name,
        }
        for what in ("train", "running", *(split for split in splits if split != "train")):
            images, errors, loss = measured[what]
            record[f"{what}_error_pct"] = 100.0 * errors / images
            record[f"{what}_loss"] = loss / images if math.isfinite(loss) else None
        record["learning_rate"] = learning_rate(training.run.recipe, training.iteration - 1)
        if record["train_loss"] is None or record["running_loss"] is None:
            twin.diverged_at = training.iteration
            record |= {f"{what}_error_pct": 100.0 for what in measured}
        twin.error_pct = record["train_error_pct"]
        yield record


def gradients(training: Training) -> Iterator[Record]:
    """Measure the gradient that the last step left in every layer of the twins that have not diverged."""
    for name, twin in training.twins.items():
        if twin.diverged_at is None:
            with twin.lane:
                norms = diagnostics.gradient_norms(twin.net)
            yield {"kind": "gradient", "iteration": training.iteration, "twin": name, "norms": norms}


def diagnose(training: Training) -> Iterator[Record]:
    """Look inside the trained twins: over the test split, and over the last batches that were trained on."""
    most = math.ceil(PRECISE_IMAGES / training.run.recipe.batch_size)
    batches = min(most, math.ceil(training.iteration / PRECISE_EVERY))
    latest = range(training.iteration - batches, training.iteration)
    for name, twin in training.twins.items():
        if twin.diverged_at is None:
            test = training.stream.clean("test", images_at_once(training))
            count = partial(clean, training, twin.net, "test")
            with noting(f"twin {name}"), twin.lane, training.precision():
                rows = list(diagnostics.look(twin.net, test, map(training.stream.batch, latest), count))
            for row in rows:
                yield {"kind": row["kind"], "iteration": training.iteration, "twin": name} | row


@torch.inference_mode()
def clean(training: Training, net: nn.Module, split: str) -> Tensor:
    """Sum up a split in evaluation mode, without augmentation: images, errors, loss, float64 (3,) on the device."""
    net.eval()
    total = torch.zeros(3, dtype=torch.float64, device=training.device)
    for x, y in training.stream.clean(split, images_at_once(training)):
        with training.precision():
            logits = net(x)
        total += counts(logits, y, F.cross_entropy(logits.float(), y))
    return total


def images_at_once(training: Training) -> int:
    """How many images are evaluated at once."""
    return EVALUATION_BATCH[training.device.type]

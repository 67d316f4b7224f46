"""Tests of the batch stream."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from deeptwins.data import Dataset, Split, load
from deeptwins.data.datasets import checksum
from deeptwins.data.images import Resident
from deeptwins.data.stream import Stream, crop, statistics
from deeptwins.study.specs import Recipe

CPU = torch.device("cpu")


def made(count, channels=1, height=2, width=3):
    """Make a dataset whose label is the image's number, and whose pixels depend on it."""
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)
    split = Split(torch.arange(count), Resident(pixels))
    return Dataset("made", split, split, count, (channels, height, width), checksum(split, split))


def recipe(batch_size=4, **fields):
    """Fill in what every recipe must have."""
    return Recipe.model_validate(
        {"dataset": "made", "iterations": 1, "batch_size": batch_size, "learning_rate": 0.1, **fields}
    )


def equal(one, other):
    """Compare two batches bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@given(
    count=st.integers(1, 40), batch_size=st.integers(1, 100), epochs=st.integers(1, 4), seed=st.integers(0, 2**63 - 1)
)
def test_each_epoch_visits_each_image_once(count, batch_size, epochs, seed):
    """Batches have one size, and cut into epochs their images are permutations of the train set, also when B > N."""
    stream = Stream(made(count), recipe(batch_size), seed, CPU)
    labels = [stream.batch(t)[1] for t in range(-(-count * epochs // batch_size))]
    assert {len(label) for label in labels} == {batch_size}
    for epoch in torch.cat(labels)[: count * epochs].split(count):
        assert sorted(epoch.tolist()) == list(range(count))


def test_epochs_are_shuffled_anew_and_by_seed():
    """Another epoch, like another seed, has another order."""
    orders = [
        tuple(Stream(made(50), recipe(50), seed, CPU).batch(t)[1].tolist())
        for seed, t in [(0, 0), (0, 1), (1, 0), (1, 1)]
    ]
    assert len(set(orders)) == 4
    assert tuple(range(50)) not in orders


@given(
    order=st.permutations(range(12)),
    batch_size=st.sampled_from([3, 8, 30]),
    shift=st.integers(0, 2),
    flip=st.booleans(),
)
def test_a_batch_is_a_function_of_seed_and_iteration(*, order, batch_size, shift, flip):
    """Batch t is the same bit for bit in any order of calls, and in a stream made afresh."""
    dataset, chosen = made(10), recipe(batch_size, shift=shift, flip=flip)
    forward = Stream(dataset, chosen, 7, CPU)
    expected = [forward.batch(t) for t in range(12)]
    jumping = Stream(dataset, chosen, 7, CPU)
    assert all(equal(jumping.batch(t), expected[t]) for t in order)
    assert equal(Stream(dataset, chosen, 7, CPU).batch(11), expected[11])


def test_batches_do_not_depend_on_the_library_versions():
    """The order of the images of seed 0 is this one, for good: records that are resumed rely on it."""
    assert Stream(made(10), recipe(10), 0, CPU).batch(0)[1].tolist() == [8, 6, 1, 4, 0, 9, 2, 7, 3, 5]


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    shift=st.integers(0, 4),
    data=st.data(),
)
def test_crop_is_pad_and_slice(shape, shift, data):
    """Cropping a batch gives, image by image, what padding, slicing and mirroring it gives, in channels_last memory."""
    count, _, height, width = shape
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    places = st.lists(st.integers(0, 2 * shift), min_size=count, max_size=count)
    down, right = data.draw(places), data.draw(places)
    flip = data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    got = crop(images, shift, torch.tensor(down), torch.tensor(right), torch.tensor(flip))
    assert got.is_contiguous(memory_format=torch.channels_last)
    for i in range(count):
        window = F.pad(images[i], (shift,) * 4)[:, down[i] : down[i] + height, right[i] : right[i] + width]
        assert torch.equal(got[i], window.flip(2) if flip[i] else window)


def windows(stream, iterations):
    """Find out how each image of some batches was cropped and flipped; they are 2x3, all pixels different."""
    clean = torch.cat([x for x, _ in stream.clean("train", 100)])
    found = []
    for t in range(iterations):
        for image, label in zip(*stream.batch(t), strict=True):
            padded = F.pad(clean[label], (stream.recipe.shift,) * 4)
            found += [
                (down, right, flip)
                for down in range(2 * stream.recipe.shift + 1)
                for right in range(2 * stream.recipe.shift + 1)
                for flip in (False, True)
                if torch.equal(image.flip(2) if flip else image, padded[:, down : down + 2, right : right + 3])
            ]
    return found


def test_shifts_and_flips_are_uniform():
    """All nine shifts by up to one pixel, flipped and not, come about equally often, each image with its own."""
    dataset = made(64)
    dataset.train.images.pixels[:] = torch.arange(1, 7).reshape(2, 3)
    found = windows(Stream(dataset, recipe(64, shift=1, flip=True), 3, CPU), 30)
    assert len(found) == 64 * 30
    counts = np.array([found.count(window) for window in set(found)])
    assert len(counts) == 18
    expected = len(found) / 18
    assert ((counts - expected) ** 2 / expected).sum() < 40.8  # chi-square, 17 degrees of freedom, p = 0.001


@pytest.mark.parametrize("flip", [False, True])
def test_no_shift_where_none_is_asked_for(*, flip):
    """Without shift no pixel is cut off, and without flip no image is mirrored."""
    found = windows(Stream(made(30, channels=3), recipe(30, flip=flip), 0, CPU), 4)
    assert {window[:2] for window in found} == {(0, 0)}
    assert {window[2] for window in found} == ({False, True} if flip else {False})


def test_order_does_not_depend_on_augmentation():
    """Recipes that differ in augmentation alone see the images in one order."""
    plain, augmented = (Stream(made(30), fields, 0, CPU) for fields in (recipe(8), recipe(8, shift=2, flip=True)))
    assert all(torch.equal(plain.batch(t)[1], augmented.batch(t)[1]) for t in range(10))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("normalization", ["channel", "pixel-mean", "none"])
def test_batches_are_float32_and_channels_last(channels, shift, normalization):
    """Every batch, for training and for evaluation, is float32 in channels_last memory, with int64 labels."""
    stream = Stream(made(9, channels), recipe(4, shift=shift, normalization=normalization), 0, CPU)
    for x, y in [stream.batch(0), *stream.clean("train", 4)]:
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert x.shape[1:] == (channels, 2, 3)
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_channel_normalization():
    """`channel` gives every channel of the train set mean 0 and variance 1."""
    x = torch.cat([x for x, _ in Stream(made(200, 3), recipe(), 0, CPU).clean("train", 7)]).double()
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.var((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)


def test_pixel_mean_normalization():
    """`pixel-mean` subtracts the mean image and divides by 255."""
    dataset = made(200, 3)
    x = torch.cat([x for x, _ in Stream(dataset, recipe(normalization="pixel-mean"), 0, CPU).clean("train", 7)])
    pixels = dataset.train.images.at(torch.arange(200)).double()
    torch.testing.assert_close(x.double(), (pixels - pixels.mean(0)) / 255, atol=1e-6, rtol=0)


def test_no_normalization():
    """`none` divides by 255, so that values are from 0 to 1, and does nothing else."""
    dataset = made(20, 3)
    x = torch.cat([x for x, _ in Stream(dataset, recipe(normalization="none"), 0, CPU).clean("train", 7)])
    torch.testing.assert_close(x, dataset.train.images.at(torch.arange(20)) / 255)


def test_a_constant_channel_becomes_zero():
    """A channel of one value, whose deviation is 0, gives zeros and no NaN."""
    dataset = made(5)
    dataset.train.images.pixels.fill_(9)
    assert not Stream(dataset, recipe(5), 0, CPU).batch(0)[0].any()


def test_statistics_do_not_depend_on_threads():
    """Means and deviations are the same bit for bit with one thread and with several."""
    images = load("synthetic").train.images
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append([*statistics(images, "channel"), *statistics(images, "pixel-mean")])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@given(count=st.integers(1, 30), size=st.integers(1, 40))
def test_clean_goes_through_a_split_in_order(count, size):
    """`clean` gives all images of the split once, in order, `size` at a time, the last batch the rest."""
    batches = list(Stream(made(count), recipe(shift=2, flip=True), 0, CPU).clean("test", size))
    assert torch.cat([y for _, y in batches]).tolist() == list(range(count))
    assert all(len(x) == len(y) == size for x, y in batches[:-1])


def test_batches_leave_the_dataset_as_it_was():
    """The checksum computed anew after training batches, changed in place by whoever got them, is still the same."""
    dataset = load("synthetic")
    stream = Stream(dataset, recipe(50, shift=1, flip=True), 0, CPU)
    for x, y in [*(stream.batch(t) for t in range(20)), *stream.clean("train", 100), *stream.clean("test", 100)]:
        x.zero_()
        y.zero_()
    assert checksum(dataset.train, dataset.test) == dataset.checksum == load("synthetic").checksum


def test_batches_survive_a_pickled_dataset():
    """A dataset sent to another process gives the same batches."""
    dataset = made(10)
    sent = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    assert equal(*(Stream(data, recipe(6, shift=1), 0, CPU).batch(3) for data in (dataset, sent)))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_cuda_sees_the_batches_of_the_cpu_without_waiting():
    """A CUDA device gets bit for bit the batches that the CPU gets, and making them never waits for the device."""
    dataset, chosen = load("synthetic"), recipe(100, shift=1, flip=True)
    cpu, cuda = (Stream(dataset, chosen, 0, torch.device(kind)) for kind in ("cpu", "cuda"))
    try:
        torch.cuda.set_sync_debug_mode("error")
        batches = [cuda.batch(t) for t in range(30)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(equal(cpu.batch(t), (x.cpu(), y.cpu())) for t, (x, y) in enumerate(batches))

"""Tests of images, resident and streamed."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from deeptwins.data import images, pictures
from deeptwins.data.images import Resident, Streamed
from deeptwins.errors import InputError
from layouts_made import encoded
from pictures_made import saved


class Listed:
    """Encoded images in a list, which counts how often each is read."""

    def __init__(self, encoded):
        self.encoded = encoded
        self.reads: Counter[int] = Counter()

    def __len__(self):
        """Count them."""
        return len(self.encoded)

    def read(self, index):
        """Read one, and count that."""
        self.reads[index] += 1
        return self.encoded[index]

    def name(self, index):
        """Name one."""
        return f"image {index}"

    def identity(self, index):
        """Name one."""
        return f"image {index}"


def noise(count, *shape):
    """Make images of noise."""
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture
def streamed(monkeypatch):
    """Make every dataset too large to be resident."""
    monkeypatch.setattr(images, "RESIDENT_BYTES", 0)


@pytest.mark.parametrize("kind", [kind for kind in pictures.FORMATS if kind not in ("JPEG", "GIF")])
def test_lossless_formats_give_the_pixels(kind):
    """What a lossless format holds comes out exactly, as (B, C, H, W)."""
    pixels = noise(150, 5, 4, 3)
    got, colour = images.from_encoded(Listed([encoded(image, kind) for image in pixels]), None)
    assert colour
    assert isinstance(got, Resident)
    assert got.shape == (3, 5, 4)
    assert np.array_equal(got.at(torch.arange(150)).numpy(), pixels.transpose(0, 3, 1, 2))


def test_grey_is_known_as_grey():
    """Grey images have no colour, keep their values, and one image in colour among them is noticed."""
    pixels = noise(70, 5, 4)
    grey = [encoded(image) for image in pixels]
    got, colour = images.from_encoded(Listed(grey), None)
    assert not colour
    assert np.array_equal(got.grey().at(torch.arange(70)).numpy()[:, 0], pixels)
    got, colour = images.from_encoded(Listed([*grey, encoded(noise(1, 5, 4, 3)[0])]), None)
    assert colour
    assert got.at(torch.tensor([3]))[0].unique(dim=0).shape[0] == 1  # grey: three equal channels


@pytest.mark.parametrize("limit", [0, 2**30])
@pytest.mark.parametrize("size", [None, 4])
def test_how_images_are_stored_does_not_matter(limit, size, monkeypatch):
    """Grey and RGB, upright or turned, with a palette, alpha or 16 bits: the same tensors, resident and streamed."""
    monkeypatch.setattr(images, "RESIDENT_BYTES", limit)
    grey = noise(1, 5, 8)[0]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # turned to the right when shown
    ways = [saved(grey, "PNG"), saved(np.rot90(grey), "PNG", exif=exif), saved(grey, "TIFF", "CMYK")]
    ways += [saved(grey, "PNG", mode) for mode in ("RGB", "P", "LA", "RGBA")]
    ways += [saved(grey.astype(np.uint16) * 257, "PNG"), saved(grey, "GIF"), saved(grey, "WEBP", lossless=True)]
    got, colour = images.from_encoded(Listed(ways), size)
    assert not colour
    assert len(got.grey().at(torch.arange(len(ways))).unique(dim=0)) == 1
    assert size or np.array_equal(got.at(torch.tensor([0]))[0, 0].numpy(), grey)
    tinted = np.stack([grey, grey, grey ^ 1], axis=2)
    assert images.from_encoded(Listed([*ways, saved(tinted, "PNG")]), size)[1]


def test_arrays_of_equal_channels_are_grey():
    """An array of colour images has colour if its channels differ anywhere, be it in the last pixel."""
    pixels = np.repeat(noise(70, 5, 4, 1), 3, axis=3)
    assert not images.from_array(pixels, None).coloured()
    pixels[-1, -1, -1, 2] ^= 1
    assert images.from_array(pixels, None).coloured()


@pytest.mark.parametrize("limit", [0, 2**30])
def test_images_that_could_be_read_in_two_ways_are_named(limit, monkeypatch):
    """An image that is sound, but whose pixels are not sure, is one line that names it and what to do."""
    monkeypatch.setattr(images, "RESIDENT_BYTES", limit)
    source = Listed([encoded(image) for image in noise(71, 5, 4)])
    source.encoded[70] = saved(noise(1, 5, 4)[0], "TIFF", "F")
    with pytest.raises(InputError, match=r"^image 70: its pixels are numbers .*: save it with 8 bits a channel$"):
        images.from_encoded(source, None)


@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize("size", [None, 3])
def test_streamed_images_are_those_of_resident_ones(count, size, monkeypatch):
    """Streaming changes where images are decoded, not what comes out, also after pickling."""
    source = Listed([encoded(image) for image in noise(count, 5, 4)])
    resident, colour = images.from_encoded(source, size)
    monkeypatch.setattr(images, "RESIDENT_BYTES", 0)
    streamed, streamed_colour = images.from_encoded(source, size)
    assert isinstance(streamed, Streamed)
    assert (len(streamed), streamed.shape, streamed_colour) == (len(resident), resident.shape, colour)
    order = np.random.default_rng(1).permutation(count)
    resident, streamed = resident.grey().take(order), streamed.grey().take(order)
    for some in (torch.arange(count), torch.zeros(3, dtype=torch.int64), torch.arange(count).flip(0)):
        assert torch.equal(resident.at(some), streamed.at(some))
        streamed.expect(some)
        sent = pickle.loads(pickle.dumps(streamed))  # noqa: S301 - our own
        assert torch.equal(resident.at(some), sent.at(some))


def test_a_worker_decodes_on_its_own_core(monkeypatch):
    """As many threads decode as PyTorch may use here: in a worker that has one core, one, however many there are."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    images._pool.cache_clear()
    try:
        assert images._pool()._max_workers == 3
    finally:
        images._pool.cache_clear()


@pytest.mark.usefixtures("streamed")
def test_what_was_announced_is_decoded_once():
    """Announcing batches ahead, in a sliding window, decodes each image once for each time that it is asked for."""
    source = Listed([encoded(image) for image in noise(60, 5, 4)])
    streamed, _ = images.from_encoded(source, 5)
    assert isinstance(streamed, Streamed)
    source.reads.clear()
    batches = torch.arange(60).split(6)
    for i, batch in enumerate(batches):
        for coming in batches[i : i + 1 + streamed.ahead]:
            streamed.expect(coming)
        streamed.at(batch)
    assert set(source.reads.values()) == {1}


@pytest.mark.usefixtures("streamed")
def test_announcements_that_nobody_takes_up_are_dropped():
    """However much is announced and never asked for, no more than a few batches are kept, and `at` still answers."""
    streamed, _ = images.from_encoded(Listed([encoded(image) for image in noise(60, 5, 4)]), None)
    assert isinstance(streamed, Streamed)
    for i in range(60):
        streamed.expect(torch.tensor([i]))
    assert len(streamed._coming) == streamed.ahead + 1
    assert torch.equal(streamed.at(torch.tensor([0])), streamed.at(torch.tensor([0])))


@pytest.mark.parametrize("limit", [0, 2**30])
def test_images_of_different_sizes_need_a_size(limit, monkeypatch):
    """Without a size, images that differ in theirs are refused by name, with recipe.image_size as the remedy."""
    monkeypatch.setattr(images, "RESIDENT_BYTES", limit)
    source = Listed([encoded(noise(1, 5, 4)[0])] * 70 + [encoded(noise(1, 6, 4)[0])])
    with pytest.raises(InputError, match=r"image 70: 4x6 pixels, and image 0 has 4x5: set recipe\.image_size"):
        images.from_encoded(source, None)
    assert images.from_encoded(source, 4)[0].shape == (3, 4, 4)


def test_the_middle_square_is_kept():
    """An image is scaled by its shorter side, and its longer side loses the same at both ends."""
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = 200
    got, _ = images.from_encoded(Listed([encoded(pixels)]), 4)
    assert got.at(torch.tensor([0])).flatten().tolist() == [200] * 48


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (6, 9)])
def test_arrays_are_scaled_like_files(shape):
    """An array and files of the same pixels give the same images at another size."""
    pixels = noise(20, *shape)
    files, _ = images.from_encoded(Listed([encoded(image) for image in pixels]), 5)
    array = images.from_array(pixels, 5)
    assert torch.equal(array.pixels, files.pixels if len(shape) == 3 else files.grey().pixels)


@pytest.mark.parametrize("limit", [0, 2**30])
@pytest.mark.parametrize(
    "bad",
    [b"", b"no image", encoded(noise(1, 9, 9)[0])[:-30], encoded(noise(1, 9, 9)[0])[:60]],
    ids=["empty", "text", "truncated", "torn"],
)
@pytest.mark.parametrize("place", [0, 70])
def test_damaged_images_are_named(bad, place, limit, monkeypatch):
    """An image that is empty, no image, or cut off is one line that names it."""
    monkeypatch.setattr(images, "RESIDENT_BYTES", limit)
    source = Listed([encoded(image) for image in noise(71, 9, 9)])
    source.encoded[place] = bad
    with pytest.raises(InputError, match=rf"^image {place}: .*damaged") as error:
        images.from_encoded(source, None)[0].at(torch.tensor([place]))
    assert "\n" not in str(error.value)

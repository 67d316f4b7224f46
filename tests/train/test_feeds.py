"""Feeds: the batches of the stream, in memory that stays where it is."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tiny
from deeptwins import data
from deeptwins.data.stream import Stream
from deeptwins.train import lanes
from deeptwins.train.feeds import Feed, Feeds
from deeptwins.train.lanes import Lane
from deeptwins.train.optimization import learning_rate
from deeptwins.train.training import Training

BLOCKS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 5)), min_size=1, max_size=6)


@settings(max_examples=40)  # Each makes two streams of images.
@given(blocks=BLOCKS, size=st.sampled_from([48, 64, 300, 512, 700]), pick=st.booleans())
def test_a_feed_has_the_batches_and_rates_of_its_run(dataset, blocks, size, pick):
    """Whatever blocks are asked for, in whatever order: the stream's batches bit for bit, and the recipe's rates."""
    before, lanes.STEPS["cpu"] = lanes.STEPS["cpu"], 5
    try:
        recipe = tiny.RECIPE.model_copy(update={"batch_size": size, "flip": pick, "shift": 2 * pick})
        stream = Stream(dataset, recipe, 3, tiny.CPU)
        feed, expected = Feed(stream, blocks[0][0]), Stream(dataset, recipe, 3, tiny.CPU)
    finally:
        lanes.STEPS["cpu"] = before
    for t, count in blocks:
        feed.fill(t, count)
        for place in range(count):
            for tensor, expectation in zip(feed.batch(place), expected.batch(t + place), strict=True):
                assert torch.equal(tensor, expectation)
                assert tensor.stride() == expectation.stride()
            assert feed.rates[place].item() == learning_rate(recipe, t + place)


def test_a_feed_stays_where_it_is(dataset):
    """New batches come into the memory of the old ones: what was captured finds them there."""
    feed = Feed(Stream(dataset, tiny.RECIPE, 0, tiny.CPU), 0)
    feed.fill(0, 1)
    x, y = feed.batch(0)
    rate, first = feed.rates[0], x.clone()
    feed.fill(1, 1)

    assert feed.batch(0)[0] is x
    assert feed.batch(0)[1] is y
    assert feed.rates[0] is rate
    assert not torch.equal(x, first)


def test_who_sees_the_same_batches_shares_a_feed(dataset):
    """Runs that begin at one iteration of one recipe and seed share it; with another seed or iteration they do not."""
    feeds = Feeds()
    streams = [Stream(dataset, tiny.RECIPE, seed, tiny.CPU) for seed in (0, 0, 1)]
    first = feeds.at(streams[0], 0)

    assert feeds.at(streams[1], 0) is first
    assert feeds.at(streams[2], 0) is not first
    assert feeds.at(streams[0], 5) is not first


def test_who_comes_late_has_a_feed_of_its_own(dataset):
    """A run that begins where a feed has gone on does not send it back and forth; those beside it share the new one."""
    feeds, stream = Feeds(), Stream(dataset, tiny.RECIPE, 0, tiny.CPU)
    first = feeds.at(stream, 0)
    first.fill(0, 1)
    assert feeds.at(stream, 0) is first
    first.fill(1, 1)

    late = feeds.at(stream, 0)

    assert late is not first
    assert feeds.at(stream, 0) is late


def test_shared_batches_are_made_once(dataset, monkeypatch):
    """The second run of a company finds its block filled."""
    feed, asked = Feed(Stream(dataset, tiny.RECIPE, 0, tiny.CPU), 0), []
    run = Lane.run
    monkeypatch.setattr(Lane, "run", lambda lane, *rest: asked.append(rest) or run(lane, *rest))
    for t in (0, 0, 1, 1):
        feed.fill(t, 1)

    assert len(asked) == 2


def test_a_training_without_capture_has_a_feed_without(dataset):
    """What a profiler takes apart kernel by kernel includes the batches."""
    for capture in (True, False):
        trained = Training(tiny.run_with(one={}), dataset, tiny.CPU, capture=capture)
        trained.step()

        assert trained._feed._lane._capture is capture


def test_streamed_images_are_fed_too(tmp_path, monkeypatch):
    """Images that are decoded on demand reach the same places, and are never captured."""
    raw = torch.arange(20 * 3 * 8 * 8, dtype=torch.int64).remainder(251).to(torch.uint8).reshape(20, 8, 8, 3).numpy()
    for i, image in enumerate(raw):
        path = tmp_path / ("train" if i < 14 else "test") / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    monkeypatch.setattr("deeptwins.data.images.RESIDENT_BYTES", 0)
    streamed = data.load(f"folder:{tmp_path}")
    recipe = tiny.RECIPE.model_copy(update={"batch_size": 4})
    feed, expected = Feed(Stream(streamed, recipe, 0, tiny.CPU), 0), Stream(streamed, recipe, 0, tiny.CPU)

    assert streamed.train.images.ahead
    for t in range(6):
        feed.fill(t, 1)
        assert torch.equal(feed.batch(0)[0], expected.batch(t)[0])
    assert not feed._lane._capture

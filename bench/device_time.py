"""How long a GPU takes, whatever the processor that feeds it does: work as a CUDA graph."""

from __future__ import annotations

import torch

from deeptwins.profile.roofline import Work

WARMUP = 3  # calls: to compile, to load kernels, to make handles

_refused: list[torch.cuda.CUDAGraph] = []  # kept alive: before PyTorch 2.13 the allocator goes on to ask them


def replay(work: Work) -> tuple[Work, str]:
    """Capture what the work launches as a CUDA graph, whose replay costs no Python; return it and `graph`.

    The stream that warms up captures, too: then all of the backward pass belongs to it. Work that cannot be captured is
    returned as it is, with `events`: its time is then the processor's, to launch it, wherever that is longer.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP):
            work()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                work()
        except RuntimeError as error:
            print(f"\nnot captured, but timed by events: {str(error).splitlines()[0]}")
            _refused.append(graph)
    torch.cuda.synchronize()
    return (work, "events") if graph in _refused else (graph.replay, "graph")

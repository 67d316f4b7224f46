"""How long a GPU takes, however slowly it is given its work: the work as a CUDA graph."""

from __future__ import annotations

import torch

from deeptwins.profile.roofline import Work

WARMUP = 3  # calls: to compile, to load kernels, to make handles

_refused: list[torch.cuda.CUDAGraph] = []  # kept alive, since before PyTorch 2.13 the allocator still asks them


def replay(work: Work) -> tuple[Work, str]:
    """Capture what the work launches as a CUDA graph, whose replay needs no Python; return its replay and `graph`.

    Warming up and capturing use the same stream, to which all of the backward pass then belongs. Work that cannot be
    captured is returned as it is, with `events`: where launching it takes longer than the GPU, that is what is timed.
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

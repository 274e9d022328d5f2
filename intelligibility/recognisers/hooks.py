"""Collecting what passes through the modules of a network."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor


@contextmanager
def layers_of(blocks: torch.nn.ModuleList) -> Iterator[list[Tensor]]:
    """Collect what enters the first of several blocks, and what leaves each."""
    noted: list[Tensor] = []

    def enter(block: torch.nn.Module, inputs: tuple, named: dict) -> None:
        noted.append(inputs[0] if inputs else named["hidden_states"])

    def leave(block: torch.nn.Module, inputs: tuple, output: Tensor | tuple) -> None:
        noted.append(output[0] if isinstance(output, tuple) else output)

    with ExitStack() as hooks:
        hook = blocks[0].register_forward_pre_hook(enter, with_kwargs=True)
        hooks.callback(hook.remove)
        for block in blocks:
            hooks.callback(block.register_forward_hook(leave).remove)
        yield noted

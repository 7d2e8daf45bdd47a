"""Training of the last layers of a network on what the layers before them give, which is computed once."""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from network import EfficientNetLite0

KEPT = 11  # blocks of sixteen that stay as ImageNet made them


def tune(model: EfficientNetLite0, batches: Iterator[torch.Tensor], labels: list[int], epochs: tuple[int, int]) -> None:
    """The last layer first, then all behind the kept blocks. Batch norms use ImageNet's statistics throughout."""
    kept, rest, y = model._blocks[:KEPT], model._blocks[KEPT:], torch.tensor(labels)
    with torch.no_grad():
        seen = torch.cat([kept(model.stem(batch)) for batch in batches])
        pooled = torch.cat([model.pooled(rest(part)) for part in seen.split(64)])
    fit(model, model._fc, (pooled, y), epochs[0], 3e-3)
    fit(model, lambda x: model._fc(model.pooled(rest(x))), (seen, y), epochs[1], 2e-4)


def fit(
    model: nn.Module,
    layers: Callable[[torch.Tensor], torch.Tensor],
    examples: tuple[torch.Tensor, torch.Tensor],
    epochs: int,
    rate: float,
) -> None:
    """What ``layers`` uses of ``model``, with AdamW, which leaves weights without a gradient alone."""
    x, y = examples
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * -(-len(x) // 64))
    for _ in range(epochs):
        for pick in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(layers(x[pick]), y[pick]).backward()
            optimizer.step()
            schedule.step()

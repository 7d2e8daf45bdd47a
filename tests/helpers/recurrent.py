"""What the recurrent networks in ``tests/networks`` are for: averages of noisy square waves."""

import numpy as np


def signals(n: int, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy square waves [n, length, 2], and what is asked for: a slow average of one and a faster one of the product."""
    draw = np.random.default_rng(seed)
    x = np.zeros((n, length, 2), np.float32)
    level = draw.uniform(-1, 1, (n, 2))
    for t in range(length):
        level = np.where(draw.random((n, 2)) < 0.15, draw.uniform(-1, 1, (n, 2)), level)
        x[:, t] = level + draw.normal(0, 0.05, (n, 2))
    y, slow, fast = np.zeros((n, length, 2), np.float32), np.zeros(n), np.zeros(n)
    for t in range(length):
        slow, fast = 0.9 * slow + 0.1 * x[:, t, 0], 0.7 * fast + 0.3 * x[:, t, 0] * x[:, t, 1]
        y[:, t] = np.stack([slow, fast], -1)
    return x, y

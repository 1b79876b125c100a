"""Where an object's box is, as a linear function of what its region shows (Girshick et al. 2014, appendix C)."""

from __future__ import annotations

import numpy as np

PENALTY = 1000.0  # lambda
MOST = 8192  # regions of a class: a straight line needs no more


class BoxRidge:
    """codes = features @ weight.T + bias, gathered region by region. features: (D,); codes: (4,), see `coding`."""

    def __init__(self, dimensions: int) -> None:
        self.weight, self.bias = np.zeros((4, dimensions), np.float32), np.zeros(4, np.float32)
        self._features: list[np.ndarray] = []
        self._codes: list[np.ndarray] = []
        self._count = 0

    def see(self, features: np.ndarray, codes: np.ndarray) -> None:
        """(R, D) and (R, 4)."""
        left = MOST - self._count
        self._features.append(features[:left])
        self._codes.append(codes[:left])
        self._count += len(features[:left])

    def train(self) -> None:
        """Without a region the boxes stay as they are."""
        from sklearn.linear_model import Ridge

        if not self._count:
            return
        line = Ridge(alpha=PENALTY).fit(np.concatenate(self._features), np.concatenate(self._codes))
        self.weight, self.bias = line.coef_.astype(np.float32), line.intercept_.astype(np.float32)

"""Ridge regression of box offsets on the features of a region (Girshick et al. 2014, appendix C)."""

from __future__ import annotations

import numpy as np

PENALTY = 1000.0  # lambda
MAX_REGIONS = 8192  # per class, enough for a linear fit


class BoxRidge:
    """codes = features @ weight.T + bias, fitted on the regions added. features: (D,); codes: (4,), see `coding`."""

    def __init__(self, dimensions: int) -> None:
        self.weight, self.bias = np.zeros((4, dimensions), np.float32), np.zeros(4, np.float32)
        self._features: list[np.ndarray] = []
        self._codes: list[np.ndarray] = []
        self._count = 0

    def add(self, features: np.ndarray, codes: np.ndarray) -> None:
        """Add R regions: features (R, D) and codes (R, 4)."""
        left = MAX_REGIONS - self._count
        self._features.append(features[:left])
        self._codes.append(codes[:left])
        self._count += len(features[:left])

    def fit(self) -> None:
        """Fit weight and bias; without regions they stay 0, so that boxes do not change."""
        from sklearn.linear_model import Ridge

        if not self._count:
            return
        line = Ridge(alpha=PENALTY).fit(np.concatenate(self._features), np.concatenate(self._codes))
        self.weight, self.bias = line.coef_.astype(np.float32), line.intercept_.astype(np.float32)

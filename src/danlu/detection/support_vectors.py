"""Linear support vector machines trained with hard negative mining.

There are hundreds of background regions per object and most are easy: only those on the wrong side of the margin are
kept for training, repeatedly as new ones are added (Felzenszwalb et al. 2010; for regions Girshick et al. 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np

PENALTY = 1e-3  # C of the SVM, for features with a mean norm of LENGTH
LENGTH = 20.0
POSITIVE_WEIGHT = 2.0  # loss weight of positives relative to negatives
INTERCEPT = 10.0  # constant feature of the bias; large, so that the bias is hardly regularised
HARD, EASY = -1.0, -1.2  # negatives with a margin >= HARD are kept, those below EASY are dropped after training
NEGATIVES_PER_FIT = 2000  # new negatives after which the SVM is fitted again
NEVER = -100.0  # bias of a class without objects: its score is 0


class MinedMachine:
    """One class against everything else: margin = features @ weight + bias, 1 and -1 at the margin's borders.

    positives: float32 (P, D), features with a mean norm of about LENGTH.
    """

    def __init__(self, positives: np.ndarray) -> None:
        self.positives = positives
        self.weight, self.bias = np.zeros(positives.shape[1], np.float32), 0.0 if len(positives) else NEVER
        self.negatives = positives[:0]
        self._fresh, self._fitted = 0, False

    def add(self, negatives: np.ndarray) -> None:
        """Add negatives (R, D): keep the hard ones, and fit again after every NEGATIVES_PER_FIT of them."""
        if not len(self.positives):
            return
        for start in range(0, len(negatives), NEGATIVES_PER_FIT):
            part = negatives[start : start + NEGATIVES_PER_FIT]
            hard = part[self.margins(part) >= HARD] if self._fitted else part
            self.negatives = np.concatenate([self.negatives, hard])
            self._fresh += len(hard)
            if self._fresh >= NEGATIVES_PER_FIT or not self._fitted:
                self.fit()

    def margins(self, features: np.ndarray) -> np.ndarray:
        """Margins (R,) of features (R, D)."""
        return features @ self.weight + self.bias

    def fit(self) -> None:
        """Fit on all positives and the kept negatives, then drop negatives that have become easy."""
        from sklearn.svm import LinearSVC

        if not len(self.positives) or not len(self.negatives):
            return
        features = np.concatenate([self.positives, self.negatives])
        labels = np.arange(len(features)) < len(self.positives)
        options: dict[str, Any] = {
            "class_weight": {True: POSITIVE_WEIGHT},
            "intercept_scaling": INTERCEPT,
            "dual": True,
        }
        machine: Any = LinearSVC(C=PENALTY, random_state=0, **options).fit(features, labels)
        self.weight, self.bias = machine.coef_[0].astype(np.float32), float(machine.intercept_[0])
        self.negatives = self.negatives[self.margins(self.negatives) >= EASY]
        self._fresh, self._fitted = 0, True

"""Linear support vector machines that learn from the background they take for objects.

There are hundreds of background regions to an object, and most are told apart at once: only those on the wrong side of
the margin are kept and learnt from, again and again as new ones come by (hard negative mining, Felzenszwalb et al.
2010; for regions Girshick et al. 2014).
"""

from __future__ import annotations

import numpy as np

PENALTY = 1e-3  # C of the machine, for features of a mean length of LENGTH
LENGTH = 20.0
POSITIVE_WEIGHT = 2.0  # an object's violation counts so many times a background's
INTERCEPT = 10.0  # the constant feature whose weight is the bias: so large that the bias is hardly held down
HARD, EASY = -1.0, -1.2  # margins: from the one on background is kept, below the other it is dropped again
TOGETHER = 2000  # negatives after which is looked whether to train anew
NEVER = -100.0  # bias of a class of which there is no object


class MinedMachine:
    """One class against all that is not it: margin = features @ weight + bias, 1 and -1 on the borders.

    positives: float32 (P, D), of a mean length of about LENGTH.
    """

    def __init__(self, positives: np.ndarray) -> None:
        self.positives = positives
        self.weight, self.bias = np.zeros(positives.shape[1], np.float32), 0.0 if len(positives) else NEVER
        self.negatives = positives[:0]
        self._fresh, self._trained = 0, False

    def see(self, negatives: np.ndarray) -> None:
        """Keeps the hard ones of (R, D), and trains when these have become many."""
        if not len(self.positives):
            return
        for start in range(0, len(negatives), TOGETHER):
            part = negatives[start : start + TOGETHER]
            hard = part[self.margins(part) >= HARD] if self._trained else part
            self.negatives = np.concatenate([self.negatives, hard])
            self._fresh += len(hard)
            if self._fresh >= TOGETHER or not self._trained:
                self.train()

    def margins(self, features: np.ndarray) -> np.ndarray:
        return features @ self.weight + self.bias

    def train(self) -> None:
        """On all objects and the background that is kept; what has become easy is dropped."""
        from sklearn.svm import LinearSVC

        if not len(self.positives) or not len(self.negatives):
            return
        examples = np.concatenate([self.positives, self.negatives])
        answers = np.arange(len(examples)) < len(self.positives)
        machine = LinearSVC(
            C=PENALTY, class_weight={True: POSITIVE_WEIGHT}, intercept_scaling=INTERCEPT, dual=True, random_state=0
        ).fit(examples, answers)
        self.weight, self.bias = machine.coef_[0].astype(np.float32), float(machine.intercept_[0])
        self.negatives = self.negatives[self.margins(self.negatives) >= EASY]
        self._fresh, self._trained = 0, True

"""The table of faults: every code that a classification or regression run can show, in several strengths."""

from __future__ import annotations

from faults_behaviour import BEHAVIOUR_FAULTS
from faults_data import DATA_FAULTS
from faults_loop import LOOP_FAULTS
from faults_model import MODEL_FAULTS
from faults_optim import OPTIM_FAULTS
from planting import Fault

EVERY = DATA_FAULTS + MODEL_FAULTS + BEHAVIOUR_FAULTS + LOOP_FAULTS + OPTIM_FAULTS
FAULTS: dict[str, Fault] = {fault.name: fault for fault in EVERY}
DETECTION = ("data.bad_boxes", "model.receptive_field")  # codes that need boxes or large images: not planted here

# Two faults at once: (name, strength) each; either code counts as the right cause.
PAIRS = [
    (("no zero_grad", ""), ("validation recorded", "")),
    (("recreated each epoch", ""), ("mean of batch means", "")),
    (("rate too low", "x0.01"), ("leak", "a third")),
    (("validation recorded", ""), ("uneven columns", "to 100")),
    (("softmax before cross entropy", ""), ("not shuffled", "sorted")),
    (("label noise", "40 %"), ("optimiser of a copy", "")),
    (("duplicates", "a fifth distinct"), ("unused branch", "")),
    (("first layer left out", ""), ("rate too low", "x0.01")),
    (("negative biases", "most"), ("validation recorded", "")),
    (("validation in train mode", ""), ("bias before norm", "")),
]

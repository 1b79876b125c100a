"""Instruments: each measures one family of quantities and writes them to the ledger."""

from __future__ import annotations

from danlu.doctor.instruments.activations import Activations
from danlu.doctor.instruments.adversary import Adversary
from danlu.doctor.instruments.base import Instrument
from danlu.doctor.instruments.batch_inputs import Inputs
from danlu.doctor.instruments.behaviour import Behaviour
from danlu.doctor.instruments.chance import Chance
from danlu.doctor.instruments.closures import Closures
from danlu.doctor.instruments.comparisons import Comparisons
from danlu.doctor.instruments.dense_targets import DenseTargets
from danlu.doctor.instruments.gradients import Gradients
from danlu.doctor.instruments.graph_leaves import GraphLeaves
from danlu.doctor.instruments.handmade_updates import HandmadeUpdates
from danlu.doctor.instruments.input_axes import InputAxes
from danlu.doctor.instruments.input_derivatives import InputDerivatives
from danlu.doctor.instruments.labels import Labels
from danlu.doctor.instruments.loss_and_accuracy import LossAndAccuracy
from danlu.doctor.instruments.masked_loss import MaskedLoss
from danlu.doctor.instruments.memory import Memory
from danlu.doctor.instruments.micro_batches import DiscardedMicroBatches
from danlu.doctor.instruments.modes import Modes
from danlu.doctor.instruments.nonfinite import Nonfinite
from danlu.doctor.instruments.optimizers import Optimizers
from danlu.doctor.instruments.pair_distances import PairDistances
from danlu.doctor.instruments.penalties import Penalties
from danlu.doctor.instruments.plateau_curvature import PlateauCurvature
from danlu.doctor.instruments.policy_gradient import PolicyGradient
from danlu.doctor.instruments.structure import Structure

# In the order of their callbacks: structure and inputs first, because others read their entries.
INSTRUMENTS: dict[str, type[Instrument]] = {
    "structure": Structure,
    "optimizers": Optimizers,
    "inputs": Inputs,
    "loss_and_accuracy": LossAndAccuracy,
    "chance": Chance,
    "masked_loss": MaskedLoss,
    "penalties": Penalties,
    "comparisons": Comparisons,
    "dense_targets": DenseTargets,
    "pair_distances": PairDistances,
    "adversary": Adversary,
    "policy_gradient": PolicyGradient,
    "graph_leaves": GraphLeaves,
    "behaviour": Behaviour,
    "nonfinite": Nonfinite,
    "gradients": Gradients,
    "handmade_updates": HandmadeUpdates,
    "closures": Closures,
    "discarded": DiscardedMicroBatches,
    "activations": Activations,
    "input_axes": InputAxes,
    "input_derivatives": InputDerivatives,
    "labels": Labels,
    "modes": Modes,
    "plateau_curvature": PlateauCurvature,
    "memory": Memory,
}

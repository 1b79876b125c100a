"""The user's network as a `NetworkSpec`: a module, a class of modules, or a function that builds one."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from danlu.message import message
from danlu.models.spec import NetworkFacts, NetworkSpec
from danlu.own.naming import own_name, parameters_of, required, shown
from danlu.refuse import Refusal, refusal, shortened

# Fact about the data -> names of parameters of a builder to which it is passed.
OFFERED = {
    "classes": ("classes", "num_classes", "n_classes", "num_labels", "outputs", "out_features", "output_dim"),
    "channels": ("channels", "in_channels", "in_chans", "num_channels", "n_channels", "input_channels"),
    "size": ("size", "image_size", "img_size", "input_size"),
    "inputs": ("inputs", "in_features", "num_features", "n_features", "features", "input_dim"),
    "shape": ("shape", "input_shape"),
}  # fmt: skip


def network_spec(model: Any) -> NetworkSpec:
    """The spec of a network of the user. Raises Refusal for what is neither a module nor builds one.

    A module is copied, here and for every training, so that the user's own stays as it is and every fold starts from
    the same weights. A builder is called anew for every training, after the random generators are seeded.
    """
    name = own_name(model)
    if isinstance(model, nn.Module):
        if not list(model.parameters()):
            raise refusal(
                "model",
                message("own.wanted.network_parameters_train", "a network with parameters to train"),
                type(model).__name__,
            )
        return _spec(Copies(model), name)
    if not callable(model):
        wanted = message(
            "own.wanted.network_name_nn_module", "a network's name, an nn.Module or a function that builds one"
        )
        raise refusal("model", wanted, model if isinstance(model, int | float) else type(model).__name__)
    parameters = parameters_of(model)
    offered = {name for names in OFFERED.values() for name in names}
    if missing := [name for name in required(parameters) if name not in offered]:
        facts = ", ".join(OFFERED)
        raise Refusal(
            message(
                "own.refuse.model_parameter_default_danlu",
                "model {name}: its parameter {missing!r} has no default; danlu passes {facts}, give the "
                "others by functools.partial(..., {missing}=...)",
                name=shown(name),
                missing=missing[0],
                facts=facts,
            ),
            "model",
        )
    return _spec(Builder(model, name), name)


def _spec(build: Any, name: str) -> NetworkSpec:
    return NetworkSpec(build, "a network of your own", name=name)


class Copies:
    """Returns copies of a module, on the CPU, as it was when it was given."""

    def __init__(self, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            text = (
                "model {name} is a TorchScript program, whose copies cannot be trained; give the module it was made of"
            )
            name = getattr(module, "original_name", type(module).__name__)
            raise Refusal(message("own.refuse.model_scripted", text, name=name), "model")
        if any(isinstance(p, UninitializedParameter) for p in module.parameters()):
            raise Refusal(
                message(
                    "own.refuse.model_lazy_layers_shape",
                    "model {name} has lazy layers that have no shape yet; call it once on a batch before",
                    name=type(module).__name__,
                ),
                "model",
            )
        try:
            self.module = copy.deepcopy(module).cpu()
        except Exception as error:
            why = " ".join(str(error).split())[:200]
            raise Refusal(
                message(
                    "own.refuse.model_cannot_copied_give",
                    "model {name} cannot be copied ({why}); give a function that builds it",
                    name=type(module).__name__,
                    why=why,
                ),
                "model",
            ) from error

    def __call__(self, facts: NetworkFacts) -> nn.Module:
        """Return a copy of the module."""
        return copy.deepcopy(self.module)


class Builder:
    """Calls a function that builds a network, with those facts about the data that its parameters name."""

    def __init__(self, function: Any, name: str) -> None:
        self.function, self.name = function, name

    def __call__(self, facts: NetworkFacts) -> nn.Module:
        """Return the network that the function builds for these facts."""
        parameters = parameters_of(self.function)
        wanted = {
            parameter: getattr(facts, fact)
            for fact, names in OFFERED.items()
            for parameter in names
            if parameter in parameters
        }
        for parameter in [p for p, value in wanted.items() if value is None]:
            if parameters[parameter].default is inspect.Parameter.empty:
                raise Refusal(
                    message(
                        "own.refuse.model_value_inputs_shape",
                        "model {name}: no value for its {parameter!r} with inputs of shape {shape}",
                        name=shown(self.name),
                        parameter=parameter,
                        shape=str(facts.shape),
                    ),
                    "model",
                )
            del wanted[parameter]
        any_keyword = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        if any_keyword and not set(OFFERED["classes"]) & set(parameters):  # torchvision.models.resnet18(**kwargs)
            wanted["num_classes"] = facts.classes
        try:
            model = self.function(**wanted)
        except Refusal:
            raise
        except Exception as error:
            given = ", ".join(f"{k}={v}" for k, v in wanted.items())
            why = shortened(error)
            raise Refusal(
                message(
                    "own.refuse.model_fails",
                    "model {name}({given}) fails: {why}",
                    name=shown(self.name),
                    given=given,
                    why=why,
                ),
                "model",
            ) from error
        if not isinstance(model, nn.Module):
            raise refusal(
                f"model {shown(self.name)}",
                message("own.wanted.function_returns_nn_module", "a function that returns an nn.Module"),
                type(model).__name__,
            )
        return _materialised(model.cpu(), self.name, facts)


def _materialised(model: nn.Module, name: str, facts: NetworkFacts) -> nn.Module:
    """The network with shapes in its lazy layers, by one call on zeros of the shape of the data."""
    if not any(isinstance(p, UninitializedParameter) for p in model.parameters()):
        return model
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *facts.shape))
    except Exception as error:
        why = shortened(error)
        raise Refusal(
            message(
                "own.refuse.model_lazy_fails",
                "model {name} has lazy layers and fails on inputs of shape {shape}: {why}",
                name=shown(name),
                shape=str((1, *facts.shape)),
                why=why,
            ),
            "model",
        ) from error
    return model.train()

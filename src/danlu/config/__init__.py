"""All settings of a run in one tree, reached with the same names as flags, in YAML and in Python.

`--optim.momentum 0.8`, `optim: {momentum: 0.8}` and `danlu.train(path, optim={"momentum": 0.8})` are the same. A
section given one plain value takes it as its first field, so `--model lenet` is `--model.name lenet`.
"""

from danlu.config.parsing import dump_yaml, from_dict, load_yaml, new_config, plain, to_dict, with_values
from danlu.config.resolved import (
    ResolvedAugment,
    ResolvedConfig,
    ResolvedData,
    ResolvedModel,
    ResolvedOptim,
    ResolvedSchedule,
    is_open,
    resolve,
    unresolved,
)
from danlu.config.settings import SHORT, SHORT_FLAGS, Setting, changed, get, keys
from danlu.config.tree import (
    AugmentConfig,
    Config,
    DataConfig,
    DetectConfig,
    DoctorConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    PretrainConfig,
    RegulariseConfig,
    ScheduleConfig,
    TransferConfig,
)
from danlu.task_spec import TaskName

__all__ = [
    "SHORT",
    "SHORT_FLAGS",
    "AugmentConfig",
    "Config",
    "DataConfig",
    "DetectConfig",
    "DoctorConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "PretrainConfig",
    "RegulariseConfig",
    "ResolvedAugment",
    "ResolvedConfig",
    "ResolvedData",
    "ResolvedModel",
    "ResolvedOptim",
    "ResolvedSchedule",
    "ScheduleConfig",
    "Setting",
    "TaskName",
    "TransferConfig",
    "changed",
    "dump_yaml",
    "from_dict",
    "get",
    "is_open",
    "keys",
    "load_yaml",
    "new_config",
    "plain",
    "resolve",
    "to_dict",
    "unresolved",
    "with_values",
]

"""RunConfig: every hyperparameter of a run with its bounds, unit and help text.

The one place that knows what a valid configuration is. The command line, the preset files, the app's
form and the trainer all read it from here; nothing repeats a bound or a help text. Values come from
preset files through `presets.py`; this package holds no preset.

The sections stand in `models`, `images`, `optimization` and `training`, their sum and the rules between them in
`run`, the messages in `parsing`; everybody else imports from here.
"""

from fmnist_tui.config.images import CLASSES, DATA_SIZES, IMAGE_SIZE, AugmentConfig, DataConfig
from fmnist_tui.config.models import (
    MODEL_KINDS,
    DenseNetConfig,
    DualPathNetConfig,
    ModelConfig,
    ShakeShakeConfig,
    TurboConfig,
    WideResNetConfig,
)
from fmnist_tui.config.optimization import OptimizerConfig, ScheduleConfig
from fmnist_tui.config.parsing import ConfigError, FieldError, parse_config
from fmnist_tui.config.run import SECTIONS, Reference, RunConfig
from fmnist_tui.config.training import TrainingConfig

__all__ = [
    "CLASSES",
    "DATA_SIZES",
    "IMAGE_SIZE",
    "MODEL_KINDS",
    "SECTIONS",
    "AugmentConfig",
    "ConfigError",
    "DataConfig",
    "DenseNetConfig",
    "DualPathNetConfig",
    "FieldError",
    "ModelConfig",
    "OptimizerConfig",
    "Reference",
    "RunConfig",
    "ScheduleConfig",
    "ShakeShakeConfig",
    "TrainingConfig",
    "TurboConfig",
    "WideResNetConfig",
    "parse_config",
]

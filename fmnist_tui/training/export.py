"""A run's network as an ONNX or a safetensors file: `python -m fmnist_tui.training.export RUN_DIR --to onnx ...`.

Started by `runs export` in a process of its own, because the command line never imports torch. Both files carry
as metadata which run and checkpoint they come from, the classes in order, and how pixels are normalised. What
goes wrong is the last line of stderr; the exit code is an `ExitCode`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

import fmnist_tui
from fmnist_tui.config import CLASSES, IMAGE_SIZE
from fmnist_tui.data.batches import PIXEL_MEAN, PIXEL_STD
from fmnist_tui.runs.files import write_output
from fmnist_tui.runs.layout import CHECKPOINTS, RunDirectory
from fmnist_tui.runs.status import ExitCode
from fmnist_tui.training.checkpoint import CheckpointError
from fmnist_tui.training.restore import Restored, restore_model

EXAMPLE_BATCH = 2
"""Images the network is traced with; not 1, which the exporter would take for a fixed size."""


class WithNormalisation(nn.Module):
    """The network behind its normalisation: (B, 1, 28, 28) float32 pixels in 0..1 to (B, 10) float32 logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits of pixels as torchvision's ToTensor gives them: 0 is black (the background), 1 white."""
        logits: Tensor = self.network((images - PIXEL_MEAN) / PIXEL_STD)
        return logits


def metadata(run: RunDirectory, which: str, restored: Restored) -> dict[str, str]:
    """What the files say of themselves: all values are text, as both formats want it."""
    accuracy = "" if restored.test_accuracy is None else f"{restored.test_accuracy:.4f}"
    return {
        "fmnist_tui": fmnist_tui.__version__,
        "run": run.id,
        "checkpoint": which,
        "epoch": str(restored.epoch),
        "step": str(restored.step),
        "test_accuracy_percent": accuracy,
        "classes": json.dumps(CLASSES),
        "pixel_mean": str(PIXEL_MEAN),
        "pixel_std": str(PIXEL_STD),
        "config": restored.config.model_dump_json(),
    }


def to_onnx(run: RunDirectory, which: str, output: Path) -> None:
    """Write an ONNX file with one input `images` and one output `logits` (see WithNormalisation), any batch size.

    Raises CheckpointError, and OSError where it can't be written; then an older file is as it was.
    """
    restored = restore_model(run, which)
    example = torch.zeros(EXAMPLE_BATCH, 1, IMAGE_SIZE, IMAGE_SIZE)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making: about its dependencies' versions
        program = torch.onnx.export(
            WithNormalisation(restored.model).eval(),
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(metadata(run, which, restored))
    with tempfile.TemporaryDirectory() as folder:  # the exporter writes to paths only
        path = Path(folder) / "model.onnx"
        program.save(path, external_data=False)
        write_output(output, path.read_bytes())


def to_safetensors(run: RunDirectory, which: str, output: Path) -> None:
    """Write the network's state dict as safetensors, with `metadata`. Raises as `to_onnx` does.

    The tensors are those `model.load_state_dict` takes; normalise images as the metadata say.
    """
    from safetensors.torch import save

    restored = restore_model(run, which)
    tensors = {name: tensor.contiguous() for name, tensor in restored.model.state_dict().items()}
    write_output(output, save(tensors, metadata(run, which, restored)))


def main() -> int:
    """Export as the arguments say; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fmnist_tui.training.export", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", choices=("onnx", "safetensors"), required=True)
    parser.add_argument("--checkpoint", choices=CHECKPOINTS, default="last")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    write = to_onnx if options.to == "onnx" else to_safetensors
    try:
        write(RunDirectory(options.run.absolute()), options.checkpoint, options.output)
    except (CheckpointError, ValueError) as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    except OSError as error:
        print(f"{options.output}: cannot be written: {error.strerror or error}", file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())

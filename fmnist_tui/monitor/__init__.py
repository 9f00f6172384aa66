"""GPU (NVML) and host (psutil) samples, and which GPUs there are. No torch, no Textual.

Used by the trainer (samples for the metrics), the command line (`--device`, `doctor`) and the app.
"""

from fmnist_tui.monitor.gpus import Gpu, GpuList, gpu_count, list_gpus
from fmnist_tui.monitor.sample import RETRY_SECONDS, Monitor

__all__ = ["RETRY_SECONDS", "Gpu", "GpuList", "Monitor", "gpu_count", "list_gpus"]

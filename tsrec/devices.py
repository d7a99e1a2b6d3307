"""Which processor, and which numbers on it: what `auto` stands for on this machine. Knows no stage.

torch is imported when it is asked: reading a configuration has to be quick.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tsrec.errors import ConfigError

if TYPE_CHECKING:
    import torch

DEVICE_PATTERN = r"^(auto|cpu|cuda(:\d+)?)$"


def resolve_device(device: str) -> "torch.device":
    """`auto` is CUDA where there is a GPU, else the CPU.

    Raises:
        ConfigError: this machine has no such device.
    """
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if n_gpus else "cpu")
    resolved = torch.device(device)
    if resolved.type == "cuda" and (resolved.index or 0) >= n_gpus:
        raise ConfigError(f"device {device!r}: torch sees {n_gpus} GPUs on this machine; use auto or cpu")
    return resolved


def device_type(device: str) -> str:
    """cpu or cuda: what a result depends on. A device that this machine lacks is taken at its word."""
    return str(resolve_device(device).type) if device == "auto" else device.split(":")[0]


def resolve_precision(precision: str, device: "torch.device") -> "torch.dtype":
    """`auto` is bfloat16 where the processor multiplies it natively (AVX512-BF16, AMX, recent GPUs), else float32."""
    import torch

    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    else:
        native = _cpu_multiplies_bfloat16()
    return torch.bfloat16 if native else torch.float32


def precision_name(precision: str, device: str) -> str:
    """float32 or bfloat16: what a result depends on."""
    import torch

    return str(resolve_precision(precision, torch.device(device_type(device)))).removeprefix("torch.")


def _cpu_multiplies_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags

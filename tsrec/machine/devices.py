"""Which processor, and which numbers on it: what `auto` stands for on this machine. Knows no stage.

torch is imported when it is asked: reading a configuration has to be quick.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tsrec.errors import ConfigError

if TYPE_CHECKING:
    import torch

_NATIVE_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
_SHORT_NUMBERS = _NATIVE_BFLOAT16 | {"avx512_vnni", "avx_vnni", "amx_int8", "avx512_fp16", "bf16", "i8mm"}
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
        native = bool(_cpu_flags() & _NATIVE_BFLOAT16)
    return torch.bfloat16 if native else torch.float32


def precision_name(precision: str, device: str) -> str:
    """float32 or bfloat16: what a result depends on."""
    import torch

    return str(resolve_precision(precision, torch.device(device_type(device)))).removeprefix("torch.")


def processor_features() -> str:
    """What the last digits of a result depend on, of this machine's processor: the instruction set that torch uses, and
    special units for short numbers."""
    import torch

    return " ".join([torch.backends.cpu.get_cpu_capability(), *sorted(_cpu_flags() & _SHORT_NUMBERS)])


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore").splitlines()
    except OSError:  # not Linux
        return frozenset()
    return frozenset(next((line.split() for line in lines if line.startswith(("flags", "Features"))), ()))

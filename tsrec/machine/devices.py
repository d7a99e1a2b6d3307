"""Which processor, and which numbers on it: what `auto` stands for on this machine. Knows no stage.

torch is imported when only it knows: reading a configuration and planning have to be quick, and its import takes
seconds.
"""

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tsrec.errors import ConfigError

if TYPE_CHECKING:
    import torch

_NATIVE_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
_SHORT_NUMBERS = _NATIVE_BFLOAT16 | {"avx512_vnni", "avx_vnni", "amx_int8", "avx512_fp16", "bf16", "i8mm"}
# What drivers put into /dev: NVIDIA's (Jetson's among them), AMD's, and that of Linux on Windows.
_GPU_FILES = ("nvidia*", "nvhost*", "nvmap", "nvgpu*", "kfd", "dxg")
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
    if device != "auto":
        return device.split(":")[0]
    return str(resolve_device(device).type) if _may_have_gpu() else "cpu"


def check_device(device: str) -> None:
    """Raise ConfigError where this machine has no such device; `auto` and `cpu` are everywhere."""
    if device_type(device) == "cuda":
        resolve_device(device)


def check_processes(n: int, device: str) -> None:
    """Refuse `n` processes that train on a device together: each needs a GPU of its own, or none.

    Raises:
        ConfigError: the machine has fewer GPUs; or the device is one of them alone.
    """
    if n == 1 or device_type(device) != "cuda":
        return
    if ":" in device:
        raise ConfigError(f"device {device!r} is one GPU, and finetune.processes = {n} take one each; set device=cuda")
    resolve_device(device)
    import torch

    if n > (n_gpus := torch.cuda.device_count()):
        raise ConfigError(
            f"finetune.processes = {n} take one GPU each, and torch sees {n_gpus} on this machine; set "
            f"finetune.processes={n_gpus}, or device=cpu"
        )


def resolve_precision(precision: str, device: "torch.device") -> "torch.dtype":
    """`auto` is bfloat16 where the processor multiplies it natively (AVX512-BF16, AMX, recent GPUs), else float32."""
    import torch

    return torch.bfloat16 if precision_name(precision, device.type) == "bfloat16" else torch.float32


def precision_name(precision: str, device: str) -> str:
    """float32 or bfloat16: what a result depends on."""
    if precision != "auto":
        return precision
    if device_type(device) == "cuda":
        import torch

        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    else:
        native = bool(_cpu_flags() & _NATIVE_BFLOAT16)
    return "bfloat16" if native else "float32"


def processor_features() -> str:
    """What the last digits of a result depend on, of this machine's processor: the instruction set that torch uses, and
    special units for short numbers."""
    import torch

    return " ".join([torch.backends.cpu.get_cpu_capability(), *sorted(_cpu_flags() & _SHORT_NUMBERS)])


def _may_have_gpu() -> bool:
    """False only where torch cannot find a GPU: on Linux, without a file of any driver."""
    return not sys.platform.startswith("linux") or any(file for name in _GPU_FILES for file in Path("/dev").glob(name))


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore").splitlines()
    except OSError:  # not Linux
        return frozenset()
    return frozenset(next((line.split() for line in lines if line.startswith(("flags", "Features"))), ()))

"""What the benchmarks run on, and how fast that can be at best."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import speft
import torch

from .clock import best

_EXTENSIONS = ("avx2", "f16c", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


@dataclass(frozen=True)
class Machine:
    """What everything runs on, and the limits that were measured with it.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        threads: of PyTorch and of libspeft.
        scalars: of the tensors that memory-bound operations are measured on: many times what caches hold.
        copy_bandwidth: bytes a second, those read and those written. What updates in place may beat it: a
            copy also fetches the lines that it is about to overwrite.
        bfloat16_rate: multiplications and additions a second in a dense product.
        float32_rate: likewise.
    """

    device: str
    threads: int
    scalars: int
    copy_bandwidth: float
    bfloat16_rate: float
    float32_rate: float

    @classmethod
    def measure(cls, device: str) -> Machine:
        """Sets PyTorch's threads to all that this process may run on, its device to this one, and measures."""
        threads = len(os.sched_getaffinity(0))
        torch.set_num_threads(threads)
        if device != "cpu":  # PyTorch takes longer for each call once it is set
            torch.set_default_device(device)
        side, scalars = (4096, 1 << 26) if device == "cpu" else (8192, 1 << 30)
        return cls(
            device,
            threads,
            scalars,
            _copy_bandwidth(2 * scalars),
            _product_rate(side, torch.bfloat16),
            _product_rate(side, torch.float32),
        )

    @property
    def selected(self) -> int:
        """1% of `scalars`."""
        return int(0.01 * self.scalars)

    def context(self) -> speft.Context:
        """A new context with as many threads, on PyTorch's stream where there is one."""
        stream = torch.cuda.current_stream().cuda_stream if self.device == "cuda" else None
        return speft.Context(self.device, threads=self.threads, stream=stream or None)

    def seconds_to_move(self, count: float) -> float:
        """Of `count` bytes, read and written together."""
        return count / self.copy_bandwidth

    def seconds_to_multiply(self, count: float) -> float:
        """Of `count` multiplications and additions in bfloat16."""
        return count / self.bfloat16_rate


def describe() -> dict[str, Any]:
    """What a reader of the figures needs to know."""
    cpu = _processor()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": cpu.get("model name", platform.processor()),
        **_describe_gpu(),
        "extensions": [name for name in _EXTENSIONS if name in cpu.get("flags", "").split()],
        "cores": os.cpu_count(),
        "last_level_cache": _last_level_cache(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": _versions("speft", "torch", "transformers", "peft"),
        "load_average": os.getloadavg()[0],
    }


def _copy_bandwidth(scalars: int) -> float:
    source = torch.randn(scalars)  # 512 MiB, or 8 GiB on a GPU
    target = torch.empty_like(source)
    return 2 * source.nbytes / best(lambda: target.copy_(source))


def _product_rate(side: int, dtype: torch.dtype) -> float:
    """Of a product as that whose selected entries are a gradient: [side, 1024] × [1024, side]."""
    a, b = torch.randn(side, 1024).to(dtype), torch.randn(1024, side).to(dtype)
    return 2 * side * 1024 * side / best(lambda: a @ b)


def _versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _describe_gpu() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {}
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "gpu_memory": properties.total_memory,
        "cuda": torch.version.cuda,
    }


def _processor() -> dict[str, str]:
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    fields = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in fields}


def _last_level_cache() -> str | None:
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return caches[-1].read_text().strip() if caches else None

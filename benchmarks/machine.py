"""What the benchmarks run on, and how fast that can be at best."""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import speft
import torch

from .clock import best

_EXTENSIONS = ("avx2", "f16c", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


@dataclass(frozen=True)
class Machine:
    """The threads that everything runs on, and the limits that were measured with them.

    Attributes:
        threads: of PyTorch and of libspeft.
        copy_bandwidth: bytes a second, those read and those written. What updates in place may beat it: a
            copy also fetches the lines that it is about to overwrite.
        bfloat16_rate: multiplications and additions a second in a dense product.
        float32_rate: likewise.
    """

    threads: int
    copy_bandwidth: float
    bfloat16_rate: float
    float32_rate: float

    @classmethod
    def measure(cls) -> Machine:
        """Sets PyTorch's threads to all that this process may run on, and measures."""
        threads = len(os.sched_getaffinity(0))
        torch.set_num_threads(threads)
        return cls(threads, _copy_bandwidth(), _product_rate(torch.bfloat16), _product_rate(torch.float32))

    def context(self) -> speft.Context:
        """A new context with as many threads."""
        return speft.Context("cpu", threads=self.threads)

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
        "extensions": [name for name in _EXTENSIONS if name in cpu.get("flags", "").split()],
        "cores": os.cpu_count(),
        "last_level_cache": _last_level_cache(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("speft", "torch", "transformers", "peft")},
        "load_average": os.getloadavg()[0],
    }


def _copy_bandwidth() -> float:
    source = torch.randn(1 << 27)  # 512 MiB
    target = torch.empty_like(source)
    return 2 * source.nbytes / best(lambda: target.copy_(source))


def _product_rate(dtype: torch.dtype) -> float:
    """Of the product whose selected entries are a gradient: [4096, 1024] × [1024, 4096]."""
    a, b = torch.randn(4096, 1024).to(dtype), torch.randn(1024, 4096).to(dtype)
    return 2 * 4096 * 1024 * 4096 / best(lambda: a @ b)


def _processor() -> dict[str, str]:
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    fields = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in fields}


def _last_level_cache() -> str | None:
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return caches[-1].read_text().strip() if caches else None

"""The gateway's own pulse: how late its event loop runs, and how busy the GPUs are."""

import asyncio
import logging
import shutil
import subprocess

from inhouse.gateway import metrics

_ASK = ("--query-gpu=index,utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")
_PATIENCE_S = 10.0
_log = logging.getLogger(__name__)


async def watch(*, every_s: float = 0.5, gpu_every_s: float = 15.0, nvidia_smi: str | None = None) -> None:
    """Measure until cancelled. Without `nvidia-smi` there are no GPU series."""
    loop = asyncio.get_running_loop()
    program = nvidia_smi or shutil.which("nvidia-smi")
    gpu_due = loop.time()
    while True:
        if program and loop.time() >= gpu_due:
            gpu_due = loop.time() + gpu_every_s
            if not await asyncio.to_thread(measure_gpus, program):
                program = None
        due = loop.time() + every_s
        await asyncio.sleep(every_s)
        metrics.loop_lag(max(loop.time() - due, 0.0))


def measure_gpus(program: str) -> bool:
    """Publish what `nvidia-smi` says; False where it cannot say anything."""
    try:
        done = subprocess.run([program, *_ASK], capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("nvidia-smi gives no figures, so there are none of the GPU: %s", error)
        return False
    for line in done.stdout.splitlines():
        index, *figures = (cell.strip() for cell in line.split(","))
        try:
            busy, used_mib, total_mib = map(float, figures)
        except ValueError:  # "[N/A]" where a GPU does not tell
            continue
        metrics.gpu(index, busy=busy / 100, used_bytes=used_mib * 2**20, total_bytes=total_mib * 2**20)
    return True

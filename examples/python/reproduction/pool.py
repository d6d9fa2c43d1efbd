"""Runs trials side by side, one thread each, and keeps every result: what is there is not run again."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

from trial import Trial

WORKER = Path(__file__).resolve().with_name("worker.py")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

Results = dict[Trial, dict]


class Pool:
    """Keeps results as files in `directory`; stages hand in their trials one after the other."""

    def __init__(self, directory: Path, processes: int) -> None:
        self._directory = directory
        self._processes = processes
        self._workers: list[subprocess.Popen[str]] = []
        self.failures: dict[Trial, str] = {}
        directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()

    def run(self, stage: str, trials: list[Trial]) -> Results:
        """The results of those that did not fail, in the order given."""
        trials = list(dict.fromkeys(trials))
        results = {trial: kept for trial in trials if (kept := self._read(trial)) is not None}
        missing = [trial for trial in trials if trial not in results]
        print(f"{stage}: {len(missing)} runs, {len(results)} kept from before", flush=True)
        if missing:
            results |= self._run(missing)
        return {trial: results[trial] for trial in trials if trial in results}

    def _read(self, trial: Trial) -> dict | None:
        path = trial.path(self._directory)
        return json.loads(path.read_text(encoding="utf-8"))["result"] if path.exists() else None

    def _keep(self, trial: Trial, result: dict) -> None:
        """Renamed when it is whole: a file that is there can be read."""
        path = trial.path(self._directory)
        text = json.dumps({"trial": json.loads(trial.write()), "result": result}, indent=2)
        path.with_suffix(".part").write_text(text + "\n", encoding="utf-8")
        path.with_suffix(".part").rename(path)

    def _run(self, trials: list[Trial]) -> Results:
        while len(self._workers) < min(self._processes, len(trials)):
            command = [sys.executable, "-W", "ignore::FutureWarning", WORKER]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self._workers.append(subprocess.Popen(command, env=os.environ | ONE_THREAD, **pipes))
        waiting: queue.SimpleQueue[Trial] = queue.SimpleQueue()
        for trial in trials:
            waiting.put(trial)
        answers: queue.SimpleQueue[tuple[Trial | None, dict]] = queue.SimpleQueue()
        for worker in self._workers:
            threading.Thread(target=serve, args=(worker, waiting, answers), daemon=True).start()
        results: Results = {}
        started = time.perf_counter()
        for done in range(1, len(trials) + 1):
            trial, answer = answers.get()
            if trial is None:
                sys.exit(f"error: {answer['failure']}")
            if "failure" in answer:
                self.failures[trial] = answer["failure"]
                outcome = f"FAILED ({answer['failure']})"
            else:
                results[trial] = answer["result"]
                self._keep(trial, answer["result"])
                outcome = f"{answer['result']['accuracy']:6.1%}  {answer['result']['seconds']:4.0f} s"
            left = (time.perf_counter() - started) / done * (len(trials) - done)
            print(
                f"[{done:>3}/{len(trials)}] {trial.domain:<9}{trial.approach:<22} seed {trial.seed}  "
                f"lr {trial.learning_rate:<7.2g} {outcome}   about {left / 60:.0f} min left",
                flush=True,
            )
        return results


def serve(worker: subprocess.Popen[str], waiting: queue.SimpleQueue, answers: queue.SimpleQueue) -> None:
    """Gives a process one trial after the other until none is waiting."""
    while True:
        try:
            trial = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            worker.stdin.write(trial.write() + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = worker.wait()
            answers.put(
                (None, {"failure": f"a process ended with status {status} (-9 is often too little memory)"})
            )
            return
        answers.put((trial, json.loads(line)))

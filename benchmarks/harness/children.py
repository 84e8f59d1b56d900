"""Processes side by side, one a peer, that take turns at being measured.

All are prepared first; then, round by round, each in turn runs for a tenth of a second while the
others are stopped, threads and all. What disturbs the machine so disturbs everybody.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from statistics import median

from benchmarks.harness import machine


class Child:
    """A worker process; stopped while it is not asked."""

    def __init__(self, name: str, settings: Mapping[str, object]) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        env = machine.environment(int(str(settings["threads"])))
        env |= {str(k): str(v) for k, v in dict(settings.get("env") or {}).items()}  # type: ignore
        self.process = subprocess.Popen(
            [
                str(settings.get("python") or sys.executable),
                *("-m", "benchmarks.harness.worker", json.dumps(settings)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=machine.ROOT,
            env=env,
        )
        self.samples: list[str] = []
        self.facts: dict[str, object] = {}
        self.failed: str | None = None

    def prepare(self) -> None:
        """Wait until the worker is ready to be measured."""
        answer = self.read()
        self.failed = answer.get("failed")
        self.samples = answer.get("samples", [])
        self.facts = answer.get("facts", {})
        if self.failed is None:
            os.kill(self.process.pid, signal.SIGSTOP)

    def read(self) -> dict:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if line:
            return json.loads(line)
        self.errors.seek(0)
        return {"failed": (self.errors.read().strip().splitlines() or ["no answer"])[-1][:300]}

    def run(self, sample: str, seconds: float) -> dict[str, float]:
        """Seconds a unit of one round, of the wall and of the CPU."""
        os.kill(self.process.pid, signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"sample": sample, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        answer = self.read()
        if "failed" in answer:
            self.failed = answer["failed"]
        else:
            os.kill(self.process.pid, signal.SIGSTOP)
        return answer

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.send_signal(signal.SIGCONT)
        self.process.wait()
        self.errors.close()


def measure(
    jobs: Mapping[str, Mapping[str, object]], rounds: int, seconds: float, clock: str
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, dict], dict[str, str]]:
    """Times every sample of every job, in interleaved rounds.

    Args:
        jobs: settings of a worker by the job's name.
        rounds: how often each is run.
        seconds: about how long a round of one sample is.
        clock: "cpu" or "wall", whose minimum and median are kept.

    Returns:
        minimum and median by job and sample, facts by job, and reasons of those that failed.
    """
    children: list[Child] = []
    times: dict[str, dict[str, list[float]]] = {}
    try:
        for name, settings in jobs.items():  # one by one: each has the machine to itself
            children.append(Child(name, settings))
            children[-1].prepare()
        for _ in range(rounds):
            for child in children:
                for sample in child.samples if child.failed is None else ():
                    took = child.run(sample, seconds)
                    if child.failed is not None:
                        break
                    times.setdefault(child.name, {}).setdefault(sample, []).append(took[clock])
    finally:
        for child in children:
            child.close()
    failed = {child.name: child.failed for child in children if child.failed is not None}
    found = {
        name: {sample: {"min": min(t), "median": median(t)} for sample, t in samples.items()}
        for name, samples in times.items()
        if name not in failed
    }
    return found, {child.name: child.facts for child in children}, failed

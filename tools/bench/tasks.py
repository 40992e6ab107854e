"""What the platform adds to a task: everything but generation and sandbox."""

import time
from datetime import datetime
from typing import Any

import httpx

from tools.bench.stack import Bench


def overhead_ms(bench: Bench, runs: int) -> list[float]:
    """Return, for tasks one after the other, the time from submission to the request for approval, less the work."""
    body = {
        "requirements": "Return the sum of two numbers",
        "signature": "def add(a: int, b: int) -> int:",
        "examples": [
            {"args": [1, 2], "expected": 3},
            {"args": [5, -7], "expected": -2},
            {"args": [0, 9], "expected": 9},
        ],
        "mode": "autonomous",
        "candidates": 2,
    }
    headers = {"Authorization": f"Bearer {bench.key('ada')}"}
    measured = []
    with httpx.Client(base_url=bench.url, headers=headers, timeout=90) as client:
        for _ in range(runs):
            task = client.post("/api/tasks", json=body).raise_for_status().json()
            task = _decided(client, task["id"])
            [last] = [one for one in task["timeline"] if one["type"] == "grace.decision-reached.v1"][-1:]
            worked = sum(_seconds(one) for one in task["timeline"] if one["type"] == "grace.candidates-generated.v1")
            whole = (_time(last["at"]) - _time(task["submitted_at"])).total_seconds()
            measured.append((whole - worked) * 1000)
    return measured


def _decided(client: httpx.Client, task_id: str) -> dict[str, Any]:
    for _ in range(600):
        task: dict[str, Any] = client.get(f"/api/tasks/{task_id}").raise_for_status().json()
        if any(one["type"] == "grace.decision-reached.v1" for one in task["timeline"]):
            return task
        time.sleep(0.1)
    raise RuntimeError(f"task {task_id} comes to no decision")


def _seconds(fact: dict[str, Any]) -> float:
    summary = fact["summary"]
    return float(summary.get("generation_s", 0)) + float(summary.get("evaluation_s", 0))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

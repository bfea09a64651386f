"""`inhouse demo` does what it says: the whole loop on real input, as a user runs it."""

import json
import subprocess
from pathlib import Path

import pytest

from inhouse.core.children import python
from servers import plain_environment

STEPS = [
    "Ingest the policy documents",
    "Create dataset v1",
    "Train intent classifier v1",
    "Register and serve it",
    "Import the workflow",
    "Ask 10 questions",
    "Colleagues correct what was wrong",
    "Accept them into dataset v2",
    "Retrain: version 2",
    "Gate: both on the same test rows",
    "Canary with 20 % of the traffic",
    "Promote",
    "Ask other phrasings, never trained on",
    "A poisoned batch of feedback",
    "Gate refuses it, live stays",
]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_step_of_the_demo_does_what_it_says(tmp_path: Path) -> None:
    command = python("inhouse.cli", "demo", "--json")
    done = subprocess.run(command, cwd=tmp_path, env=plain_environment(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert [(step["name"], step["ok"]) for step in told["steps"]] == [(name, True) for name in STEPS]
    figures = {step["name"]: step["figures"] for step in told["steps"]}
    assert figures["Ask 10 questions"]["refused"] == 1
    assert figures["Gate: both on the same test rows"]["verdict"] == "PROMOTE"
    assert figures["Gate refuses it, live stays"]["verdict"] == "REJECT"
    assert figures["Gate refuses it, live stays"]["live_version"] == 2

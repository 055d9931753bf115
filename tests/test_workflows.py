"""The workflows of CI: who may run code on whose machine, and who may write."""

from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parent.parent / ".github" / "workflows"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
JOBS = [
    pytest.param(workflow, job, id=f"{name}:{title}")
    for name, workflow in WORKFLOWS.items()
    for title, job in workflow["jobs"].items()
]
SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"


def steps(job, key):
    return [step[key] for step in job["steps"] if key in step]


@pytest.mark.parametrize(("workflow", "job"), JOBS)
def test_no_fork_runs_code_on_a_machine_of_ours(workflow, job):
    triggers = workflow[True]  # YAML 1.1 reads the key "on" as true
    assert "pull_request_target" not in triggers, "it gives a fork's code the secrets of this repository"
    if "self-hosted" in job["runs-on"]:
        assert SAME_REPOSITORY in job["if"]
    else:
        assert job["runs-on"] == "ubuntu-latest"


@pytest.mark.parametrize(("workflow", "job"), JOBS)
def test_a_job_that_may_write_runs_no_code_of_a_pull_request(workflow, job):
    assert workflow["permissions"] == {"contents": "read"}
    if "write" in job.get("permissions", {}).values():
        assert not any("checkout" in action for action in steps(job, "uses"))


@pytest.mark.parametrize(("workflow", "job"), JOBS)
def test_what_comes_from_outside_reaches_a_shell_as_data(workflow, job):
    assert not any("${{" in command for command in steps(job, "run"))


def test_a_push_runs_the_tests_and_a_gpu_compares_base_and_head():
    assert "push" in WORKFLOWS["tests.yml"][True]
    assert ".ci/run" in steps(WORKFLOWS["tests.yml"]["jobs"]["tests"], "run")
    commands = steps(WORKFLOWS["gpu.yml"]["jobs"]["measure"], "run")
    assert any("kvgpt compare --ab" in command for command in commands)

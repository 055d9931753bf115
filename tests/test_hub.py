"""The hub: what is here is used, what is not is asked for where there is network, and what does not exist is said."""

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from kvgpt import hub


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Pretend that a model is on the hub and not yet here; what was asked of the hub is kept."""
    calls = []

    def snapshot_download(name, allow_patterns, local_files_only=False):
        calls.append(local_files_only)
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        if name == "nobody/nothing":
            raise HFValidationError("404")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(hub, "reachable", lambda host, port=443: True)
    return calls


def test_a_model_that_is_not_here_is_looked_for_here_first(asked, tmp_path):
    assert hub.snapshot("somebody/model", ["*.safetensors"]) == tmp_path
    assert asked == [True, False]


def test_a_model_that_does_not_exist_is_named(asked):
    with pytest.raises(ValueError, match="no checkpoint 'nobody/nothing': neither a directory nor a model on the hub"):
        hub.snapshot("nobody/nothing", ["*.safetensors"])


def test_a_proxy_is_asked_in_the_hosts_place(monkeypatch):
    knocked = []

    class Connection:
        def close(self):
            pass

    def connect(address, timeout):
        knocked.append(address)
        return Connection()

    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("kvgpt.hub.socket.create_connection", connect)
    assert hub.reachable("huggingface.co")
    assert knocked == [("proxy.invalid", 3128)]
    hub.require("huggingface.co", "a thing", "do this")

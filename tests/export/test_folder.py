"""Folders of small untrained networks: what is written, compared and left out."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import safetensors.torch
import torch
from torch import nn

from surrogate_nas.errors import MissingExtraError
from surrogate_nas.export import programs
from surrogate_nas.export.folder import Contents, write_folder
from surrogate_nas.export.programs import quiet, require_onnx
from surrogate_nas.export.writing import free_path, plain, safe_name
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

pytestmark = pytest.mark.slow

TASK = ToyTask()
INPUTS = TASK.prepare(TASK.test.inputs)
FORMS = ["network.py", "network.pt2", "network.onnx"]


def toy_network() -> nn.Module:
    torch.manual_seed(3)
    return ToySpace().build(ARCHITECTURE, TASK).eval()


def contents(network: nn.Module | None = None, **changes: Any) -> Contents:
    given: dict[str, Any] = {"task": TASK, "architecture": {}, "metrics": {}, **changes}
    return Contents(network=toy_network() if network is None else network, **given)


def exported(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text())["exported"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("made") / "best", contents())


def test_all_files_are_there(folder: Path) -> None:
    assert sorted(os.listdir(folder)) == sorted(
        [*FORMS, "README.md", "architecture.json", "metrics.json", "weights.safetensors"]
    )
    assert os.listdir(folder.parent) == ["best"]


def test_the_weights_have_the_network_s_own_names(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    wanted = toy_network().state_dict()

    assert weights.keys() == wanted.keys()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("n", [1, 2, 5, 48])
def test_programs_take_any_number_of_inputs(folder: Path, n: int) -> None:
    wanted = toy_network()(INPUTS[:n]).detach()
    with quiet():
        program = torch.export.load(folder / "network.pt2").module()
    session = onnxruntime.InferenceSession(str(folder / "network.onnx"))
    outputs = session.run(["output"], {"input": INPUTS[:n].numpy()})[0]

    torch.testing.assert_close(program(INPUTS[:n]), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.from_numpy(outputs), wanted, atol=1e-5, rtol=1e-5)


def test_the_largest_difference_of_each_form_is_noted(folder: Path) -> None:
    differences = exported(folder)["largest_difference"]

    assert sorted(differences) == sorted(FORMS)
    assert all(0 <= difference < 1e-5 for difference in differences.values())


def test_no_data_are_in_the_program(folder: Path) -> None:
    with quiet():
        program = torch.export.load(folder / "network.pt2")
    example = program.example_inputs
    assert example is not None
    assert not example[0][0].any()


def test_the_folder_says_what_it_holds_and_what_not(folder: Path) -> None:
    text = (folder / "README.md").read_text()

    assert all(f"- `{name}`: " in text for name in FORMS)
    assert "(n, 1, 8, 8) as float32" in text
    assert "`prepare in network.py`: `the task has no preparation()`" in text
    assert "torchscript" not in text


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    network = toy_network().train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    write_folder(tmp_path / "best", contents(network))

    assert network.training
    assert all(torch.equal(before[n], value) for n, value in network.state_dict().items())
    convolution = next(v for n, v in network.state_dict().items() if v.ndim == 4)
    assert convolution.is_contiguous(memory_format=torch.channels_last)


class Branching(nn.Module):
    """Neither torch.fx nor torch.export can follow this; a recording of it is right by chance."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.linear(x.flatten(1))
        return outputs if outputs.sum() < 1e9 else -outputs


def test_what_cannot_be_exported_is_left_out_with_its_reason(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "best", contents(Branching().eval()))
    left_out = exported(made)["left_out"]

    forms = {"network.py", "network.pt2", "network.torchscript.pt", "network.onnx"}
    assert set(left_out) == forms
    assert "torch.fx cannot trace" in left_out["network.py"]
    assert "the same operations for every input" in left_out["network.torchscript.pt"]
    assert not (made / "network.torchscript.pt").exists()
    assert "## Left out" in (made / "README.md").read_text()


class Wavering(nn.Module):
    """Says something else in the recording than when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.linear(x.flatten(1))
        return outputs + (0 if type(x).__name__ == "Proxy" else 3)


def test_a_form_with_other_outputs_is_not_kept(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "best", contents(Wavering().eval()))

    assert "differ by 3" in exported(made)["left_out"]["network.py"]
    assert not (made / "network.py").exists()
    assert exported(made)["largest_difference"]["network.pt2"] < 1e-5


def test_without_its_packages_onnx_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    made = write_folder(tmp_path / "best", contents())

    assert "pip install 'surrogate-nas[onnx]'" in exported(made)["left_out"]["network.onnx"]
    with pytest.raises(MissingExtraError, match="without onnxscript"):
        require_onnx()


def test_without_a_runtime_the_difference_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "run_onnx", lambda *_: None)
    monkeypatch.setattr("surrogate_nas.export.folder.run_onnx", lambda *_: None)
    made = write_folder(tmp_path / "best", contents())

    assert exported(made)["largest_difference"]["network.onnx"] is None


def test_a_network_too_large_for_onnx_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_MOST_ONNX_BYTES", 10)
    made = write_folder(tmp_path / "best", contents())

    assert "at most 10 bytes" in exported(made)["left_out"]["network.onnx"]


def test_shared_weights_are_written_once_each(tmp_path: Path) -> None:
    layer = nn.Linear(64, 64)
    network = nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer, nn.Linear(64, 3)).eval()
    made = write_folder(tmp_path / "best", contents(network))
    weights = safetensors.torch.load_file(made / "weights.safetensors")

    assert weights.keys() == network.state_dict().keys()
    assert "network.py" in exported(made)["largest_difference"]


class NoNumbers(nn.Module):
    """Its state has no form in a file of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def get_extra_state(self) -> object:
        return object()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.linear(x.flatten(1))
        return outputs


def test_a_folder_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        write_folder(tmp_path / "best", contents(NoNumbers()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits of POSIX")
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
        with pytest.raises(OSError, match="File too large"):
            write_folder(tmp_path / "best", contents())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_texts_of_others_do_not_break_the_files(tmp_path: Path) -> None:
    odd = 'a "b"\n`c` \udcff \u202e'
    made = write_folder(tmp_path / "best", contents(architecture={"classes": [odd, "\u00fc"]}))

    assert json.loads((made / "architecture.json").read_text())["classes"] == [odd, "\u00fc"]
    assert plain(odd) == "a \"b\" 'c' ? ?"
    assert plain("x" * 300) == "x" * 197 + "..."


@pytest.mark.parametrize(
    ("name", "safe"),
    [("digits", "digits"), ("a/../b", "a-..-b"), ("...", "study"), ("", "study"), ("-rf", "rf")],
)
def test_any_name_becomes_a_safe_one(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_the_first_free_path_is_taken(tmp_path: Path) -> None:
    assert free_path(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").symlink_to("nowhere")
    assert free_path(tmp_path / "a") == tmp_path / "a-3"


def test_quiet_keeps_prints_logs_and_warnings_back(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with quiet():
        sys.stdout.write("printed")
        sys.stderr.write("printed")
        warnings.warn("warned", stacklevel=1)
        logging.getLogger("torch").error("logged")
    logging.getLogger("torch").error("later")

    assert capfd.readouterr().out == ""
    assert [record.message for record in caplog.records] == ["later"]

"""What could run what is read from a file or a storage is not called at all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import surrogate_nas

ROOT = Path(surrogate_nas.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))

MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path"),
    *("runpy.run_module", "importlib.import_module", "yaml.load", "yaml.unsafe_load"),
    *("yaml.full_load", "torch.jit.load", "torch.export.load", "torch.hub.load"),
    *(
        "pandas.read_pickle",
        "pd.read_pickle",
        "subprocess.getoutput",
        "subprocess.getstatusoutput",
    ),
}
ALLOWED = {
    # Between a study's process and its own workers, over pipes without any other end.
    ("running/processes/messages.py", "cloudpickle"),
    # The generated network.py is run once where it was generated, to compare its outputs; and so
    # are the programs that were written a moment ago.
    ("export/folder.py", "exec"),
    ("export/folder.py", "compile"),
    ("export/programs.py", "torch.export.load"),
    ("export/programs.py", "torch.jit.load"),
    # The public names, and what the folders of domains declare in their source. A file that is
    # read can only choose among these.
    ("__init__.py", "importlib.import_module"),
    ("domains/registry.py", "importlib.import_module"),
    ("samplers/__init__.py", "importlib.import_module"),
    # The file of the user's own that the argument --backbone names, and no storage.
    ("domains/finetuning/sources.py", "loader.exec_module"),
    # The suite for tasks compiles, without running it, what a task wants to be written.
    ("testing/tasks.py", "compile"),
}


def dangers(source: str) -> list[str]:
    """What in a source could run what is read."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                found.append(str(node.module))
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += sorted(names & CALLS)
        elif isinstance(node, ast.Call):
            found += _of_call(node)
    return found


def _of_call(node: ast.Call) -> list[str]:
    name = ast.unparse(node.func)
    options = {k.arg: ast.unparse(k.value) for k in node.keywords}
    runs_a_file = name.endswith(".exec_module")
    found = [name] if name in CALLS or runs_a_file else []
    if name == "torch.load" and options.get("weights_only") != "True":
        found.append("torch.load without weights_only")
    if name in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
        found.append("np.load without allow_pickle=False")
    if options.get("allow_pickle", "False") != "False":
        found.append("allow_pickle")
    if options.get("shell", "False") != "False":
        found.append("shell")
    return found


def test_no_source_calls_what_could_run_what_it_reads() -> None:
    """But for the places that are named, each with its reason."""
    assert len(SOURCES) > 100
    found = {
        (path.relative_to(ROOT).as_posix(), danger)
        for path in SOURCES
        for danger in dangers(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import os, cloudpickle as cp",
        "from joblib import load",
        "from torch.hub import load",
        "from yaml import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.savez(path, allow_pickle=flag)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "value = eval(text)",
        "exec(code)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "importlib.import_module(name)",
        "spec.loader.exec_module(module)",
    ],
)
def test_what_is_dangerous_would_be_found(line: str) -> None:
    """Each in a form that sources have."""
    assert dangers(line) != []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "safetensors.torch.load(data)",
        "re.compile(pattern)",
        "network.eval()",
        '"pickle.load(file)"',
        "subprocess.run([program], shell=False)",
    ],
)
def test_what_is_harmless_would_pass(line: str) -> None:
    """Or the search would be of no use."""
    assert dangers(line) == []

"""The package for OptunaHub: laid out by the registry's rules, loaded by its loader, offline."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import optunahub
import pytest
import yaml

import surrogate_nas

REGISTRY = Path(__file__).parents[2] / "integrations" / "optunahub" / "package"
PACKAGE = REGISTRY / "samplers" / "surrogate_nas"
README = (PACKAGE / "README.md").read_text(encoding="utf-8")


def load(package: str = "samplers/surrogate_nas") -> ModuleType:
    return optunahub.load_local_module(package, registry_root=str(REGISTRY))


def front_matter() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(README.split("---\n")[1])
    return found


def test_it_loads_ours() -> None:
    hub = load()
    assert hub.__name__ == "optunahub_registry.package.samplers.surrogate_nas"
    assert {name: getattr(hub, name) for name in hub.__all__} == {
        name: getattr(surrogate_nas, name) for name in hub.__all__
    }


def test_the_front_matter_is_what_the_registry_reads() -> None:
    found = front_matter()
    assert list(found) == ["author", "title", "description", "tags", "optuna_versions", "license"]
    assert found["tags"][0] == "sampler"
    assert found["optuna_versions"] == [optuna.__version__]
    assert found["license"] == "MIT License"


def test_the_sections_are_there_in_order() -> None:
    sections = re.findall(r"^## (.+)$", README, re.MULTILINE)
    assert sections == ["Abstract", "APIs", "Installation", "Example"]


def test_the_licence_is_mit() -> None:
    assert (PACKAGE / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")


def test_nothing_is_large_or_binary() -> None:
    for file in PACKAGE.rglob("*.*"):
        if "__pycache__" not in file.parts:
            assert len(file.read_text(encoding="utf-8")) < 20_000


def test_the_signature_in_the_readme_is_the_sampler_s() -> None:
    said = re.search(r"`SurrogateSampler\((.*)\)`", README)
    assert said is not None
    parameters = inspect.signature(surrogate_nas.SurrogateSampler).parameters.values()
    first, *others = (f"{p.name}={p.default!r}".replace("'", '"') for p in parameters)
    assert said[1] == ", ".join([first, "*", *others])


def test_the_readme_s_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optunahub, "load_module", load)
    (block,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["study"].best_value >= 5


def test_the_example_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(optunahub, "load_module", load)
    runpy.run_path(str(PACKAGE / "example.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert "None" not in lines[-1]

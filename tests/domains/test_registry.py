"""Domains are found by listing their folder; one that cannot be used leaves the others usable."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

import surrogate_nas as sn
from surrogate_nas import domains
from surrogate_nas.cli import main
from surrogate_nas.domains import classification
from surrogate_nas.domains.registry import PACKAGE, SHARED
from surrogate_nas.errors import MissingExtraError, TaskError
from surrogate_nas.spaces import CellSpace
from tests.helpers.toys import ToySpace

DECLARED = """
from surrogate_nas.domains.registry import Domain
{line}
DOMAIN = Domain(
    name="{name}", data="sounds", files=(".wav",), tasks=(".makers:from_sounds",),
    spaces={{"hearing": ".makers:Hearing"}}, metrics="..classification:METRICS",
    metric="f1", load=".makers:load", extra="audio",
)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose sub-folders are domains, too."""
    monkeypatch.setattr(domains, "__path__", [*domains.__path__, str(tmp_path)])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(f"{PACKAGE}.sounds")]:
        del sys.modules[name]


def declare(folder: Path, line: str = "", makers: str = "", name: str = "sounds") -> None:
    (folder / "sounds").mkdir()
    (folder / "sounds" / "__init__.py").write_text(DECLARED.format(line=line, name=name))
    (folder / "sounds" / "makers.py").write_text(makers)


def test_the_domains_are_the_folders() -> None:
    here = Path(domains.__file__).parent
    folders = sorted(path.parent.name for path in here.glob("*/__init__.py"))
    assert list(domains.names()) == sorted(set(folders) - set(SHARED))
    assert set(SHARED) < set(folders)
    assert "images" in folders


@pytest.mark.parametrize("name", domains.names())
def test_everything_that_a_domain_declares_is_there(name: str) -> None:
    domain = domains.named(name)
    for place in (*domain.tasks, *domain.spaces.values(), domain.load):
        assert callable(domain.get(place)) or isinstance(domain.get(place), tuple)
    assert domain.metric in domain.get(domain.metrics)
    for short, place in domain.spaces.items():
        kind = domain.get(place)
        assert isinstance(kind(), sn.SearchSpace)
        assert domains.ready_space(kind.__name__) is kind
        assert domains.domain_of_space(kind) == (domain, short)


def test_no_name_is_offered_twice() -> None:
    for face in ("tasks", "spaces"):
        offers = [
            place.partition(":")[2]
            for domain in domains.usable()
            for place in (domain.tasks if face == "tasks" else domain.spaces.values())
        ]
        assert sorted(offers) == sorted(set(offers))


def test_a_new_domain_is_offered_everywhere(folder: Path) -> None:
    makers = "def from_sounds(): return 'task'\nclass Hearing: pass\ndef load(path): return path"
    declare(folder, makers=makers)
    assert {"images", "sounds"} <= set(domains.names())
    assert sn.tasks.from_sounds() == "task"
    assert {"from_sounds", "from_arrays", "load"} <= set(dir(sn.tasks))
    assert (
        set(dir(sn.spaces))
        == set(sn.spaces.__all__)
        == {"CellSpace", "ConvNetSpace", "FineTuneSpace", "Hearing"}
    )
    loaded: object = sn.tasks.load("a.wav", domain="sounds")
    assert loaded == "a.wav"
    assert domains.named("sounds").get("..classification:METRICS") is classification.METRICS


def test_a_file_of_another_domain_names_the_domains(folder: Path, tmp_path: Path) -> None:
    declare(folder)
    (tmp_path / "a.wav").touch()
    with pytest.raises(TaskError, match=r"images: an \.npz file.*sounds: sounds.*domain="):
        sn.tasks.load(tmp_path / "a.wav")


@pytest.mark.parametrize("where", ["folder", "module"])
def test_a_missing_package_names_the_extra_and_spares_the_others(
    folder: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = "import no_such_package_of_sounds"
    declare(folder, line=broken if where == "folder" else "", makers=broken)
    extra = "sounds" if where == "folder" else "audio"
    with pytest.raises(MissingExtraError, match=rf"no_such_package.*surrogate-nas\[{extra}\]"):
        sn.tasks.load("a.wav", domain="sounds")
    assert isinstance(sn.spaces.CellSpace(), CellSpace)
    assert sn.tasks.digits().name == "digits"
    assert domains.ready_space("CellSpace") is CellSpace
    with pytest.raises((MissingExtraError, AttributeError)):
        _ = sn.tasks.from_sounds
    arguments = ["search", "--domain", "sounds", "--data", "a.wav"]
    assert main([*arguments, "--storage", "sqlite://"]) == 2
    assert f"surrogate-nas[{extra}]" in capsys.readouterr().err


def test_an_unknown_domain_lists_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TaskError, match=r"a domain among .*images.*; got 'sound'"):
        sn.tasks.load("a.wav", domain="sound")
    with pytest.raises(SystemExit):
        main(["search", "--domain", "sound", "--data", "a.wav"])
    said = capsys.readouterr().err
    assert "invalid choice: 'sound'" in said
    assert all(name in said for name in domains.names())


@pytest.mark.parametrize("fault", ["nothing", "another name"])
def test_a_folder_that_declares_no_domain_is_named(folder: Path, fault: str) -> None:
    declare(folder, name="noises")
    if fault == "nothing":
        (folder / "sounds" / "__init__.py").write_text("")
    with pytest.raises(TaskError, match=r"DOMAIN in surrogate_nas\.domains\.sounds"):
        domains.named("sounds")


def test_names_that_nobody_offers() -> None:
    for face in (sn.tasks, sn.spaces):
        with pytest.raises(AttributeError, match="no attribute 'from_nothing'"):
            _ = face.from_nothing
    assert domains.ready_space("ToySpace") is None
    assert domains.domain_of_space(ToySpace) is None


def test_a_class_of_a_ready_space_s_name_is_not_that_space() -> None:
    own = type("CellSpace", (), {})
    assert domains.domain_of_space(own) is None


def test_declarations_import_nothing_heavy() -> None:
    code = "import sys, surrogate_nas.domains as d; [d.named(n) for n in d.names()]; "
    heavy = "print(sorted({'torch', 'numpy', 'optuna', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_type_checkers_see_what_images_offer() -> None:
    for face in ("tasks", "spaces"):
        source = Path(sn.__file__).with_name(f"{face}.py").read_text()
        seen = {
            (node.module, alias.name)
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}.")
            if (node.module, node.names[0].name) != (f"{PACKAGE}.loading", "load")
            for alias in node.names
        }
        images = domains.named("images")
        places = images.tasks if face == "tasks" else images.spaces.values()
        at = f"{PACKAGE}.images"
        split = [place.split(":") for place in places]
        assert seen == {(resolve_name(module, at), name) for module, name in split}

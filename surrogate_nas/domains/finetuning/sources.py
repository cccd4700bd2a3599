"""Where a backbone comes from: a function, a module, a file, or a model of another package."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

from torch import nn

from surrogate_nas.domains.finetuning.plan import read_plan
from surrogate_nas.domains.finetuning.weights import put_weights, read_weights
from surrogate_nas.errors import MissingExtraError, SpaceError
from surrogate_nas.tensors.counting import tried

Given: TypeAlias = "Callable[[], Any] | nn.Module | str | os.PathLike[str] | Mapping[str, Any]"
"""A function or class that makes the backbone, the backbone, a path, a text, or settings."""

INPUTS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]] | None] = {
    "auto": None,
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0-255": ((0.0,), (1 / 255,)),
    "0-1": ((0.0,), (1.0,)),
    "-1-1": ((0.5,), (0.5,)),
}
"""Name of a scale -> mean and standard deviation of inputs that were from 0 to 1 before."""

_SETTINGS = ("load", "inputs", "accuracy")
_PACKAGES = ("torchvision", "timm")
_MOST_NAME = 100


@final
@dataclass(frozen=True)
class Loaded:
    """A backbone, and what its source tells of it.

    Args:
        module: The backbone.
        origin: Where its weights come from, in words.
        inputs: Mean and standard deviation of its inputs; None if the source does not say.
        accuracy: Accuracy on the data that it was trained on, 0 to 1; None if it is not known.
    """

    module: nn.Module
    origin: str
    inputs: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    accuracy: float | None = None


@final
@dataclass(frozen=True)
class Source:
    """A backbone that has not been loaded yet.

    Args:
        name: Name that the user gave it.
        given: What the user gave to load.
        inputs: Name of the scale of its inputs, one of INPUTS.
        accuracy: Accuracy that the user gave; None if none.
    """

    name: str
    given: Any
    inputs: str = "auto"
    accuracy: float | None = None

    def load(self) -> Loaded:
        """Return the backbone.

        Raises:
            SpaceError: It cannot be loaded, or is no module.
            MissingExtraError: Its package is not installed.
        """
        given = self.given
        if isinstance(given, nn.Module):
            loaded = Loaded(given, f"a {type(given).__name__} that was given")
        elif isinstance(given, str | os.PathLike):
            loaded = _from_text(self.name, os.fspath(given))
        else:
            loaded = Loaded(_called(self.name, given, ()), f"made by {_name_of(given)}")
        return Loaded(
            loaded.module,
            loaded.origin,
            loaded.inputs if self.inputs == "auto" else INPUTS[self.inputs],
            loaded.accuracy if self.accuracy is None else self.accuracy,
        )


def sources(backbones: Mapping[str, Given] | Sequence[str]) -> dict[str, Source]:
    """Return the sources of backbones by name.

    Args:
        backbones: Backbones by name, or texts as the command line takes them.

    Raises:
        SpaceError: A name or what was given is unusable.
    """
    if isinstance(backbones, str | bytes):
        raise _unusable("backbones", backbones)
    if not isinstance(backbones, Mapping):
        if not isinstance(backbones, Sequence):
            raise _unusable("backbones", backbones)
        pairs = [named_text(text) for text in backbones]
        backbones = dict(pairs)
        if len(backbones) < len(pairs):
            twice = next(n for n, _ in pairs if sum(n == other for other, _ in pairs) > 1)
            raise SpaceError(
                expected="each backbone under a name of its own",
                got=f"{twice!r} twice",
                fix="write NAME= before one of them",
            )
    return {name: _source(name, given) for name, given in backbones.items()}


def named_text(text: str) -> tuple[str, str]:
    """Split a text of the command line into a backbone's name and what to load.

    It is ``NAME=FILE.py:CALLABLE[:ARGUMENT]``, ``torchvision:NAME[=FILE]``, ``timm:NAME[=FILE]``
    or ``NAME=`` before one of the latter two or a path of weights.

    Raises:
        SpaceError: The text has another form.
    """
    head, _, rest = str(text).partition("=")
    package, colon, model = head.partition(":")
    if colon and package in _PACKAGES and model:
        return model, str(text)
    if head and rest and not colon:
        return head, rest
    raise SpaceError(
        expected="NAME=FILE.py:CALLABLE[:ARGUMENT], NAME=FILE, torchvision:NAME[=FILE] or "
        "timm:NAME[=FILE] as a backbone",
        got=f"{text!r:.200}",
        fix="write for example --backbone torchvision:resnet18",
    )


def _source(name: str, given: Any) -> Source:
    """Return one source, its settings checked."""
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= _MOST_NAME:
        raise SpaceError(
            expected=f"names of 1 to {_MOST_NAME} printable characters for backbones",
            got=f"{name!r:.120}",
            fix='write for example backbones={"resnet": load_resnet}',
        )
    settings = dict(given) if isinstance(given, Mapping) else {"load": given}
    unknown = sorted(set(settings) - set(_SETTINGS))
    if unknown or "load" not in settings:
        raise SpaceError(
            expected=f"settings {', '.join(_SETTINGS)} of backbone {name!r}, with load among them",
            got=", ".join(unknown) or ", ".join(settings) or "none",
            fix='write for example {"load": load_resnet, "inputs": "imagenet"}',
        )
    load, inputs = settings["load"], settings.get("inputs", "auto")
    accuracy = settings.get("accuracy")
    if inputs not in INPUTS:
        raise SpaceError(
            expected=f"inputs of backbone {name!r} among {', '.join(INPUTS)}",
            got=repr(inputs),
            fix="leave inputs out, or choose one of these",
        )
    if accuracy is not None and not (isinstance(accuracy, int | float) and 0 <= accuracy <= 1):
        raise SpaceError(
            expected=f"the accuracy of backbone {name!r} as a number from 0 to 1",
            got=repr(accuracy),
            fix="leave accuracy out if it is not known",
        )
    is_usable = isinstance(load, nn.Module | str | os.PathLike) or callable(load)
    if not is_usable or load == "":
        raise _unusable(f"backbone {name!r}", load)
    return Source(name, load, inputs, None if accuracy is None else float(accuracy))


def _unusable(what: str, got: object) -> SpaceError:
    """Return the error of something that is no backbone."""
    return SpaceError(
        expected=f"{what} as a function, a module or a path"
        + (" by name" if what == "backbones" else ""),
        got=f"{got!r:.100} of type {type(got).__name__}",
        fix='write for example backbones={"resnet": load_resnet}, with a function that returns '
        "the network",
    )


def _name_of(given: Any) -> str:
    """Return the name of a function or class."""
    return str(getattr(given, "__qualname__", type(given).__name__))


def _called(name: str, function: Callable[..., Any], arguments: tuple[str, ...]) -> nn.Module:
    """Return what a user's function returns, if it is a module.

    Raises:
        SpaceError: It raises an error, or returns something else.
    """
    found = tried(lambda: function(*arguments))
    if isinstance(found, Exception):
        raise SpaceError(
            expected=f"{_name_of(function)} to return the backbone {name!r}",
            got=f"{type(found).__name__}: {found}",
            fix="correct it, or what it is given; it is called "
            + (f"with {arguments[0]!r}" if arguments else "without arguments"),
        ) from found
    if not isinstance(found, nn.Module):
        raise SpaceError(
            expected=f"a torch.nn.Module from {_name_of(function)}, as backbone {name!r}",
            got=f"the class {found.__name__}"
            if inspect.isclass(found)
            else f"{found!r:.100} of type {type(found).__name__}",
            fix="return the network with its weights",
        )
    return found


def _from_text(name: str, text: str) -> Loaded:
    """Return the backbone that a text names."""
    package, _, model = text.partition(":")
    if package in _PACKAGES and model:
        architecture, _, file = model.partition("=")
        return _of_package(package, architecture, Path(file) if file else None)
    path, *callable_ = text.split(":", 2)
    if callable_ and path.endswith(".py"):
        function = _function(Path(path), callable_[0])
        # A path means nothing on another machine, and a file's name does.
        shown = ", ".join(repr(Path(argument).name) for argument in callable_[1:])
        origin = f"made by {callable_[0]}({shown}) of {Path(path).name}"
        return Loaded(_called(name, function, tuple(callable_[1:])), origin)
    file_path = Path(text)
    if file_path.suffix.lower() == ".npz":
        return Loaded(read_plan(file_path), f"file {file_path.name}")
    if not file_path.is_file():
        raise SpaceError(
            expected=f"a file of weights as backbone {name!r}",
            got=f"nothing at {text!r:.200}",
            fix="correct the path, or write FILE.py:CALLABLE or torchvision:NAME=FILE",
        )
    return _of_package("torchvision", name, file_path)


def _of_package(package: str, architecture: str, file: Path | None) -> Loaded:
    """Return a model of torchvision or timm, with its own weights or those of a file."""
    made = f"{package} {architecture}"
    weights = None if file is None else read_weights(file)
    try:
        module = importlib.util.find_spec(package) and _PACKAGE_LOADERS[package]
    except (ImportError, ValueError):
        module = None
    if not module:
        raise MissingExtraError(
            expected=f"the package {package}, which has the network {architecture!r}",
            got="an environment without it",
            fix=f"run pip install {package}, or give a function that makes the network",
        )
    loaded = tried(lambda: module(architecture, weights is None))
    if isinstance(loaded, Exception):
        raise SpaceError(
            expected=f"a network {architecture!r} of {package}"
            + (" with its weights" if weights is None else ""),
            got=f"{type(loaded).__name__}: {loaded!s:.300}",
            fix="correct the name, or give a file of weights that you have",
        ) from loaded
    if weights is None or file is None:
        return loaded
    put_weights(loaded.module, weights, f"{made} in {file.name}")
    return Loaded(loaded.module, f"{made}, file {file.name}", loaded.inputs, None)


def _torchvision(architecture: str, pretrained: bool) -> Loaded:
    """Return a model of torchvision, with the weights that torchvision has or without any."""
    import torchvision

    if not pretrained:
        made = torchvision.models.get_model(architecture, weights=None)
        return Loaded(made, f"torchvision {architecture}", INPUTS["imagenet"])
    weights = torchvision.models.get_model_weights(architecture).DEFAULT
    made = torchvision.models.get_model(architecture, weights=weights)
    figures: Mapping[str, float] = next(iter(weights.meta.get("_metrics", {}).values()), {})
    accuracy = figures.get("acc@1")
    return Loaded(
        made,
        f"torchvision {architecture}, weights {weights.name}",
        INPUTS["imagenet"],
        None if accuracy is None else accuracy / 100,
    )


def _timm(architecture: str, pretrained: bool) -> Loaded:
    """Return a model of timm, with the weights that timm has or without any."""
    import timm

    made = timm.create_model(architecture, pretrained=pretrained)
    known = getattr(made, "pretrained_cfg", None) or {}
    inputs = None
    if "mean" in known and "std" in known:
        inputs = (tuple(map(float, known["mean"])), tuple(map(float, known["std"])))
    return Loaded(made, f"timm {architecture}", inputs)


_PACKAGE_LOADERS: Mapping[str, Callable[[str, bool], Loaded]] = {
    "torchvision": _torchvision,
    "timm": _timm,
}


def _function(path: Path, name: str) -> Callable[..., Any]:
    """Return a function of a user's own file, which is run for it.

    Raises:
        SpaceError: The file is missing, raises an error, or has no such function.
    """
    if not path.is_file():
        raise SpaceError(
            expected=f"a Python file {str(path)!r} with {name!r}",
            got="no such file",
            fix="correct the path in FILE.py:CALLABLE",
        )
    module = tried(lambda: _module(path))
    if isinstance(module, Exception):
        raise SpaceError(
            expected=f"a Python file {str(path)!r} that can be imported",
            got=f"{type(module).__name__}: {module}",
            fix="correct the file",
        ) from module
    found = getattr(module, name, None)
    if not callable(found):
        known = [n for n, one in vars(module).items() if _is_own(one, module) and n[:1] != "_"]
        raise SpaceError(
            expected=f"a function or class {name!r} in {str(path)!r}",
            got=f"{', '.join(known[:10]) or 'none'}",
            fix="correct the name in FILE.py:CALLABLE",
        )
    return found  # type: ignore[no-any-return]


def _is_own(value: Any, module: Any) -> bool:
    """Whether a module defines a function or class itself."""
    return callable(value) and getattr(value, "__module__", "") == module.__name__


def _module(path: Path) -> Any:
    """Import a file, once for each path."""
    # NOTE: under a name of its own, as the file may be called like a package that is installed.
    name = f"surrogate_nas_backbone_{path.resolve().as_posix().encode().hex()}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        loader = spec.loader
        failure = tried(lambda: loader.exec_module(module))
        if isinstance(failure, Exception):
            # Half a module must not stay.
            del sys.modules[name]
            raise failure
    return sys.modules[name]

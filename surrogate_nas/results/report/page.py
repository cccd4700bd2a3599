"""report: writes a study's page."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import optuna

from surrogate_nas.errors import MissingExtraError, StudyError
from surrogate_nas.files.atomic import write_whole
from surrogate_nas.files.svg import printable
from surrogate_nas.results.report.content import content
from surrogate_nas.space import SearchSpace


def report(
    study: optuna.Study, path: str | os.PathLike[str], *, space: SearchSpace | None = None
) -> Path:
    """Write a study as one HTML file that needs nothing from elsewhere.

    The answer comes first: the best architecture, its picture, what it reached, its size. Then how
    the search went, how far the surrogate could be trusted, which choices mattered, every trial,
    and how it all was made. With several objectives the Pareto front takes the answer's place. Any
    Optuna study works; what is not known of it is left out.

    Args:
        study: Any Optuna study.
        path: Where to write the HTML file; its folder must exist.
        space: The search space, for pictures and names; by default what the study has recorded.

    Returns:
        The path.

    Raises:
        MissingExtraError: The extra ``report`` is not installed.
        StudyError: The file cannot be written.
    """
    target = Path(path)
    if not target.resolve().parent.is_dir() or target.is_dir():
        raise StudyError(
            expected="the path of a file, in a folder that exists",
            got=repr(str(target)),
            fix="make the folder, and name a file in it",
        )
    try:
        import jinja2
        import matplotlib
    except ImportError as error:
        raise MissingExtraError(
            expected="the packages of the extra 'report'",
            got=str(error),
            fix="run pip install 'surrogate-nas[report]'",
        ) from error
    del matplotlib
    template = (
        files("surrogate_nas.results.report")
        .joinpath("report.html.j2")
        .read_text(encoding="utf-8")
    )
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Of plain texts alone: pictures are markup already.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    page = environment.from_string(template).render(content(study, space))
    try:
        # Half characters, which Python's strings may hold, have no form in a file.
        write_whole(target.resolve(), page.encode("utf-8", "replace"))
    except OSError as error:
        raise StudyError(
            expected=f"a report that can be written to {str(target)!r}",
            got=f"{type(error).__name__}: {error.strerror}",
            fix="choose another folder, or make room",
        ) from error
    return target

"""report: write a study as one HTML file."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import optuna

from surrogate_nas.errors import MissingExtraError, StudyError
from surrogate_nas.files.atomic import write_whole
from surrogate_nas.files.svg import printable
from surrogate_nas.results.damage import readable_study
from surrogate_nas.results.report.content import content
from surrogate_nas.space import SearchSpace
from surrogate_nas.storage.given import require_study


def report(
    study: optuna.Study, path: str | os.PathLike[str], *, space: SearchSpace | None = None
) -> Path:
    """Write a study as one HTML file that needs nothing from elsewhere.

    The answer comes first: the best architecture, its picture, its value and its size. Then the
    report shows how the search went, how far the surrogate could be trusted, which choices
    mattered, every trial, and the versions and commands. With several objectives the Pareto front
    takes the place of the answer. Any Optuna study works, and unknown parts are left out.

    Args:
        study: Any Optuna study.
        path: Path of the HTML file. Its folder must exist, and an existing file is replaced.
        space: The search space, for pictures and names. By default it is the space that the study
            has recorded.

    Returns:
        The path of the file.

    Raises:
        MissingExtraError: The extra ``report`` is not installed.
        StudyError: The file cannot be written, or the study is damaged.
        StorageError: The storage fails.
    """
    require_study(study)
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
        # NOTE: only plain texts are cleaned, because pictures are markup already.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    with readable_study(study):
        page = environment.from_string(template).render(content(study, space))
    try:
        # NOTE: Python's strings may hold lone surrogates, which have no form in UTF-8.
        write_whole(target.resolve(), page.encode("utf-8", "replace"))
    except OSError as error:
        raise StudyError(
            expected=f"a report that can be written to {str(target)!r}",
            got=f"{type(error).__name__}: {error.strerror}",
            fix="choose another folder, or make room on the disk",
        ) from error
    return target

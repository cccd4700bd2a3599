"""The part of a study's note that says how to continue the study as it was begun."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import optuna

from surrogate_nas import attributes
from surrogate_nas.results.recorded_space import recorded_space
from surrogate_nas.storage.opening import address_of
from surrogate_nas.storage.optuna_private import storage_of, study_system_attrs
from surrogate_nas.storage.passwords import without_passwords

_CALL = "sn.create_study(task, space, "
_PROGRAM = "surrogate-nas search "


def resume(study: optuna.Study) -> str:
    """Return the command line, or the lines of Python, that continue a study."""
    address = address_of(storage_of(study))
    begun = str(study_system_attrs(study).get(attributes.COMMAND, ""))
    goes_on = "a stopped study goes on as if it had never been stopped"
    if begun.startswith(_PROGRAM):
        where = f" --storage {shlex.quote(address)}" if address else ""
        return (
            f"### Resume\n\nRun the same command again; {goes_on}. A larger `--trials` adds "
            "trials to it:\n\n" + block(begun + where, language="console")
        )
    where = f"storage={address!r}" if address else "storage=..."
    call = f"{_CALL}study_name={study.study_name!r})"
    if begun.startswith(_CALL):
        call = begun
    return (
        f"### Resume\n\nRun the same lines again, with the same task and space; {goes_on}:\n\n"
        + block(
            *_made_before(study),
            f"study = {_CALL}{where}, {call.removeprefix(_CALL)}",
            "study.optimize(sn.Objective(task, space, trainer), n_trials=10)",
            "result = sn.finalize(study, task, space, trainer)",
        )
    )


def block(*lines: str, language: str = "python") -> str:
    """Return lines of code as a Markdown block."""
    # NOTE: a name with backticks or line breaks must not end the block.
    safe = [without_passwords(line).replace("```", "'''").replace("\n", " ") for line in lines]
    return "\n".join([f"```{language}", *safe, "```"])


def _made_before(study: optuna.Study) -> list[str]:
    """Return the lines that make the space and the Trainer, where the study has recorded them."""
    lines = []
    space, trainer = recorded_space(study), study.user_attrs.get(attributes.TRAINER)
    if space is not None:
        lines.append(f"space = sn.spaces.{space!r}")
    if isinstance(trainer, Mapping):
        given = [f"{name}={value!r}" for name, value in trainer.items() if _is_said(name, value)]
        lines.append(f"trainer = sn.Trainer({', '.join(given)})")
    return lines


def _is_said(name: Any, value: Any) -> bool:
    """Whether a setting of the Trainer is one to name; the device is that of the machine."""
    is_plain = isinstance(value, str | int | float) and value not in ("", 0)
    return str(name).isidentifier() and name != "device" and is_plain

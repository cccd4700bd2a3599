"""Errors and warnings in the words of the command line: options in place of Python's arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping

from surrogate_nas.cli.arguments import TRAINING_FLAGS
from surrogate_nas.domains import Domain

_FLAGS: Mapping[str, str] = {
    **TRAINING_FLAGS,
    "base_sampler": "--base",
    "device": "--device",
    "exclude": "--exclude",
    "limits": "--limit",
    "metric": "--metric",
    "n_candidates": "--candidates",
    "n_concurrent": "--concurrent",
    "n_trials": "--trials",
    "n_workers": "--workers",
    "pruner": "--pruner",
    "search_training": "--search-training",
    "storage": "--storage",
    "study_name": "--name",
    "surrogate": "--surrogate",
}
"""Argument in Python -> option that has its value on the command line."""

_PHRASES: Mapping[str, str] = {
    "give the Trainer ": "give ",
    "run study.optimize first": "run surrogate-nas search first",
}
_LIMITS = re.compile(r"limits=\{['\"](\w+)['\"]: ([\w.]+)\}")
_VALUE = r"(?:'([^']*)'|\"([^\"]*)\"|(\([^)]*\)|[\w.+-]+\b(?!\())|(\.\.\.))?"


def in_options(text: str, domain: Domain | None) -> str:
    """Return a message with options of the command line where it names arguments of Python.

    Args:
        text: The message.
        domain: Domain whose options are those of the command; None leaves the options of domains
            out.
    """
    for python, said in _PHRASES.items():
        text = text.replace(python, said)
    text = _LIMITS.sub(r"--limit \1=\2", text)
    flags = dict(_FLAGS)
    values: dict[str, str] = {}
    for option in domain.options if domain else ():
        flags[option.argument] = option.flag
        values[option.argument] = option.metavar or ""
        if option.metavar is None:
            text = text.replace(f"{option.argument}={option.value!r}", option.flag)
    names = "|".join(sorted(flags, key=len, reverse=True))

    def given(found: re.Match[str]) -> str:
        name, quoted, double, plain = found[1], found[2], found[3], found[4]
        value = quoted or double or plain or ""
        if value.startswith("("):
            value = values.get(name, "")
        return f"{flags[name]} {value}".rstrip()

    # NOTE: an argument inside of a call stays, as the call is Python's.
    text = re.sub(rf"(?<![\w.'\"`(-])\b({names})={_VALUE}", given, text)
    # NOTE: an option may have an ordinary word as its name, as in "a file of another kind".
    clear = "|".join(name for name in flags if name in _FLAGS or "_" in name)
    text = re.sub(rf"\banother ({clear})\b", lambda found: f"another {flags[found[1]]}", text)
    with_stroke = "|".join(name for name in flags if "_" in name)
    bare = rf"(?<![\w.'\"`=(/-])\b({with_stroke})\b(?![\w'\"`=(-])"
    return re.sub(bare, lambda found: flags[found[1]], text)

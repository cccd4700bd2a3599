"""The command line: arguments -> the calls of the Python API; no logic of its own."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import torch
from optuna.samplers import BaseSampler

import surrogate_nas as sn
from surrogate_nas.errors import StudyError, SurrogateNasError
from surrogate_nas.storage import masked, open_storage, reachable
from surrogate_nas.study import continue_study
from surrogate_nas.summary import finite

_EPILOG = """\
examples:
  surrogate-nas search --data digits --trials 20
  surrogate-nas search --data photos/ --space convnet --trials 50 --limit parameters=1e6
  surrogate-nas show --storage sqlite:///nas.db --name photos
"""

_BASES: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
}
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for bad input, 130 for Ctrl-C."""
    arguments = _parser().parse_args(argv)
    # Our objective says why a trial failed; Optuna would add a traceback to each Ctrl-C.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        arguments.run(arguments)
    except SurrogateNasError as error:
        print(f"surrogate-nas: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nInterrupted. Every finished training is in the storage; the same command "
            "continues.",
            file=sys.stderr,
        )
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="surrogate-nas",
        description="Neural architecture search as ordinary Optuna studies: a surrogate screens "
        "candidates, only the best are trained.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    search = commands.add_parser(
        "search",
        help="search an architecture for a data set, or continue a search",
        description="Search an architecture for a data set. The same command continues a search "
        "that was stopped, up to --trials trials in all.",
    )
    _add_data_arguments(search)
    _add_search_arguments(search)
    search.set_defaults(run=_search)
    show = commands.add_parser(
        "show", help="list the studies of a storage, or sum one up", description="Sum up studies."
    )
    show.add_argument("--storage", required=True, metavar="URL", help="where the studies are")
    show.add_argument("--name", metavar="NAME", help="the study; without it, all are listed")
    show.set_defaults(run=_show)
    return parser


def _add_data_arguments(search: argparse.ArgumentParser) -> None:
    data = search.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="an .npz file, a folder with one sub-folder of images a class, or 'digits'",
    )
    data.add_argument("--metric", default="accuracy", help="default: %(default)s")
    data.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="resize a folder's images to N×N pixels; needed if their sizes differ",
    )
    data.add_argument(
        "--skip-unreadable", action="store_true", help="skip files that cannot be read, by name"
    )


def _add_search_arguments(search: argparse.ArgumentParser) -> None:
    what = search.add_argument_group("search")
    what.add_argument(
        "--space", choices=("cell", "convnet"), default="cell", help="default: %(default)s"
    )
    what.add_argument(
        "--search-training",
        action="store_true",
        help="search learning rate, weight decay and augmentation, too",
    )
    what.add_argument(
        "--trials", type=_positive, default=30, metavar="N", help="in all; default: %(default)s"
    )
    what.add_argument(
        "--limit",
        action="append",
        default=[],
        type=_limit,
        metavar="NAME=NUMBER",
        help="reject larger architectures before training, e.g. parameters=1e6; repeatable",
    )
    what.add_argument(
        "--surrogate", metavar="FILE", help="a fitted surrogate; default: learn from this study"
    )
    what.add_argument(
        "--base", choices=sorted(_BASES), default="tpe", help="base sampler; default: %(default)s"
    )
    what.add_argument(
        "--candidates",
        type=_positive,
        default=256,
        metavar="N",
        help="screened for each training, 1 switches screening off; default: %(default)s",
    )
    what.add_argument("--seed", type=_seed, default=0, help="default: %(default)s")
    training = search.add_argument_group("training")
    training.add_argument("--epochs", type=_positive, default=15, help="default: %(default)s")
    training.add_argument("--batch-size", type=_positive, default=64, help="default: %(default)s")
    training.add_argument(
        "--device", type=_device, help="default: cuda if there is a GPU, else cpu"
    )
    training.add_argument("--time-limit", type=float, metavar="SECONDS", help="of one training")
    where = search.add_argument_group("results")
    where.add_argument(
        "--storage",
        default="sqlite:///nas.db",
        metavar="URL",
        help="an Optuna storage; default: %(default)s",
    )
    where.add_argument("--name", metavar="NAME", help="of the study; default: the data's name")
    where.add_argument("--report", type=_file, metavar="PATH", help="write an HTML report there")
    where.add_argument("--quiet", action="store_true", help="show no progress")


def _search(arguments: argparse.Namespace) -> None:
    task = _task(arguments)
    kinds = {"cell": sn.spaces.CellSpace, "convnet": sn.spaces.ConvNetSpace}
    space = kinds[arguments.space](search_training=arguments.search_training)
    study = sn.create_study(
        task,
        space,
        storage=arguments.storage,
        study_name=arguments.name or f"{task.name}-{arguments.space}",
        surrogate=arguments.surrogate,
        base_sampler=_BASES[arguments.base],
        n_candidates=arguments.candidates,
        limits=dict(arguments.limit),
        seed=arguments.seed,
    )
    trainer = sn.Trainer(
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        device=arguments.device,
        time_limit_seconds=arguments.time_limit,
        seed=arguments.seed,
    )
    device = trainer.device or ("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{task!r}\nStudy {study.study_name!r} in {masked(arguments.storage)}, on {device}")
    objective = sn.Objective(task, space, trainer)
    shows_bar = sys.stderr.isatty() and not arguments.quiet
    lines = [] if shows_bar or arguments.quiet else [_print_trial]
    continue_study(
        study, objective, arguments.trials, show_progress_bar=shows_bar, callbacks=lines
    )
    print("Retraining the best architecture on training and validation data ...")
    final = sn.finalize(study, task, space, trainer)
    _print_summary(sn.summarize(study), final)
    if arguments.report:
        print(f"Report: {sn.report(study, arguments.report)}")
    _print_dashboard(arguments.storage)


def _print_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """One line a trial, for where no progress bar can be drawn."""
    value = "" if trial.value is None else f" {trial.value:.4f}"
    print(f"trial {trial.number}: {trial.state.name.lower()}{value}", flush=True)


def _task(arguments: argparse.Namespace) -> sn.Task:
    """The task that --data names."""
    if arguments.data == "digits" and not Path("digits").exists():
        return sn.tasks.digits(metric=arguments.metric, seed=0)
    if Path(arguments.data).is_dir():
        size = arguments.image_size
        return sn.tasks.from_folder(
            arguments.data,
            metric=arguments.metric,
            image_size=None if size is None else (size, size),
            on_unreadable="skip" if arguments.skip_unreadable else "refuse",
        )
    return sn.tasks.from_npz(arguments.data, metric=arguments.metric)


def _show(arguments: argparse.Namespace) -> None:
    storage = open_storage(arguments.storage)
    with reachable(arguments.storage):
        names = sorted(study.study_name for study in storage.get_all_studies())
        if arguments.name is None:
            for name in names:
                print(name)
            print(f"{len(names)} studies; --name sums one up", file=sys.stderr)
            return
        if arguments.name not in names:
            raise StudyError(
                expected=f"a study among {', '.join(names) or 'none: the storage is empty'}",
                got=repr(arguments.name),
                fix="give --name one of them",
            )
        study = optuna.load_study(study_name=arguments.name, storage=storage)
        summary = sn.summarize(study)
    _print_summary(summary, None)
    test_value = finite(study.user_attrs.get("test_value"))
    if test_value is not None:
        print(f"Test {summary.metric}: {test_value:.4f}")
    _print_dashboard(arguments.storage)


def _print_summary(summary: sn.StudySummary, final: sn.FinalNetwork | None) -> None:
    best = summary.best
    print()
    if best is None or best.value is None:
        print(f"No completed trial; {summary.n_failed} failed, {summary.n_pruned} pruned.")
        return
    words = best.user_attrs.get("architecture") or str(best.params)
    print(f"Best architecture (trial {best.number}): {words}")
    print(f"Validation {summary.metric}: {best.value:.4f}")
    if final is not None:
        print(f"Test {summary.metric}: {final.test_value:.4f} (retrained, tested once)")
    n = len(summary.completed)
    print(
        f"Screened {summary.n_screened:,} candidates for {n} trainings; turned away "
        f"{summary.n_duplicates:,} equivalent to earlier ones, {summary.n_infeasible:,} beyond a "
        "limit"
    )
    if not math.isnan(summary.rank_correlation):
        print(
            f"Predicted before training against measured: rank correlation "
            f"{summary.rank_correlation:+.2f} over {len(summary.predicted)} trainings"
        )


def _print_dashboard(storage: str) -> None:
    """The exact command that opens the storage in optuna-dashboard, with this environment's."""
    beside = Path(sys.executable).parent / "optuna-dashboard"
    command = os.path.relpath(beside) if beside.exists() else "optuna-dashboard"
    print(f"Look at it: {command} {masked(storage)}  (then open http://127.0.0.1:8080)")


def _positive(text: str) -> int:
    return _whole(text, 1, sys.maxsize)


def _seed(text: str) -> int:
    return _whole(text, 0, 2**32 - 1)


def _whole(text: str, low: int, high: int) -> int:
    number = int(text) if text.removeprefix("-").isdecimal() else low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
    return number


def _device(text: str) -> str:
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: {reason}") from None
    return text


def _file(text: str) -> Path:
    if not Path(text).resolve().parent.is_dir() or Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file in a folder that exists")
    return Path(text)


def _limit(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=NUMBER, such as parameters=1e6"
        ) from None


if __name__ == "__main__":
    sys.exit(main())

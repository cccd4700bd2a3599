"""The command ``search``: from a data set to a study and a final network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import surrogate_nas as sn
from surrogate_nas.attributes import counts
from surrogate_nas.cli import arguments as shared
from surrogate_nas.cli.deadline import Deadline as Deadline
from surrogate_nas.cli.deadline import limit_epochs
from surrogate_nas.cli.show import print_dashboard, print_summary
from surrogate_nas.cli.stored import changes, remember
from surrogate_nas.domains import Domain
from surrogate_nas.errors import StudyError
from surrogate_nas.storage.passwords import masked

if TYPE_CHECKING:
    import optuna
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from surrogate_nas.results.training_progress import Style
    from surrogate_nas.running.loop import Callback

_BASES = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "nsga2": "NSGAIISampler",
    "gp": "GPSampler",
}
"""Name that --base accepts -> class of Optuna's sampler."""


_PRUNERS = {
    "auto": None,
    "none": "NopPruner",
    "median": "MedianPruner",
    "hyperband": "HyperbandPruner",
    "successive-halving": "SuccessiveHalvingPruner",
}
"""Name that --pruner accepts -> class of Optuna's pruner; None for that of the study."""


def add_command(commands: shared.Commands, domain: Domain) -> None:
    """Add ``search`` to the parser."""
    search = commands.add_parser(
        "search",
        help="search an architecture for a data set, or continue a search",
        description="Search an architecture for a data set. The same command continues a search "
        "that was stopped, up to --trials trials in all. The best architecture is retrained, "
        "tested once and written to a folder.",
    )
    add_arguments(search, domain)
    search.set_defaults(run=_search)


def add_arguments(search: argparse.ArgumentParser, domain: Domain) -> None:
    """Add all arguments of ``search``."""
    shared.add_data(search, domain)
    _add_search_arguments(search, domain)
    shared.add_training(search)
    _add_results(search)


def _add_search_arguments(search: argparse.ArgumentParser, domain: Domain) -> None:
    """Add the arguments of the search: space, budget and sampler."""
    what = search.add_argument_group("search")
    shared.add_space(what, domain)
    what.add_argument(
        "--trials",
        type=shared.positive,
        default=30,
        metavar="N",
        help="trials that the study has in all at the end; default: %(default)s",
    )
    what.add_argument(
        "--limit",
        action="append",
        default=[],
        type=shared.limit,
        metavar="NAME=NUMBER",
        help="reject larger architectures before training, e.g. parameters=1e6; repeatable"
        + (f"; names: {', '.join(domain.limits)}" if domain.limits else ""),
    )
    what.add_argument(
        "--surrogate",
        metavar="FILE",
        help="a fitted surrogate, or 'pretrained' for the one that ships; default: learn from "
        "this study",
    )
    what.add_argument(
        "--artifact-store",
        metavar="FOLDER",
        help="folder of the surrogate that is attached to the study; needed unless it is beside "
        "the storage's file",
    )
    what.add_argument(
        "--base", choices=sorted(_BASES), default="tpe", help="base sampler; default: %(default)s"
    )
    what.add_argument(
        "--candidates",
        type=shared.positive,
        default=256,
        metavar="N",
        help="candidates to screen for each training; 1 switches screening off; default: "
        "%(default)s",
    )
    what.add_argument(
        "--pruner",
        choices=tuple(_PRUNERS),
        default="auto",
        help="rule that stops unpromising trainings early; auto does so in trainings of at least "
        "20 epochs; default: %(default)s",
    )
    what.add_argument(
        "--timeout",
        type=shared.above_zero,
        metavar="SECONDS",
        help="begin no training after this time; the running ones end, and the retraining comes "
        "on top",
    )
    _add_workers(what)


def _add_workers(what: argparse._ArgumentGroup) -> None:
    """Add the arguments that say how many architectures are trained at once, and where."""
    # --workers and --concurrent are two ways to train several at once.
    at_once = what.add_mutually_exclusive_group()
    at_once.add_argument(
        "--workers",
        type=shared.concurrent,
        metavar="N",
        help="processes that share the study through its storage, each with the next GPU; 'auto' "
        "is one a GPU, or one a core where there is none. The same command on another machine "
        "adds its workers to the study",
    )
    what.add_argument(
        "--ray",
        metavar="HOST:PORT",
        help="head of a Ray cluster, on whose machines the workers run; as many as have room, "
        "unless --workers says how many (extra 'ray')",
    )
    what.add_argument(
        "--gpus-per-worker",
        type=float,
        default=0.0,
        metavar="N",
        help="GPUs of the Ray cluster for each worker: 0.5 puts two on a GPU; default: 0, on CPUs",
    )
    at_once.add_argument(
        "--concurrent",
        type=shared.concurrent,
        default=1,
        metavar="N",
        help="candidates trained at once, each in a process of its own; 'auto' is one a core, on "
        "CUDA as many as are measured to be fast and to fit; default: %(default)s",
    )


def _add_results(search: argparse.ArgumentParser) -> None:
    where = search.add_argument_group("results")
    shared.add_storage(where)
    where.add_argument(
        "--name", metavar="NAME", help="name of the study; default: the data's name"
    )
    add_folder(where)
    where.add_argument(
        "--search-only",
        action="store_true",
        help="end with the search: retrain and test nothing, as on a second machine",
    )
    where.add_argument(
        "--report", type=shared.file, metavar="PATH", help="write an HTML report there"
    )
    where.add_argument(
        "--artifacts",
        type=Path,
        metavar="FOLDER",
        help="folder of architecture pictures for optuna-dashboard; default: beside the storage's "
        "file",
    )
    where.add_argument(
        "--checkpoints",
        type=Path,
        metavar="FOLDER",
        help="folder of checkpoints, from which interrupted trainings resume; default: beside the "
        "storage's file",
    )
    where.add_argument("--quiet", action="store_true", help="show no progress")


def add_folder(group: argparse._ArgumentGroup) -> None:
    """Add the folder of the final network."""
    group.add_argument(
        "--folder",
        type=_new_folder,
        metavar="FOLDER",
        help="a new folder for the final network; default: NAME-final, numbered if there is one",
    )


def _new_folder(text: str) -> Path:
    """Return the path of a folder to be made."""
    # NOTE: checked here, so that a mistake is told before hours of search and not after.
    path = Path(text)
    if path.exists() or not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a new folder in one that exists")
    return path


def _search(arguments: argparse.Namespace) -> None:
    """Create or continue a study, retrain its best architecture, and print the result."""
    import torch

    from surrogate_nas.storage.optuna_private import storage_of
    from surrogate_nas.storage.places import folder_beside

    # First, so that a wrong address is told before the data are read.
    placement = _placement(arguments)
    task, space = shared.task(arguments), shared.space(arguments)
    study = sn.create_study(
        task,
        space,
        storage=arguments.storage,
        study_name=arguments.name or f"{task.name}-{arguments.space}",
        surrogate=arguments.surrogate,
        artifact_store=arguments.artifact_store,
        # A function, because each trial makes its own sampler from a seed.
        base_sampler=lambda seed: base_sampler(arguments.base, seed),
        n_candidates=arguments.candidates,
        limits=dict(arguments.limit),
        pruner=pruner(arguments.pruner),
        seed=arguments.seed,
    )
    remember(study, arguments)
    for change in changes(study, arguments):
        shared.say(change, file=sys.stderr)
    trainer = shared.trainer(arguments)
    limit = limit_epochs(study, task, space, trainer, arguments.timeout)
    device = trainer.device or ("cuda" if torch.cuda.is_available() else "cpu")
    where = device if placement is None else f"the Ray cluster at {arguments.ray}"
    shared.say(repr(task))
    shared.say(f"Study {study.study_name!r} in {masked(arguments.storage)}, on {where}")
    # A bar is for people at a terminal. Lines go where the other output goes, such as a log.
    shows_bar = sys.stderr.isatty()
    n_done = sum(map(counts, study.get_trials(deepcopy=False)))
    if n_done >= arguments.trials:
        print(
            f"Nothing was left to do: the study has {n_done} of {arguments.trials} trials. A "
            "larger --trials continues it."
        )
    progress = sn.ProgressBar(
        arguments.trials,
        in_all=True,
        style="quiet" if arguments.quiet else "bar" if shows_bar else "lines",
        file=sys.stderr if shows_bar else sys.stdout,
    )
    pages = sn.DashboardCallback(space.for_task(task), artifacts=arguments.artifacts)
    # No folder lies beside a database server, and then there are no checkpoints.
    checkpoints = arguments.checkpoints or folder_beside(storage_of(study), "checkpoints")
    objective = sn.Objective(
        task, space, trainer, checkpoints=checkpoints, dashboard=pages, progress=progress
    )
    progress.open()
    try:
        _run(arguments, study, objective, [progress, *limit], placement)
    finally:
        progress.close()
    final = None
    if not arguments.search_only:
        style: Style = "quiet" if arguments.quiet else "auto"
        final = finish(study, task, space, trainer, arguments.folder, style)
    print_summary(sn.summarize(study), final)
    if arguments.report:
        shared.say(f"Report: {sn.report(study, arguments.report)}")
    print_dashboard(arguments.storage, study)


def base_sampler(name: str, seed: int) -> BaseSampler:
    """Return a sampler of the class that --base names."""
    import optuna

    sampler: BaseSampler = getattr(optuna.samplers, _BASES[name])(seed=seed)
    return sampler


def pruner(name: str) -> BasePruner | None:
    """Return a pruner of the class that --pruner names; None leaves the choice to the study."""
    import optuna

    kind = _PRUNERS[name]
    if kind is None:
        return None
    made: BasePruner = getattr(optuna.pruners, kind)()
    return made


def _placement(arguments: argparse.Namespace) -> sn.RayCluster | None:
    """Return a connection to the Ray cluster; None means this machine."""
    if arguments.ray is None and not arguments.gpus_per_worker:
        return None
    if arguments.ray is None or arguments.concurrent != 1:
        raise StudyError(
            expected="--gpus-per-worker with --ray, and --ray without --concurrent",
            got="--gpus-per-worker alone" if arguments.ray is None else "--ray and --concurrent",
            fix="give --ray HOST:PORT, and for more at once --workers N",
        )
    return sn.RayCluster(arguments.ray, gpus_per_worker=arguments.gpus_per_worker)


def _run(
    arguments: argparse.Namespace,
    study: optuna.Study,
    objective: sn.Objective,
    callbacks: Sequence[Callback],
    placement: sn.RayCluster | None,
) -> None:
    """Run the study with workers, or in this process, up to its number of trials."""
    from surrogate_nas.running.optimize import continue_study

    deadline = Deadline(arguments.timeout)
    callbacks = [*callbacks, deadline]
    if arguments.workers is not None or placement is not None:
        sn.run_workers(
            study,
            objective,
            arguments.trials,
            # "auto" is what run_workers does without a number.
            n_workers=arguments.workers if isinstance(arguments.workers, int) else None,
            callbacks=callbacks,
            placement=placement,
        )
    else:
        continue_study(
            study,
            objective,
            arguments.trials,
            n_concurrent=arguments.concurrent,
            callbacks=callbacks,
        )
    if deadline.is_over:
        print(f"The time of {arguments.timeout:g} s is up; the same command continues the search.")


def finish(
    study: optuna.Study,
    task: sn.Task,
    space: sn.SearchSpace,
    trainer: sn.Trainer,
    folder: Path | None,
    style: Style = "auto",
) -> sn.FinalNetwork:
    """Return the final network, and say first that retraining takes a while."""
    # Flushed, as nothing else is printed for minutes.
    print("Retraining the best architecture on training and validation data ...", flush=True)
    file = sys.stderr if sys.stderr.isatty() else sys.stdout
    return sn.finalize(
        study, task, space, trainer, folder=folder, progress=style, progress_file=file
    )

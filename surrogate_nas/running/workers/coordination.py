"""How the workers of a study agree without a server of their own.

They agree on two things: that one process at a time claims trials, and which workers are alive.
For a database server, a locked row and the server's clock decide. For a file, locks on files
beside it decide both. Either lock is gone as soon as its holder is.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, final

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial

from surrogate_nas import attributes
from surrogate_nas.errors import StorageError, StudyError
from surrogate_nas.running.workers.address import Address
from surrogate_nas.storage.optuna_private import Database, as_database, backend_of, id_of
from surrogate_nas.storage.process_locks import lock_state, wait_for
from surrogate_nas.storage.server import PatientDatabase, words_of

R = TypeVar("R")

_logger = logging.getLogger(__name__)

_AWAY = (StorageError, StorageInternalError, sa.exc.SQLAlchemyError, OSError)
"""Exceptions of a database whose server does not answer."""
_BEATS = 6
"""Signs of life within the time after which a trial is taken for dead."""
_LONGEST_CLAIM_SECONDS = 60
"""After which a database server takes the lock away from a worker that has become silent."""

_ONE_AT_A_TIME = "one-at-a-time.lock"
"""Name of the file that whoever claims trials has locked."""

_ATTRIBUTES = sa.table(
    "study_system_attributes", sa.column("study_id"), sa.column("key"), sa.column("value_json")
)
_HEARTBEATS = sa.table("trial_heartbeats", sa.column("trial_id"), sa.column("heartbeat"))


def worker_name() -> str:
    """Return a new name for a worker."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"


class Coordination(ABC):
    """Knowledge of the other workers, for a worker or for the process that starts workers."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[Callable[[], bool]]:
        """Hold the lock that one process at a time holds, for this study.

        The context's value is a function that returns whether the lock is still held. If it is
        not, other processes may have been here.
        """

    @abstractmethod
    def dead(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials whose worker is gone, among running trials of workers."""

    @abstractmethod
    def note(self, trial_id: int) -> None:
        """Leave a sign of life before a trial runs."""

    @abstractmethod
    def beating(self, trial_id: int) -> AbstractContextManager[None]:
        """Leave signs of life while a trial runs."""

    @abstractmethod
    def close(self) -> None:
        """Say that this worker has ended."""


@contextlib.contextmanager
def coordinate(
    address: Address,
    storage: BaseStorage,
    study_id: int,
    name: str | None,
    dead_after: float,
) -> Iterator[Coordination]:
    """Take part in the coordination of a study.

    Args:
        address: Address of the storage.
        storage: The storage.
        study_id: Identity of the study.
        name: Name of the worker; None for the process that starts workers.
        dead_after: Seconds without a sign of life after which a trial is taken for dead.

    Raises:
        StudyError: Files cannot be locked here, or the storage is neither a file nor a server.
    """
    made: Coordination
    if address.file is not None:
        made = _Files(address.file, name)
    else:
        database = as_database(storage)
        if database is None:
            raise StudyError(
                expected="a study in a file or on a database server",
                got=type(storage).__name__,
                fix='create the study with for example storage="nas.journal"',
            )
        made = _Server(database, study_id, dead_after)
    try:
        yield made
    finally:
        made.close()


@final
class _Files(Coordination):
    """Locks on files in a folder beside the storage's file.

    Args:
        file: File of the storage.
        name: Name of this worker, whose own file is locked as long as it lives; None for the
            process that starts workers.
    """

    def __init__(self, file: Path, name: str | None) -> None:
        self._folder = file.with_name(f"{file.name}-workers")
        try:
            self._folder.mkdir(exist_ok=True)
            self._own = None if name is None else wait_for(self._folder / f"{name}.lock")
        except OSError as error:
            raise StudyError(
                expected="a folder for locks beside the study's storage",
                got=f"{type(error).__name__}: {error}",
                fix="keep the study where files can be written and locked, or in PostgreSQL",
            ) from error

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Callable[[], bool]]:
        with wait_for(self._folder / _ONE_AT_A_TIME):
            yield lambda: True

    def dead(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        names = {str(trial.system_attrs[attributes.WORKER]) for trial in trials}
        gone = {name for name in names if not self._is_alive(name)}
        return [trial for trial in trials if trial.system_attrs[attributes.WORKER] in gone]

    def _is_alive(self, name: str) -> bool:
        """Return whether a worker may be alive: its own file is locked, or cannot be tried."""
        # NOTE: a name is somebody else's text: it must not lead out of the folder.
        path = self._folder / f"{Path(name).name}.lock"
        # NOTE: shared, or two that look at once would take each other for the worker. Without the
        # right to open the file, or without descriptors, nobody can know. A trial that another
        # process trains must not be taken away.
        with lock_state(path, shared=True) as state:
            if state == "free":
                with contextlib.suppress(OSError):  # the next to ask finds it free, too
                    path.unlink(missing_ok=True)
            return state not in ("free", "missing")

    def note(self, trial_id: int) -> None:
        """Do nothing: the worker's lock says enough."""

    def beating(self, trial_id: int) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        if self._own is not None:
            Path(str(self._own.name)).unlink(missing_ok=True)
            self._own.close()
            return
        # NOTE: the process that started the workers removes the folder, unless others use it.
        with contextlib.suppress(OSError), wait_for(self._folder / _ONE_AT_A_TIME) as lock:
            path = Path(str(lock.name))
            others = [one for one in self._folder.iterdir() if one.name != path.name]
            # NOTE: a list, so that each name is asked. That removes the files of dead workers, and
            # only an empty folder can be removed.
            if not any([self._is_alive(one.stem) for one in others]):
                path.unlink()
                self._folder.rmdir()


@final
class _Server(Coordination):
    """A row that a database server locks, and the server's clock.

    Args:
        storage: Storage of the study.
        study_id: Identity of the study.
        dead_after: Seconds of silence after which a trial is taken for dead.
    """

    def __init__(self, storage: Database, study_id: int, dead_after: float) -> None:
        self._storage = storage
        self._backend: RDBStorage = backend_of(storage)
        self._engine: sa.Engine = self._backend.engine
        self._study_id = study_id
        self._dead_after = dead_after
        # The row has to exist, or there is nothing to lock.
        storage.set_study_system_attr(study_id, attributes.LOCK, "")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Callable[[], bool]]:
        with self._patiently(self._connection_with_lock) as connection:
            try:
                yield lambda: _answers(connection)
            finally:
                if not _answers(connection):
                    connection.invalidate()  # there is nothing to be rolled back

    def _connection_with_lock(self) -> sa.Connection:
        """Wait for the lock; return the connection that holds it until it is closed."""
        row = sa.select(_ATTRIBUTES.c.value_json).where(
            _ATTRIBUTES.c.study_id == self._study_id, _ATTRIBUTES.c.key == attributes.LOCK
        )
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(self._engine.connect())
            # NOTE: a holder that the network has swallowed must not hold it for ever.
            if self._engine.name == "postgresql":
                limit = (
                    f"set local idle_in_transaction_session_timeout = '{_LONGEST_CLAIM_SECONDS}s'"
                )
                connection.execute(sa.text(limit))
            elif self._engine.name in ("mysql", "mariadb"):
                connection.execute(sa.text(f"set session wait_timeout = {_LONGEST_CLAIM_SECONDS}"))
            connection.execute(row.with_for_update())
            stack.pop_all()
            return connection

    def _patiently(self, action: Callable[[], R]) -> R:
        """Do something that may be repeated, and wait for a server that is away."""
        if isinstance(self._backend, PatientDatabase):
            return self._backend.wait_out(action)
        return action()

    def dead(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """See :class:`Coordination`. For a while after an outage no trial is dead."""
        ids = [id_of(trial) for trial in trials]
        # NOTE: before the look for an outage, so that one during the question counts as well.
        alive = self._patiently(lambda: self._alive(ids)) if ids else set()
        backend = self._backend
        if isinstance(backend, PatientDatabase) and backend.was_away_within(self._dead_after):
            return []
        return [trial for trial in trials if id_of(trial) not in alive]

    def _alive(self, ids: Sequence[int]) -> set[int]:
        """Return the trials that have given a sign of life recently."""
        with self._engine.connect() as connection:
            now: Any = connection.execute(sa.select(sa.func.now())).scalar_one()
            rows = connection.execute(
                sa.select(_HEARTBEATS.c.trial_id, _HEARTBEATS.c.heartbeat).where(
                    _HEARTBEATS.c.trial_id.in_(ids)
                )
            ).all()
        # NOTE: both times are the server's, so the machines' clocks need not agree.
        silence = timedelta(seconds=self._dead_after)
        return {row[0] for row in rows if now.replace(tzinfo=None) - row[1] <= silence}

    def note(self, trial_id: int) -> None:
        self._storage.record_heartbeat(trial_id)

    @contextlib.contextmanager
    def beating(self, trial_id: int) -> Iterator[None]:
        is_over = threading.Event()

        def beat() -> None:
            while not is_over.wait(self._dead_after / _BEATS):
                try:
                    self._storage.record_heartbeat(trial_id)
                except _AWAY as error:  # the server may be back in time for the next one
                    said = words_of(error, self._backend)
                    _logger.warning("A sign of life could not be stored: %s", said)
                self._storage.remove_session()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def close(self) -> None:
        """Do nothing: the row stays, and the next process locks it again."""


def _answers(connection: sa.Connection) -> bool:
    """Return whether a connection still works, and with it the transaction and its lock."""
    try:
        connection.execute(sa.select(1))
    except sa.exc.SQLAlchemyError:
        return False
    return True

"""An Optuna database on a server that may be away for a while.

Optuna's own class gives up when a connection breaks. This class waits and repeats the operation.
Each write takes effect once: it stores a token in the same transaction. If the answer to a write
was lost, the token says whether the write took effect.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
import math
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, final

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)

from surrogate_nas import attributes
from surrogate_nas.errors import StorageError
from surrogate_nas.storage.optuna_private import (
    CALLED_BY_STORE,
    HookedDatabase,
    Session,
    StoredSystemAttribute,
    StoredTrial,
)
from surrogate_nas.storage.passwords import without_secrets

if TYPE_CHECKING:
    from surrogate_nas.storage.opening import StorageLike

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""Longest time that an operation waits for a server that is away."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_TRIES_TO_MAKE_TABLES = 5
_EXISTS = "already exists"

_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Settings with which a silent server is noticed after one minute instead of two hours."""
_LIBPQ_DRIVERS = ("psycopg", "psycopg2")
_FORGET_DEAD_CLIENTS = "set idle_in_transaction_session_timeout = '60s'"


@final
class PatientDatabase(HookedDatabase):
    """An RDBStorage that outlasts restarts of its server, and times without a network.

    An operation whose connection fails is repeated until `patience_seconds` are over. Pauses grow
    from a tenth of a second to two seconds. Each trial is created once and told once, however
    many attempts that takes.

    Args:
        url: Database URL.
        name: Name of the database in messages.
        patience_seconds: Longest time to wait for the server.
        engine_kwargs: See RDBStorage.
        more: Further arguments of RDBStorage, such as ``heartbeat_interval``.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        engine_kwargs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self._name = name
        self._patience_seconds = patience_seconds
        self._begun: set[str] = set()
        self._last_away = -math.inf
        with contextlib.ExitStack() as undo:
            undo.callback(self._dispose)
            super().__init__(url, {**engine_settings(url), **(engine_kwargs or {})}, **more)
            undo.pop_all()
        self._watch_connections()

    def _dispose(self) -> None:
        """Close all connections, even if the database has failed to open."""
        if (engine := vars(self).get("engine")) is not None:
            engine.dispose()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__({**state, "_begun": set(), "_last_away": -math.inf})
        self._watch_connections()

    def _watch_connections(self) -> None:
        """Close connections with this object, and let the server end those of dead clients."""
        weakref.finalize(self, self.engine.dispose)
        # NOTE: the transaction of a dead client holds locks that all others wait for.
        if self.engine.dialect.name != "postgresql":
            return

        @sa.event.listens_for(self.engine, "connect")
        def begin(connection: Any, _record: Any) -> None:
            """Set the server's time limit for idle transactions of a connection."""
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(_FORGET_DEAD_CLIENTS)
            connection.autocommit = False

        self.engine.dispose()  # connections made before have no such limit

    def wait_out(self, action: Callable[[], R]) -> R:
        """Return the result of a repeatable action, which is repeated until the server answers.

        Raises:
            StorageError: The server has not answered for `patience_seconds`.
        """
        began: float | None = None
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                result = action()
            except (StorageInternalError, SQLAlchemyError) as error:
                cause = error.__cause__ if isinstance(error, StorageInternalError) else error
                if not may_pass(cause):
                    raise
                now = time.monotonic()
                if began is None:
                    began = now
                    _logger.warning(
                        "The storage at %s does not answer; waiting for it. %s",
                        self._name,
                        words_of(cause, self),
                    )
                if now - began >= self._patience_seconds:
                    raise self._gone(cause) from None  # a driver may repeat the password
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                # After the pause, so that an outage counts up to its end.
                self._last_away = time.monotonic()
            else:
                if began is not None:
                    seconds = time.monotonic() - began
                    _logger.warning("The storage answers again, after %.0f s.", seconds)
                return result

    def _gone(self, cause: BaseException | None) -> StorageError:
        """Return the error for a server that has not come back in time."""
        return StorageError(
            expected=f"the storage at {self._name} to answer within "
            f"{self._patience_seconds:.0f} s",
            got=words_of(cause, self),
            fix="start the search again when the server is back; what was told is kept",
        )

    def create_stored(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """Create a trial once, with a token among its attributes."""
        token = uuid.uuid4().hex
        signed = (
            create_trial(state=TrialState.RUNNING) if template is None else copy.copy(template)
        )
        signed.system_attrs = {**signed.system_attrs, attributes.WRITE_TOKEN: token}
        create = super().create_stored
        try:
            return _without_token(self.wait_out(lambda: create(study_id, signed)))
        finally:
            self._begun.discard(token)

    def prepare_stored(
        self, study_id: int, template: FrozenTrial | None, session: Session
    ) -> StoredTrial:
        """Add the rows of a trial, or find the rows of an attempt whose answer was lost.

        Optuna holds a lock on the study when it calls this, and calls it for each of its own
        attempts.
        """
        token = None if template is None else template.system_attrs.get(attributes.WRITE_TOKEN)
        # Only an attempt that is not the first one can find rows of its own.
        if token in self._begun:
            of_study = StoredTrial.study_id == study_id
            found = _signed(session, token).filter(of_study).one_or_none()
            if found is not None:
                return found
        elif token is not None:
            self._begun.add(token)
        return super().prepare_stored(study_id, template, session)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Change a trial's state once; see RDBStorage."""
        token = uuid.uuid4().hex
        change = super().set_trial_state_values
        is_repeated = False

        def attempt() -> bool:
            """Change the state, unless an earlier attempt has done it."""
            nonlocal is_repeated
            was_repeated, is_repeated = is_repeated, True
            if was_repeated and self._is_signed(trial_id, token):
                return True
            # NOTE: a thread has one session, so the token is committed with the change, or not.
            with self.session() as session:
                self._sign(session, trial_id, state, token)
                return change(trial_id, state, values)

        return self.wait_out(attempt)

    def _sign(self, session: Session, trial_id: int, state: TrialState, token: str) -> None:
        """Add the token to a trial, if its state may be changed."""
        trial = StoredTrial.find_or_raise_by_id(trial_id, session, for_update=True)
        # A trial that was taken from the queue by another worker is not changed, and not signed.
        if state is not TrialState.RUNNING or trial.state == TrialState.WAITING:
            self.add_system_attr(session, trial_id, attributes.WRITE_TOKEN, token)

    def _is_signed(self, trial_id: int, token: str) -> bool:
        """Return whether a write took effect although its answer was lost."""
        with self.session() as session:
            of_trial = StoredTrial.trial_id == trial_id
            return _signed(session, token).filter(of_trial).one_or_none() is not None

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """Return a trial's system attributes."""
        return self.get_trial(trial_id).system_attrs

    def read_stored(self, trial: StoredTrial) -> FrozenTrial:
        """Return a trial from its rows, without the token."""
        return _without_token(super().read_stored(trial))

    def stale_ids(self, study_id: int) -> list[int]:
        """Return the identities of running trials without recent heartbeats."""
        # NOTE: right after an outage no worker had the time for a heartbeat.
        find = super().stale_ids
        stale = self.wait_out(lambda: find(study_id))
        grace = self.grace_period or 2 * (self.heartbeat_interval or 0)
        return [] if self.was_away_within(grace) else stale

    def was_away_within(self, seconds: float) -> bool:
        """Return whether this process has noticed the server to be away lately."""
        return time.monotonic() - self._last_away < seconds


def _signed(session: Session, token: str | None) -> sa.orm.Query[StoredTrial]:
    """Return the query for trials whose last write has a token."""
    attribute = StoredSystemAttribute
    is_token = attribute.value_json == json.dumps(token)
    return (
        session.query(StoredTrial)
        .join(attribute)
        .filter(attribute.key == attributes.WRITE_TOKEN, is_token)
    )


def _without_token(trial: FrozenTrial) -> FrozenTrial:
    """Remove the token from a trial, as samplers and copies of the trial must not have it."""
    trial.system_attrs.pop(attributes.WRITE_TOKEN, None)
    return trial


def _repeatable(
    method: Callable[Concatenate[PatientDatabase, P], R],
) -> Callable[Concatenate[PatientDatabase, P], R]:
    """Return a method that waits for the server, from one that may be called twice."""

    @functools.wraps(method)
    def patient(self: PatientDatabase, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the method until the server answers."""
        return self.wait_out(lambda: method(self, *args, **kwargs))

    return patient


REPEATABLE = (
    *CALLED_BY_STORE,
    "get_all_studies",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_param",
    "get_trial_user_attrs",
    "record_heartbeat",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_intermediate_value",
    "set_trial_system_attr",
    "set_trial_user_attr",
)
"""Methods that read, or that have the same effect when they write twice."""

for _name in REPEATABLE:
    setattr(PatientDatabase, _name, _repeatable(getattr(RDBStorage, _name)))


def open_database(url: str, name: str, **more: Any) -> PatientDatabase:
    """Open a database, and make Optuna's tables if there are none.

    Args:
        url: Database URL.
        name: Name of the database in messages.
        more: Further arguments of PatientDatabase.

    Raises:
        SQLAlchemyError, StorageInternalError, ImportError: The database cannot be opened.
        RuntimeError: The tables are of another version of Optuna.
    """
    return with_tables(lambda: PatientDatabase(url, name, **more))


def with_tables(open_it: Callable[[], R]) -> R:
    """Return the result of a function that makes tables, and repeat it if others interfere.

    Args:
        open_it: Function that opens a database and makes its tables.

    Raises:
        SQLAlchemyError: The last attempt failed, or an attempt failed for another reason.
    """
    # NOTE: if several processes make the same tables at once, all but one of them fail.
    for attempt in range(1, _TRIES_TO_MAKE_TABLES):
        try:
            return open_it()
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            if isinstance(error, OperationalError) and _EXISTS not in words_of(error):
                raise
            time.sleep(_FIRST_PAUSE_SECONDS * attempt)
    return open_it()


def may_pass(error: BaseException | None) -> bool:
    """Return whether an error is of the connection or of the server's load, so waiting helps."""
    # NOTE: Optuna gets a PendingRollbackError if it asks again on a broken connection.
    transient = OperationalError | InterfaceError | PendingRollbackError | sa.exc.TimeoutError
    if isinstance(error, transient):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def words_of(error: BaseException | None, storage: StorageLike = None) -> str:
    """Return the message of a database or its driver in one line, without passwords.

    Args:
        error: The error.
        storage: Storage whose password the message may repeat.
    """
    # NOTE: a password may have line breaks, so that no line of the message would have all of it.
    said = without_secrets(str(getattr(error, "orig", None) or error), storage).strip()
    return f"{type(error).__name__}: {said.splitlines()[0].rstrip('.') if said else ''}"


def engine_settings(url: str) -> dict[str, Any]:
    """Return settings with which broken connections are found before they are used."""
    parsed = sa.make_url(url)
    kwargs: dict[str, Any] = {"pool_pre_ping": True}
    if parsed.get_dialect().driver in _LIBPQ_DRIVERS:
        chosen = {key: value for key, value in _LIBPQ.items() if key not in parsed.query}
        kwargs["connect_args"] = chosen
    return kwargs

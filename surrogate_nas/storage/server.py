"""An Optuna database on a server, which may be away for a while.

Optuna's own class gives up when one connection breaks. This one waits and does again what was
asked, and each write takes effect once: where an answer was lost, it finds out by a token, stored
in the same transaction, whether the write was.
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
from typing import Any, Concatenate, ParamSpec, TypeVar, final

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

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""How long an operation waits for a server that is away."""

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
"""A server that is gone without a word is noticed after a minute, not after two hours."""
_LIBPQ_DRIVERS = ("psycopg", "psycopg2")
_FORGET_DEAD_CLIENTS = "set idle_in_transaction_session_timeout = '60s'"


@final
class PatientDatabase(HookedDatabase):
    """An RDBStorage that outlasts restarts of its server, and times without a network.

    An operation that fails by its connection is tried again until `patience_seconds` are over;
    pauses grow from a tenth of a second to two. Trials are created once, and told once, however
    often that was tried.

    Args:
        url: A database URL.
        name: How to name the database to people.
        patience_seconds: How long to wait for the server.
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
            super().__init__(url, {**_engine_kwargs(url), **(engine_kwargs or {})}, **more)
            undo.pop_all()
        self._watch_connections()

    def _dispose(self) -> None:
        """Close all connections, of a database that may have failed to open, too."""
        if (engine := vars(self).get("engine")) is not None:
            engine.dispose()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__({**state, "_begun": set(), "_last_away": -math.inf})
        self._watch_connections()

    def _watch_connections(self) -> None:
        """Close connections with the database; have the server end those of clients that died.

        Their transactions hold locks that all others wait for.
        """
        weakref.finalize(self, self.engine.dispose)
        if self.engine.dialect.name != "postgresql":
            return

        @sa.event.listens_for(self.engine, "connect")
        def begin(connection: Any, _record: Any) -> None:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(_FORGET_DEAD_CLIENTS)
            connection.autocommit = False

        self.engine.dispose()  # connections made from here on are begun so

    def wait_out(self, action: Callable[[], R]) -> R:
        """Do something that may be repeated, again and again until the server answers.

        Raises:
            StorageError: It has not, for `patience_seconds`.
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
                        words_of(cause),
                    )
                if now - began >= self._patience_seconds:
                    raise self._gone(cause) from error
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                self._last_away = time.monotonic()
            else:
                if began is not None:
                    seconds = time.monotonic() - began
                    _logger.warning("The storage answers again, after %.0f s.", seconds)
                return result

    def _gone(self, cause: BaseException | None) -> StorageError:
        return StorageError(
            expected=f"the storage at {self._name} to answer within "
            f"{self._patience_seconds:.0f} s",
            got=words_of(cause),
            fix="start the search again when the server is back; what was told is kept",
        )

    def create_stored(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """Create a trial, once, with a token in its attributes."""
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
        """Add a trial's rows, or find those of an attempt whose answer was lost.

        Optuna calls this holding a lock on the study, for each of its own attempts, too.
        """
        token = None if template is None else template.system_attrs.get(attributes.WRITE_TOKEN)
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
        """Change a trial's state, once; see RDBStorage."""
        token = uuid.uuid4().hex
        change = super().set_trial_state_values
        is_repeated = False

        def attempt() -> bool:
            nonlocal is_repeated
            was_repeated, is_repeated = is_repeated, True
            if was_repeated and self._is_signed(trial_id, token):
                return True
            # One session a thread: what is added here is committed with the change, or not at all.
            with self.session() as session:
                self._sign(session, trial_id, state, token)
                return change(trial_id, state, values)

        return self.wait_out(attempt)

    def _sign(self, session: Session, trial_id: int, state: TrialState, token: str) -> None:
        """Add the token to a trial whose state may be changed."""
        trial = StoredTrial.find_or_raise_by_id(trial_id, session, for_update=True)
        if state is not TrialState.RUNNING or trial.state == TrialState.WAITING:
            self.add_system_attr(session, trial_id, attributes.WRITE_TOKEN, token)

    def _is_signed(self, trial_id: int, token: str) -> bool:
        """Whether a write took effect whose answer was lost."""
        with self.session() as session:
            of_trial = StoredTrial.trial_id == trial_id
            return _signed(session, token).filter(of_trial).one_or_none() is not None

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """Return a trial's system attributes."""
        return self.get_trial(trial_id).system_attrs

    def read_stored(self, trial: StoredTrial) -> FrozenTrial:
        """Make a trial of its rows, without the token."""
        return _without_token(super().read_stored(trial))

    def stale_ids(self, study_id: int) -> list[int]:
        """Find trials without heartbeats; after an outage, when others had time for one."""
        find = super().stale_ids
        stale = self.wait_out(lambda: find(study_id))
        grace = self.grace_period or 2 * (self.heartbeat_interval or 0)
        return [] if self.was_away_within(grace) else stale

    def was_away_within(self, seconds: float) -> bool:
        """Whether the server was away not long ago, as far as is known here."""
        return time.monotonic() - self._last_away < seconds


def _signed(session: Session, token: str | None) -> sa.orm.Query[StoredTrial]:
    """Ask for the trials whose last write has a token."""
    attribute = StoredSystemAttribute
    is_token = attribute.value_json == json.dumps(token)
    return (
        session.query(StoredTrial)
        .join(attribute)
        .filter(attribute.key == attributes.WRITE_TOKEN, is_token)
    )


def _without_token(trial: FrozenTrial) -> FrozenTrial:
    """Hide the token: it is nothing that samplers, or copies of a trial, should have."""
    trial.system_attrs.pop(attributes.WRITE_TOKEN, None)
    return trial


def _repeatable(
    method: Callable[Concatenate[PatientDatabase, P], R],
) -> Callable[Concatenate[PatientDatabase, P], R]:
    """A method that has the same effect when it is called again."""

    @functools.wraps(method)
    def patient(self: PatientDatabase, /, *args: P.args, **kwargs: P.kwargs) -> R:
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
    """Open a database; make Optuna's tables where there are none.

    Args:
        url: Its URL.
        name: How to name it to people.
        more: Further arguments of PatientDatabase.

    Raises:
        SQLAlchemyError, StorageInternalError, ImportError: It cannot be opened.
        RuntimeError: Its tables are of another version of Optuna.
    """
    return with_tables(lambda: PatientDatabase(url, name, **more))


def with_tables(open_it: Callable[[], R]) -> R:
    """Open a database that makes its tables; again, where others make the same at that moment.

    Of several that do, all but one fail.

    Args:
        open_it: Opens it.

    Raises:
        SQLAlchemyError: The last try failed, or one that others' tables do not explain.
    """
    for attempt in range(1, _TRIES_TO_MAKE_TABLES):
        try:
            return open_it()
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            if isinstance(error, OperationalError) and _EXISTS not in words_of(error):
                raise
            time.sleep(_FIRST_PAUSE_SECONDS * attempt)
    return open_it()


def may_pass(error: BaseException | None) -> bool:
    """Whether waiting can help against an error: the connection's, or one of the server's load."""
    # A PendingRollbackError is what Optuna gets that asks again on a connection that has broken.
    transient = OperationalError | InterfaceError | PendingRollbackError | sa.exc.TimeoutError
    if isinstance(error, transient):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def words_of(error: BaseException | None) -> str:
    """What a database or its driver said, in one line."""
    said = str(getattr(error, "orig", None) or error).strip()
    return f"{type(error).__name__}: {said.splitlines()[0].rstrip('.') if said else ''}"


def _engine_kwargs(url: str) -> dict[str, Any]:
    """How connections are made: those that broke while they were idle are found out."""
    parsed = sa.make_url(url)
    kwargs: dict[str, Any] = {"pool_pre_ping": True}
    if parsed.get_dialect().driver in _LIBPQ_DRIVERS:
        chosen = {key: value for key, value in _LIBPQ.items() if key not in parsed.query}
        kwargs["connect_args"] = chosen
    return kwargs

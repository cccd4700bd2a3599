"""Studies and results out of the tables of an Optuna database, without an object for every row.

Optuna may change its tables, so everything here is checked first. A schema of another version, or
a database that answers with an error, is read through Optuna instead.
"""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, final

import sqlalchemy as sa
from optuna.distributions import json_to_distribution
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from surrogate_nas.attributes import FEATURES
from surrogate_nas.errors import visible
from surrogate_nas.past.readers.studies import (
    DAMAGE,
    Results,
    StoredStudy,
    StudyReader,
    all_features,
    counted,
    readable,
)
from surrogate_nas.storage.optuna_private import backend_of
from surrogate_nas.storage.server import words_of

_logger = logging.getLogger(__name__)

_SCHEMA_VERSION = 12
_COLUMNS = {
    "studies": {"study_id", "study_name"},
    "study_directions": {"study_id", "direction", "objective"},
    "study_user_attributes": {"study_id", "key", "value_json"},
    "trials": {
        "trial_id",
        "number",
        "study_id",
        "state",
        "datetime_start",
        "datetime_complete",
    },
    "trial_params": {"param_id", "trial_id", "param_name", "param_value", "distribution_json"},
    "trial_system_attributes": {"trial_id", "key", "value_json"},
    "trial_user_attributes": {"trial_id", "key", "value_json"},
    "trial_values": {"trial_value_id", "trial_id", "objective", "value", "value_type"},
}

# NOTE: names of states and types are written out, because drivers of PostgreSQL would send them as
# text, which does not compare with an enumeration.
_VALUES = """
select t.trial_id, v.objective, v.value, v.value_type
from trials t left join trial_values v on v.trial_id = t.trial_id
where t.study_id = :study and t.state = 'COMPLETE'
order by t.number, t.trial_id, v.objective"""
_CONSTRAINTS = """
select a.trial_id, a.key, a.value_json
from trials t join trial_system_attributes a on a.trial_id = t.trial_id
where t.study_id = :study and t.state = 'COMPLETE' and a.key like 'constraints%'"""
_PARAMS = """
select p.trial_id, p.param_name, p.param_value, p.distribution_json
from trials t join trial_params p on p.trial_id = t.trial_id
where t.study_id = :study and t.state = 'COMPLETE'
order by p.param_id"""

_FEATURES = """
select a.trial_id, a.value_json
from trials t join trial_user_attributes a on a.trial_id = t.trial_id
where t.study_id = :study and t.state = 'COMPLETE' and a.key = :key"""


@final
class SqlReader(StudyReader):
    """Reads the tables of an Optuna database.

    Args:
        engine: Engine of the database.
        attrs: Names of the user attributes of studies to read.
    """

    def __init__(self, engine: sa.Engine, attrs: Collection[str]) -> None:
        self.engine = engine
        self._attrs = attrs
        self._decoders: dict[str, Callable[[float], Any]] = {}

    def studies(self) -> list[StoredStudy]:
        """Return all studies, without their trials.

        Raises:
            SQLAlchemyError: The database has other tables than expected, or fails.
        """
        attributes = sa.table(
            "study_user_attributes",
            sa.column("study_id", sa.Integer),
            sa.column("key", sa.String),
            sa.column("value_json", sa.Text),
        )
        wanted = sa.select(attributes).where(attributes.c.key.in_(sorted(self._attrs)))
        with self.engine.connect() as connection:
            names = connection.execute(
                sa.text("select study_id, study_name from studies order by study_id")
            ).all()
            directions = _grouped(
                connection.execute(
                    sa.text(
                        "select study_id, direction from study_directions "
                        "order by study_id, objective"
                    )
                ).all()
            )
            attrs = _grouped(connection.execute(wanted).all())
        return [_study(i, name, directions[i], attrs[i]) for i, name in names]

    def results(self, study: StoredStudy, *, with_features: bool = False) -> Results:
        """Return the completed trials of a study with one objective.

        Raises:
            StudyError: Its rows are damaged.
            SQLAlchemyError: The database has other tables than expected, or fails.
        """
        at = {"study": study.study_id}
        with self.engine.connect() as connection, readable(study):
            # NOTE: parameters are written before a trial completes, so none is missed if they are
            # asked for last.
            values = connection.execute(sa.text(_VALUES), at).all()
            constraints = connection.execute(sa.text(_CONSTRAINTS), at).all()
            rows = connection.execute(sa.text(_PARAMS), at).all()
            found = (
                connection.execute(sa.text(_FEATURES), {**at, "key": FEATURES}).all()
                if with_features
                else []
            )
            recorded = {trial: json.loads(text) for trial, text in found}
            return self._results(values, rows, _violating(constraints), study, recorded)

    def _results(
        self,
        values: Sequence[Any],
        rows: Sequence[Any],
        violating: Collection[int],
        study: StoredStudy,
        recorded: Mapping[int, Any],
    ) -> Results:
        """Return results from the rows of values and of parameters, and recorded features."""
        found: dict[int, list[float]] = {}
        for trial, objective, value, kind in values:
            one = found.setdefault(trial, [])
            if kind is not None:
                one.append(_value(value, kind))
            # Rows come in the order of objectives, so a larger number tells of a missing value.
            if objective is not None and objective >= len(one):
                raise ValueError(f"objective {objective} in a study with one objective")
        params: dict[int, dict[str, Any]] = {trial: {} for trial in found}
        for trial, name, value, text in rows:
            # A trial may have completed between the two queries.
            if trial in params:
                params[trial][_text(name)] = self._decode(text, float(value))
        kept = [i for i, one in found.items() if len(one) == 1 and math.isfinite(one[0])]
        n_without_value = sum(not one for one in found.values())
        own = counted([found[i][0] for i in kept], [i in violating for i in kept], study)
        features = all_features([recorded.get(i) for i in kept]) if recorded else None
        return Results([params[i] for i in kept], own, n_without_value, features)

    def _decode(self, distribution: str, value: float) -> Any:
        """Return a parameter's value from the number that stands for it in the database."""
        # Thousands of rows share a few distributions, and each text is read once.
        decoder = self._decoders.get(distribution)
        if decoder is None:
            decoder = json_to_distribution(distribution).to_external_repr
            self._decoders[distribution] = decoder
        return decoder(value)


def unwrapped(storage: BaseStorage) -> BaseStorage:
    """Return the database itself where Optuna has put a store of trials around one.

    That store keeps every trial it was ever asked for, of all states, as long as it lives.
    """
    inner = backend_of(storage)
    return inner if isinstance(inner, RDBStorage) else storage


def engine_of(storage: BaseStorage) -> sa.Engine | None:
    """Return the engine of a storage that is a database with the tables we know, or None."""
    if not isinstance(storage, RDBStorage):
        return None
    try:
        engine: sa.Engine = storage.engine
        inspector = sa.inspect(engine)
        for table, columns in _COLUMNS.items():
            if not columns <= {column["name"] for column in inspector.get_columns(table)}:
                _logger.info("Read through Optuna: table %s has other columns.", table)
                return None
        with engine.connect() as connection:
            version = connection.execute(sa.text("select schema_version from version_info"))
            if version.scalar() == _SCHEMA_VERSION:
                return engine
        _logger.info("Read through Optuna: the database is of another version.")
    except (SQLAlchemyError, AttributeError) as error:
        _logger.info("Read through Optuna: %s", visible(words_of(error, storage)))
    return None


def _study(study: int, name: str, directions: Sequence[Any], attrs: Sequence[Any]) -> StoredStudy:
    """Return a study from its rows, with a word on an attribute that cannot be read."""
    damage = ""
    found: dict[str, Any] = {}
    for key, text in attrs:
        try:
            found[key] = json.loads(text)
        except DAMAGE:
            damage = f"its attribute {key!r} cannot be read"
    return StoredStudy(study, name, tuple(str(d).lower() for (d,) in directions), found, damage)


def _grouped(rows: Sequence[Any]) -> defaultdict[int, list[tuple[Any, ...]]]:
    """Return rows by the number of their study, which is their first column."""
    groups: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        groups[row[0]].append(tuple(row[1:]))
    return groups


def _value(value: float | None, kind: str) -> float:
    """Return a trial's value as Optuna reads it."""
    infinite = {"INF_POS": math.inf, "INF_NEG": -math.inf}
    if kind in infinite and value is None:
        return infinite[kind]
    if kind != "FINITE" or value is None:
        raise ValueError(f"a value {value} of kind {kind}")
    return float(value)


def _violating(rows: Sequence[Any]) -> set[int]:
    """Return the trials with a constraint above 0, as Optuna stores constraints."""
    found = set()
    for trial, key, text in rows:
        if key == "constraints" or key.startswith("constraints:"):
            stored = json.loads(text)
            amounts = stored if isinstance(stored, list) else [stored]
            if any(amount is not None and not amount <= 0 for amount in amounts):
                found.add(trial)
    return found


def _text(name: str | None) -> str:
    """Return a parameter's name; refuse a missing one."""
    if name is None:
        raise ValueError("a parameter without a name")
    return name

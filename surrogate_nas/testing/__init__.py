"""Conformance suites for search spaces, tasks, surrogates and base samplers of your own.

Subclass one in a test file, override its fixture, and pytest runs the whole suite::

    class TestMySpace(SearchSpaceTestCase):
        @pytest.fixture
        def space(self):
            return MySpace()

A fixture may have parameters (``@pytest.fixture(params=...)``) to test several objects. The suites
need pytest, which the extra ``testing`` installs.
"""

from surrogate_nas.errors import MissingExtraError

try:
    import pytest
except ImportError as error:
    raise MissingExtraError(
        expected="the packages of the extra 'testing'",
        got=str(error),
        fix="run pip install 'surrogate-nas[testing]'",
    ) from error

_SUITES = ("samplers", "spaces", "surrogates", "tasks")
# NOTE: pytest rewrites assertions of test files only. With this, failed assertions of the suites
# show their values as well. It must come before the suites are imported.
pytest.register_assert_rewrite(*(f"{__name__}.{suite}" for suite in _SUITES))

from surrogate_nas.testing.samplers import BaseSamplerTestCase  # noqa: E402 (after the rewrite)
from surrogate_nas.testing.spaces import SearchSpaceTestCase  # noqa: E402
from surrogate_nas.testing.surrogates import Surrogate, SurrogateTestCase  # noqa: E402
from surrogate_nas.testing.tasks import TaskTestCase  # noqa: E402

__all__ = [
    "BaseSamplerTestCase",
    "SearchSpaceTestCase",
    "Surrogate",
    "SurrogateTestCase",
    "TaskTestCase",
]

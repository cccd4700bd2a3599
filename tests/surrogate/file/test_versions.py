"""A surrogate file under another version of LightGBM, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from surrogate_nas import MetaSurrogate
from surrogate_nas.errors import SurrogateFileError
from surrogate_nas.surrogate.file import tree_text
from tests.helpers.synthetic import SPACE, past_tasks

pytestmark = pytest.mark.slow

OLDEST = "4.0.0"
"""The oldest LightGBM that pyproject.toml allows."""
_OFFLINE = ("Could not find a version", "No module named pip", "onnection", "imed out")

SCRIPT = """
import json, sys
import lightgbm
import surrogate_nas as sn
source, target, work = sys.argv[1:]
asked = json.load(open(work))
loaded = sn.MetaSurrogate.load(source)
predicted = loaded.predict(asked["params"], given=(asked["params"][:9], asked["values"][:9]))
past = [sn.PastTask(**task) for task in asked["past"]]
fitted = sn.MetaSurrogate.fit(loaded.encoding.space, past, seed=0)
fitted.save(target)
own = fitted.predict(asked["params"])
print(json.dumps({
    "version": lightgbm.__version__,
    "predicted": [one.tolist() for one in predicted],
    "own": [one.tolist() for one in own],
}))
"""


def test_the_oldest_lightgbm_is_the_one_that_is_declared() -> None:
    text = Path(__file__).parents[3].joinpath("pyproject.toml").read_text()
    assert f'"lightgbm>={OLDEST.removesuffix(".0")}"' in text


def test_files_are_read_alike_by_the_oldest_lightgbm(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
    got = subprocess.run(
        [*pip, str(tmp_path / "old"), f"lightgbm=={OLDEST}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if got.returncode and any(sign in got.stderr for sign in _OFFLINE):
        pytest.skip(f"LightGBM {OLDEST} cannot be fetched: {got.stderr.strip()[-200:]}")
    assert got.returncode == 0, got.stderr
    past = past_tasks(n_tasks=3)
    surrogate = MetaSurrogate.fit(SPACE, past)
    surrogate.save(tmp_path / "new.surrogate")
    params, values = list(past[0].params), list(past[0].values)
    tasks = [{"name": t.name, "params": t.params, "values": t.values} for t in past]
    asked = {"params": params, "values": values, "past": tasks}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    files = [str(tmp_path / n) for n in ("new.surrogate", "old.surrogate", "asked.json")]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, *files],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path / "old"), root]),
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["version"] == OLDEST
    wanted = surrogate.predict(params, given=(params[:9], values[:9]))
    assert found["predicted"] == [one.tolist() for one in wanted]
    old = MetaSurrogate.load(tmp_path / "old.surrogate")
    assert [one.tolist() for one in old.predict(params)] == found["own"]


def test_a_lightgbm_that_does_not_read_the_text_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MetaSurrogate.fit(SPACE, past_tasks(n_tasks=2)).save(tmp_path / "a.surrogate")

    def newer(trees: object, n_columns: int) -> str:
        return "tree\nversion=v9\n"

    monkeypatch.setattr(tree_text, "write_trees", newer)
    with pytest.raises(SurrogateFileError, match="a LightGBM that reads model text v4") as caught:
        MetaSurrogate.load(tmp_path / "a.surrogate")
    assert "got LightGBM" in str(caught.value)
    assert caught.value.fix.startswith("install a LightGBM")

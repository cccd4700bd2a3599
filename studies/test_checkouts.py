"""Two checkouts are compared in turns, each with its own package."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies import checkouts

PROBES = """
import surrogate_nas
calls = []

def growing():
    print("noise")
    calls.append(surrogate_nas.COST)
    return surrogate_nas.COST * len(calls)

PROBES = {"growing": growing}
"""


@pytest.fixture
def probes(tmp_path: Path) -> Path:
    path = tmp_path / "probes.py"
    path.write_text(PROBES)
    return path


def checkout(folder: Path, cost: float) -> Path:
    (folder / "surrogate_nas").mkdir(parents=True)
    (folder / "surrogate_nas" / "__init__.py").write_text(f"COST = {cost}")
    return folder


@pytest.mark.parametrize(("most", "is_fine"), [(1.6, True), (1.4, False)])
def test_the_ratio_is_this_checkout_s_to_the_other_s(
    tmp_path: Path,
    probes: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    most: float,
    is_fine: bool,
) -> None:
    monkeypatch.setattr(checkouts, "ROOT", checkout(tmp_path / "this", 3.0))
    other = checkout(tmp_path / "other", 2.0)

    assert checkouts.compare(other, probes, 3, most) is is_fine

    # Rounds 2 to 4 count: 4, 6, 8 seconds there and 6, 9, 12 here.
    assert "| growing | 6.000 | 9.000 | 1.500 [1.500, 1.500] | 3 |" in capsys.readouterr().out


def test_a_checkout_without_the_package_is_told(tmp_path: Path, probes: Path) -> None:
    with (
        pytest.raises(
            SystemExit, match=r"Expected a checkout with surrogate_nas/ in .*empty; got none"
        ),
        checkouts.worker(tmp_path / "empty", probes),
    ):
        pass

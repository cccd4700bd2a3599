"""Names from anywhere in reports, notes, figures and pictures: shown, never run, never long."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import optuna
import pytest
from markdown_it import MarkdownIt
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from surrogate_nas.results.dashboard.figures import figures
from surrogate_nas.results.dashboard.note import merged, note
from surrogate_nas.results.recorded_space import picture, space_of, words_of
from surrogate_nas.results.summary import summarize
from tests.helpers.pages import Page, read

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]

NAMES = {
    "script": "<script>alert(1)</script>",
    "attribute": "\" onload='alert(1)' x=\"",
    "comment": "--><img src=x onerror=alert(1)><!--",
    "style": "</style></title></textarea><iframe src=//x>",
    "cdata": "]]><svg onload=alert(1)>",
    "entity": "&lt;b&gt; &#60;i&#62; &amp;",
    "template": "{{ 7*7 }}{% raw %}${7*7}",
    "mathematics": "$\\frac{$ \\foo $$",
    "link": "[x](javascript:alert(1)) ![y](http://x/y.png) <http://x>",
    "fence": "```\n# title\n| a | b |\n~~~",
    "direction": "abc\u202egnp.exe \u2066x\u2069 שלום \u200b\ufeff",
    "control": "\x00\x07\x1b[31m\r\nnew\u2028line",
    "addresses": "https://x.example/a www.x.example me@x.example ftp://x <me@x.example>",
    "strokes": r"a|b a\|b \\| || \\\| `|` \` \\",
    "image": '![x](https://x.example/p.png) <img src="https://x.example/p.png">',
    "marks": "[//]: # (end of surrogate_nas) <img src=x> [//]: # (surrogate_nas)",
    "half": "\ud800 and \udfff",
    "long": "long <b>" * 2000,
}
_WORDS = """html head meta title style body main h1 h2 h3 p section strong ul li b span div svg
figure figcaption table caption thead tbody tr th td button dl dt dd code script br defs g path use
text rect desc marker clippath metadata rdf work type format agent creator"""
SAFE_TAGS = set(_WORDS.split())
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200b\ufeff]"
)


def study_of(name: str) -> optuna.Study:
    """A study in which everything that can be named has this name."""
    study = optuna.create_study(study_name=name, direction="maximize")
    for attr in ("task", "metric", "space", "surrogate", "artifact_folder", f"own {name}"):
        study.set_user_attr(attr, name)
    study.set_user_attr("transfer", 0.5)
    study.set_user_attr("past_task_weights", {name: 0.7, f"{name} 2": -0.2})
    study.set_user_attr("past_tasks_ignored", [f"{name} 2"])
    study.set_user_attr("meta_features", {name: 1.0})
    study.set_user_attr("classes", [name])
    ranges = {name: CategoricalDistribution((name, "other")), "rate": FloatDistribution(0, 1)}
    for k in range(15):
        attrs = {"predicted_value": k / 2, "predicted_std": 1.0, "n_candidates": 8}
        params = {name: (name, "other")[k % 2], "rate": k / 15}
        study.add_trial(
            create_trial(value=float(k), params=params, distributions=ranges, user_attrs=attrs)
        )
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"stop_reason": name}))
    return study


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.filterwarnings("ignore:Glyph")  # letters that no font here has
def test_a_report_shows_any_name_and_runs_none(kind: str, tmp_path: Path) -> None:
    """Its tags are ours, with our attributes; nothing turns the direction of what follows."""
    page = read(study_of(NAMES[kind]), tmp_path)

    tags = {tag.rpartition(":")[2] for tag in page.tags}
    assert tags <= SAFE_TAGS
    assert page.tags.count("script") == 1
    assert all(link.startswith("#") for link in page.links)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<[^>]*\son\w+\s*=", text)
    assert not UNSEEN.search(text)
    assert len(text) < 2_000_000


@pytest.mark.parametrize("kind", NAMES)
def test_a_note_shows_any_name_as_code(kind: str) -> None:
    """As optuna-dashboard renders it: markup in Markdown would be let through."""
    study = study_of(NAMES[kind])
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(note(study, summarize(study)))
    )
    page = Page(html)

    assert set(page.tags) <= {
        *("h2", "h3", "p", "strong", "em", "code", "br", "table", "thead", "tbody", "tr", "th"),
        *("td", "pre", "blockquote"),
    }
    assert page.links == []
    assert not UNSEEN.search(html)


CODE = re.compile(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)")
"""A span of code, as Markdown finds it."""


def cells(row: str) -> list[str]:
    """Cells of a row as GitHub's rules split it: of two backslashes the second escapes nothing."""
    parts = re.findall(r"(?:\\[\\|]|[^|])+", row.strip().strip("|"))
    return [part.strip() for part in parts]


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_of_a_note_stays_in_its_code(kind: str) -> None:
    """Some dashboards make links of bare addresses, though never within code."""
    study = study_of(NAMES[kind])
    said = note(study, summarize(study))
    plain = re.sub(r"```python.*?```", "", said, flags=re.DOTALL)

    rows = [line for line in plain.splitlines() if line.startswith("| ")]
    assert len(rows) >= 6
    assert {len(cells(row)) for row in rows if row != "|  |  |"} == {2}
    outside = CODE.sub("", plain)
    assert not re.search(r"://|www\.|@|<|\]\(|\[|!|&", outside.replace("> **Where", ""))


@pytest.mark.parametrize("kind", NAMES)
def test_a_note_is_replaced_as_a_whole(kind: str) -> None:
    """Nothing of an earlier note is left as if people had written it."""
    study = study_of(NAMES[kind])
    ours = note(study, summarize(study))
    once = merged("Ask Ann.", ours)
    assert merged(once, ours) == once
    assert merged(once, "new") == merged("Ask Ann.", "new")


@pytest.mark.parametrize("kind", NAMES)
def test_figures_have_no_markup_of_a_name(kind: str) -> None:
    """Plotly reads some in titles, names and ticks."""
    for figure in figures(summarize(study_of(NAMES[kind])), None).values():
        text = re.sub(
            r"\\u003cbr\\u003e\\u003cspan style=.*?\\u003c\\u002fspan\\u003e", "", figure.to_json()
        )
        text = re.sub(r"<br><span style=.*?</span>", "", text)
        assert "<" not in text
        assert "\\u003c" not in text


@pytest.mark.parametrize("kind", NAMES)
def test_a_picture_is_one_svg_without_links(kind: str) -> None:
    """Any XML parser reads it."""
    study = study_of(NAMES[kind])
    trial = study.best_trial
    root = ElementTree.fromstring(picture(space_of(study, None), trial.params, words_of(trial)))

    assert {child.tag.rpartition("}")[2] for child in root.iter()} <= {
        *("svg", "title", "desc", "defs", "marker", "path", "rect", "text"),
    }
    assert not any(
        "href" in name or name.startswith("on") for c in root.iter() for name in c.attrib
    )

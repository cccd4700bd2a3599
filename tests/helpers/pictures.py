"""A cell, and what a picture of one says."""

from __future__ import annotations

from xml.etree import ElementTree

NAMESPACE = "{http://www.w3.org/2000/svg}"


def words_of(svg: str) -> list[str]:
    """What a picture says, read by an XML parser."""
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{NAMESPACE}text")]


CELL = {
    "op_0": "conv_3x3",
    "op_1": "none",
    "op_2": "none",
    "op_3": "skip_connect",
    "op_4": "avg_pool_3x3",
    "op_5": "conv_1x1",
    "width": 16,
    "depth": 2,
}

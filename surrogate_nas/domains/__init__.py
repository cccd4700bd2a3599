"""Domains, the kinds of tasks: a folder each, found by listing this folder."""

from surrogate_nas.domains.registry import (
    DEFAULT,
    Domain,
    Option,
    domain_of_space,
    named,
    names,
    offer,
    offered,
    ready_space,
    usable,
)

__all__ = [
    "DEFAULT",
    "Domain",
    "Option",
    "domain_of_space",
    "named",
    "names",
    "offer",
    "offered",
    "ready_space",
    "usable",
]

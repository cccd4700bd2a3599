"""Kinds of tasks, one folder each; found by listing this folder."""

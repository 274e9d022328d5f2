"""Finished work: the names until all stages use intelligibility/work.py."""

from intelligibility.runs import file_stamp
from intelligibility.work import Journal

__all__ = ["Journal", "file_stamp"]

"""What a dump was, or would be: reports and their entries."""

from ._items import Extent, Gap, Module, Redaction, Region, RuleBytes, Thread
from ._report import DumpPlan, DumpReport

__all__ = ["DumpPlan", "DumpReport", "Extent", "Gap", "Module", "Redaction", "Region", "RuleBytes", "Thread"]

"""What programs that run dumps can watch: progress and time of handing on, log, metrics, addresses in hex."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fake
import live
import pytest

import minidump_cffi as md
from minidump_cffi.report import METRICS, Phase

FULL = md.DumpType.WITH_FULL_MEMORY
TARGET = fake.small()


class Slow(io.BytesIO):
    """An object that takes its time."""

    def write(self, data: Any) -> int:
        time.sleep(0.12)
        return super().write(data)


def test_handing_on_has_a_phase_and_a_time(tmp_path: Path) -> None:
    seen: list[md.Progress] = []
    report = fake.write(TARGET, Slow(), FULL, progress=seen.append)
    handed = [state for state in seen if state.phase == Phase.HAND_ON]
    assert handed and handed == seen[-len(handed) :]
    assert not any(state.stopped for state in handed)
    assert handed[-1].bytes_done == handed[-1].bytes_total == report.file_bytes and handed[-1].fraction == 1.0
    assert report.handed_on >= 0.1
    assert report.to_dict()["handed_on_seconds"] == report.handed_on
    seen.clear()
    report = fake.write(TARGET, tmp_path / "plain.dmp", FULL, progress=seen.append)
    assert report.handed_on == 0 and all(state.phase != Phase.HAND_ON for state in seen)
    assert fake.write(TARGET, tmp_path / "a.dmp.gz", FULL).handed_on > 0


def test_an_exception_of_progress_while_handing_on_leaves_no_file(tmp_path: Path) -> None:
    def fails(state: md.Progress) -> None:
        if state.phase == Phase.HAND_ON:
            raise LookupError("no")

    with pytest.raises(LookupError):
        fake.write(TARGET, tmp_path / "a.dmp.gz", FULL, progress=fails)
    assert fake.names(tmp_path) == []


# ------------------------------------------------------------------------------------------------------------------ log


class Listener(logging.Handler):
    """Keeps what is said, and whether the target was stopped then."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.pid, self.said, self.stopped = pid, list[logging.LogRecord](), False

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record)
        self.stopped |= bool({"t", "T"} & set(live.task_states(self.pid).values()))


@pytest.mark.linux
def test_the_log_says_what_happens_but_not_while_the_target_is_stopped(
    start_pattern: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = start_pattern().pid
    listener, logger = Listener(pid), logging.getLogger("minidump_cffi")
    logger.addHandler(listener)
    monkeypatch.setattr(logger, "propagate", False)
    logger.setLevel(logging.DEBUG)
    try:
        secret = "correct horse battery"
        keep = md.Filter(redact=md.Redact(patterns=[secret], environ={"drop": ["*"]}), streams={"exclude": ["auxv"]})
        report = md.write_dump(pid, tmp_path / "a.dmp.gz", FULL, filter=keep)
        texts = [record.getMessage() for record in listener.said]
        assert not listener.stopped
        assert texts[0].startswith(f"dump of process {pid}: type ")
        assert any(f"{report.file_bytes} bytes are handed on" in text for text in texts)
        assert f"{report.file_bytes} bytes, stopped for {report.stop_time:.6f} s" in texts[-1 - len(report.messages)]
        assert not any(secret in text for text in texts)
        levels = {record.levelname for record in listener.said}
        assert {"DEBUG", "INFO"} <= levels and ("WARNING" in levels) == bool(report.messages)
        listener.said.clear()
        with pytest.raises(md.SinkError):
            md.write_dump(pid, tmp_path / "nowhere" / "a.dmp")
        with pytest.raises(md.Cancelled):
            md.write_dump(pid, tmp_path / "b.dmp", on_cancel=lambda: True)
        assert [record.getMessage() for record in listener.said if record.levelno >= logging.INFO] == [
            f"no dump of process {pid}: SinkError",
            f"no dump of process {pid}: Cancelled",
        ]
    finally:
        logger.removeHandler(listener)
        logger.setLevel(logging.NOTSET)


@pytest.mark.linux
def test_nothing_is_printed_by_a_program_without_handlers_and_logging_is_not_imported(
    start_pattern: Any, tmp_path: Path
) -> None:
    program = (
        "import sys, minidump_cffi as md\n{}\n"
        "md.write_dump(int(sys.argv[1]), sys.argv[2], 'full+with_token_information')\n"
        "print('logging' in sys.modules)"
    )
    for first, imported in (("import logging", "True"), ("sys.modules.pop('logging', None)", "False")):
        done = subprocess.run(
            [sys.executable, "-c", program.format(first), str(start_pattern().pid), str(tmp_path / "a.dmp")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, imported + "\n", "")


# -------------------------------------------------------------------------------------------------------------- metrics


def test_metrics_have_the_names_and_units_of_prometheus() -> None:
    report = fake.write(TARGET, io.BytesIO(), FULL)
    metrics = report.metrics()
    assert list(metrics) == list(METRICS) and all(type(value) is float for value in metrics.values())
    assert metrics["minidump_cffi_dump_stop_seconds"] == report.stop_time
    assert metrics["minidump_cffi_dump_file_bytes"] == report.file_bytes
    assert metrics["minidump_cffi_dump_complete"] == 1.0
    assert metrics["minidump_cffi_dump_handed_on_seconds"] == report.handed_on > 0
    for name in METRICS:
        assert re.fullmatch(r"minidump_cffi_dump_[a-z_]+", name)
        assert not name.endswith(("_total", "_count", "_sum", "_milliseconds", "_ns", "_kb", "_mb"))


def test_the_text_format_of_prometheus() -> None:
    report = fake.write(TARGET, io.BytesIO())
    found = {}
    for line in report.to_prometheus({"service": 'a "b"\\c\nd', "zone": "1"}).splitlines():
        if line.startswith("# TYPE"):
            assert line.split()[3] == "gauge"
        elif not line.startswith("# HELP"):
            name, labels, value = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line).groups()  # type: ignore[union-attr]
            assert labels == r'service="a \"b\"\\c\nd",zone="1"'
            found[name] = float(value)
    assert found == report.metrics()
    assert report.to_prometheus().count("# HELP ") == len(METRICS)
    with pytest.raises(ValueError, match="label"):
        report.to_prometheus({"a-b": "x"})


# ------------------------------------------------------------------------------------------------------------ addresses


def test_addresses_are_shown_in_hex() -> None:
    out = io.BytesIO()
    report = fake.write(TARGET, out, FULL)
    assert "base=0x500000, size=262144" in repr(report.regions[1])
    assert "stack_base=0x90" in repr(report.threads[0]) and "tid=100" in repr(report.threads[0])
    assert "base=0x400000" in repr(report.modules[0]) and "address=0x" in repr(report.extents[0])
    with md.open_dump(io.BytesIO(out.getvalue())) as dump:
        assert "stack_pointer=0x906000" in repr(dump.threads[0]) and "address=0x90" in repr(dump.threads[0].stack)
        assert "base=0x400000" in repr(dump.modules[0])


@pytest.mark.linux
def test_filter_takes_annotations_on_the_command_line(tmp_path: Path) -> None:
    fake.write(TARGET, tmp_path / "a.dmp", FULL)
    done = live.run_cli(
        "filter", tmp_path / "a.dmp", "-o", tmp_path / "b.dmp", "--annotation", "ticket=4711", "--comment", "by hand"
    )
    assert done.returncode == 0, done.stderr
    shown = live.run_cli("show", tmp_path / "b.dmp")
    assert "ticket" in shown.stdout and "4711" in shown.stdout and "by hand" in shown.stdout
    twice = live.run_cli("filter", tmp_path / "a.dmp", "--annotation", "a=1", "--annotation", "a=2")
    assert twice.returncode == 2 and "given twice" in twice.stderr


def test_the_logger_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that getLogger takes can stay held after an exception of a signal handler: no later dump waits for it."""
    target = fake.small()
    fake.write(target, tmp_path / "a.dmp")

    def refuse(name: str) -> logging.Logger:
        raise AssertionError(f"{name} is asked for again")

    with monkeypatch.context() as patch:
        patch.setattr(logging, "getLogger", refuse)
        assert fake.write(target, tmp_path / "b.dmp").complete

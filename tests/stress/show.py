"""Minidumps that ask for too much (tests/support/bombs.py), shown as text and as JSON: memory, output and CPU time.

python tests/stress/show.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import bombs


def main() -> int:
    """Show every one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cpu", type=float, default=10, help="CPU seconds at most (default: %(default)s)")
    args = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "bomb.dmp"
        for bomb in bombs.BOMBS:
            path.write_bytes(bomb())
            size = path.stat().st_size
            for options in ((), ("--all",), ("--json",)):
                status, written, resident, cpu = bombs.measure(path, *options)
                sound = status in (0, 1) and written <= bombs.text_limit(size)
                sound = sound and resident <= bombs.MEMORY and cpu <= args.cpu
                good = good and sound
                print(
                    f"{'' if sound else 'FAULT: '}{bomb.__name__} {' '.join(options)}: file {size >> 20} MiB, "
                    f"status {status}, output {written >> 20} MiB, memory {resident >> 20} MiB, {cpu:.1f} s",
                    flush=True,
                )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
